"""MongoDB as FerretDB has it (Go, Apache-2.0) over SQLite or Postgres, on 127.0.0.1, behind a relay: too dear to build for each test run.

tests/peers/ferretdb.py runs the tests of the engine on it. What the relay does for it, and nothing in its code:

- it takes `expireAfterSeconds` out of `createIndexes`, which FerretDB answers with "not implemented": no document is removed by age;
- it lets through one writing command at a time: FerretDB reads, compares and writes in three steps, and of two that find the same
  version at the same moment both may win.

FerretDB has no replication, no numbers of retried writes, no linearizable reads, no `arrayFilters` and no collation.
"""

import socketserver
import struct
import subprocess
import threading
from pathlib import Path
from socket import SHUT_RDWR, create_connection

import bson
import pymongo
import toolchains
from authority import until
from e2e.program import free_port
from e2e.static_site import is_open
from servers.held import holding
from servers.mongo import CODECS

SOURCES = Path(__file__).parents[1] / "peers/ferretdb"
#: What changes documents.
WRITES = {"insert", "update", "delete", "findAndModify", "create", "createIndexes", "drop", "dropIndexes"}


class FerretDB:
    """With its documents in SQLite files in `folder`, or in a database of `postgres`; the interface of `MongoJava`."""

    def __init__(self, folder, postgres=None):
        self.folder, self.databases, self.client, self.process = Path(folder), 0, None, None
        self.behind, self.program = free_port(), toolchains.go(SOURCES)
        self.documents = ["postgresql", postgres] if postgres else ["sqlite", f"file:{self.folder}/"]
        self.relay = Relay(self.behind)
        self.port = self.relay.server_address[1]
        threading.Thread(target=self.relay.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
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
        """With the documents that are in its files."""
        command = [self.program, self.behind, *self.documents]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(holding(command, "KILL"), stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder)
        until(self.listens, f"FerretDB listens; {self.folder}/log")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        return is_open(self.behind)

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
        self.relay.shutdown()
        self.relay.server_close()


class Relay(socketserver.ThreadingTCPServer):
    """A port in front of FerretDB on another."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, behind):
        self.behind, self.writing = behind, threading.Lock()
        super().__init__(("127.0.0.1", 0), Connection)


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            with create_connection(("127.0.0.1", self.server.behind)) as onward:
                while message := read(self.request):
                    self.pass_on(message, onward)
                onward.shutdown(SHUT_RDWR)
        except OSError:
            pass  # Either side has gone, and with it the other.

    def pass_on(self, message, onward):
        name, message = changed(message)
        if name not in WRITES:
            return self.ask(message, onward)
        with self.server.writing:
            return self.ask(message, onward)

    def ask(self, message, onward):
        onward.sendall(message)
        answer = read(onward)
        if answer is None:
            raise ConnectionResetError
        self.request.sendall(answer)


def read(connection):
    """One message with its head, or None at the end."""
    data = b""
    while len(data) < 4 or len(data) < struct.unpack_from("<i", data)[0]:
        wanted = struct.unpack_from("<i", data)[0] if len(data) >= 4 else 4
        piece = connection.recv(wanted - len(data))
        if not piece:
            return None
        data += piece
    return data


def changed(message):
    """The name of the command, and the message as FerretDB can take it."""
    head, body = message[:16], message[16:]
    # Connections begin with the older OP_QUERY; drivers send commands as OP_MSG with their first section in front.
    if struct.unpack_from("<i", head, 12)[0] != 2013 or body[4] != 0:
        return None, message
    (length,) = struct.unpack_from("<i", body, 5)
    name = next(iter(command := bson.decode(body[5:5 + length], CODECS)))
    if name != "createIndexes":
        return name, message
    for index in command["indexes"]:
        index.pop("expireAfterSeconds", None)
    body = struct.pack("<IB", struct.unpack_from("<I", body)[0] & ~1, 0) + bson.encode(command)
    return name, struct.pack("<i", len(body) + 16) + head[4:] + body
