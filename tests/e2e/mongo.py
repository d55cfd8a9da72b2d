"""MongoDB as tests/servers/mongo.py plays it, in this process: it can go away with its documents and come back."""

import pymongo
from e2e import stores
from e2e.withheld import MongoDB, withheld
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


def a_server_killed_between_its_write_and_its_answer_has_turned_once(world, mongo):
    """On any server with the interface of this one: see `stores`."""
    url, stored = mongo.url(), {"_id": {"$regex": "^refresh/"}}
    with withheld(mongo.port, MongoDB) as relay:
        through = url.replace(f":{mongo.port}/", f":{relay.port}/") + "?directConnection=true"
        stores.a_server_killed_between_its_write_and_its_answer_has_turned_once(
            world, through, relay.killing, lambda: {document["_id"]: document for document in mongo.collection(url).find(stored)})
