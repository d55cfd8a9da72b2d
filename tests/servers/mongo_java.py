"""MongoDB as mongo-java-server has it (Java, BSD), on 127.0.0.1, with its documents in a file: a server that nobody here wrote.

tests/java/mongo-server starts it and says what it has not; `toolchains.Missing` where there is no Java. `servers/mongo.py` is the
stand-in for that.
"""

import subprocess
from pathlib import Path

import pymongo
import toolchains
from authority import until
from e2e.program import free_port
from e2e.static_site import is_open
from servers.held import holding


class MongoJava:
    def __init__(self, folder):
        self.folder, self.port, self.databases, self.client, self.process = Path(folder), free_port(), 0, None, None
        self.command = [*toolchains.mongo_java_server(), str(self.port), self.folder / "documents"]
        self.start()

    def url(self, login=""):
        """The URL of a new database."""
        self.databases += 1
        return f"mongodb://{login}127.0.0.1:{self.port}/test_{self.databases}"

    def collection(self, url, name="countersign_documents"):
        """What is in a database, through MongoDB's client library for Python."""
        self.client = self.client or pymongo.MongoClient("127.0.0.1", self.port, directConnection=True)
        return self.client[url.rsplit("/", 1)[1]][name]

    def start(self):
        """With the documents that are in its file."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(holding(self.command, "KILL"), stdin=subprocess.PIPE, stdout=log, stderr=log)
        until(self.listens, f"mongo-java-server listens; {self.folder}/log")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        return is_open(self.port)

    def stop(self):
        """Killed, with what it had not written."""
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=60)
            self.process = None

    def end(self):
        if self.client:
            self.client.close()
        self.stop()
