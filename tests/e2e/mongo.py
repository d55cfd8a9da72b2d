"""MongoDB as tests/servers/mongo.py plays it, in this process: it can go away with its documents and come back."""

import pymongo
from servers.mongo import Server


class Mongo:
    def __init__(self, **options):
        self.server, self.databases, self.client = Server(**options).start(), 0, None

    @property
    def port(self):
        return self.server.port

    def url(self, login=""):
        """The URL of a new database."""
        self.databases += 1
        return f"mongodb://{login}127.0.0.1:{self.port}/test_{self.databases}"

    def collection(self, url, name="countersign_documents"):
        """What is in a database, through MongoDB's client library for Python."""
        self.client = self.client or pymongo.MongoClient("127.0.0.1", self.port, directConnection=True)
        return self.client[url.rsplit("/", 1)[1]][name]

    def stop(self):
        self.server.stop()

    def start(self):
        self.server = Server(self.port, self.server.mongo).start()

    def end(self):
        if self.client:
            self.client.close()
        self.server.stop()
