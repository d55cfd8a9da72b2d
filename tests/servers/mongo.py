"""A stand-in for a MongoDB server: its wire protocol (OP_MSG) in front of mongomock. It is a fake.

No package of the machines these tests run on has a mongod. Whatever can be shown on a server that
others wrote is shown on mongo-java-server, and on FerretDB by hand; this fake is for what neither
has, and for machines without Java. It shows that what the program sends is well formed, means what
it should on the documents, and that answers, errors and their absence are understood, in
mongomock's reading of the query language. It does NOT show what a real server does on its own:
replication, elections, durability (write and read concerns are written down and taken for
fulfilled), the removal of expired documents by a TTL index (no server of these tests removes one),
rights of users, SCRAM, DNS for `mongodb+srv`, WiredTiger's conflicts between writers (one lock;
every command is alone).

It says that it is the primary of a replica set of one; with `standalone`, that it is not one, and refuses what such a server
refuses. Retried writes (`lsid`, `txnNumber`) get the first answer again. With `aws` (key id to secret) it wants
MONGODB-AWS and checks the SigV4 signature. The command `countersignTest` belongs to tests:

    {countersignTest: 1, command: "update", db: "x", answer: {...}, times: 2, after: true}
        the next two `update` in database x get this answer, and take effect nevertheless if `after`; without `answer` they
        get none and their connection is cut; with `forget` their numbers are not kept, so a second time is a second time
    {countersignTest: 1, command: "find", db: "x", hold: true, times: 4}
        the next four `find` in database x are written down and answered when {countersignTest: 1, db: "x", release: true}
        comes
    {countersignTest: 1, db: "x", seen: true}       every command in x so far, documents cut to their `_id`
"""

import argparse
import base64
import collections
import datetime
import hashlib
import hmac
import itertools
import os
import re
import socketserver
import ssl
import struct
import threading

import bson
import mongomock
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.int64 import Int64

CODECS = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
#: What may be asked before a login.
OPEN = {"hello", "ismaster", "saslstart", "saslcontinue", "ping", "buildinfo", "endsessions", "countersigntest"}


class Refused(Exception):
    def __init__(self, code, name, message):
        self.answer = {"ok": 0.0, "code": code, "codeName": name, "errmsg": message}


class Mongo:
    """What is stored, and what tests want to happen."""

    def __init__(self, standalone=False, aws=None, wire=(0, 21)):
        self.standalone, self.aws, self.address, self.wire = standalone, aws, None, wire
        self.client, self.lock = mongomock.MongoClient(), threading.Lock()
        self.indexes, self.cursors, self.numbers = {}, {}, itertools.count(1)
        self.retried, self.planned, self.seen = {}, [], collections.defaultdict(list)
        self.held, self.released = [], collections.defaultdict(threading.Event)

    def answer(self, connection, command):
        """The answer to one command; None: none, and the connection ends."""
        name, db = next(iter(command)), command.get("$db", "admin")
        if self.holds(name, db):
            with self.lock:
                self.seen[db].append({k: shown(v) for k, v in command.items()})
            self.released[db].wait(120)
        with self.lock:
            try:
                if self.aws and name.lower() not in OPEN and not connection.get("user"):
                    raise Refused(13, "Unauthorized", f"command {name} requires authentication")
                if name != "countersignTest":
                    self.seen[db].append({k: shown(v) for k, v in command.items()})
                plan = next((p for p in self.planned if p["command"] == name and p.get("db", db) == db), None)
                if plan:
                    plan["times"] -= 1
                    self.planned = [p for p in self.planned if p["times"] > 0]
                    if not plan.get("after"):
                        return plan.get("answer")
                session = command.get("lsid", {}).get("id"), command.get("txnNumber")
                if None not in session and session in self.retried:
                    return plan.get("answer") if plan else self.retried[session]
                do = getattr(self, f"do_{name.lower()}", None)
                if do is None:
                    raise Refused(59, "CommandNotFound", f"no such command: '{name}'")
                answer = {**do(command, self.client[db], connection), "ok": 1.0}
                if None not in session and not (plan or {}).get("forget"):
                    self.retried[session] = answer
                return plan.get("answer") if plan else answer
            except Refused as why:
                return why.answer
            except mongomock.DuplicateKeyError as why:
                return Refused(11000, "DuplicateKey", str(why)).answer
            except Exception as why:  # what mongomock does not know; the test that asks for it is to see that
                return Refused(8, "UnknownError", repr(why)).answer

    def holds(self, name, db):
        """Whether a test wants this command to wait."""
        with self.lock:
            hold = next((h for h in self.held if h["command"] == name and h["db"] == db and h["times"] > 0), None)
            if hold:
                hold["times"] -= 1
            return hold is not None

    # The server itself

    def do_hello(self, command, _db, _connection):
        now = datetime.datetime.now(datetime.timezone.utc)
        about = {
            "helloOk": True, "isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000, "localTime": now,
            "logicalSessionTimeoutMinutes": 30, "minWireVersion": self.wire[0], "maxWireVersion": self.wire[1],
            "readOnly": False,
        }
        if self.standalone:
            return about
        me = "{}:{}".format(*self.address)
        return {**about, "setName": "rs0", "setVersion": 1, "hosts": [me], "me": me, "primary": me, "secondary": False}

    do_ismaster = do_hello

    def do_ping(self, *_):
        return {}

    do_endsessions = do_ping

    def do_buildinfo(self, *_):
        return {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "maxBsonObjectSize": 16777216}

    def do_countersigntest(self, command, *_):
        if command.get("hold"):
            self.held.append({"times": 1, **command})
        elif "command" in command:
            self.planned.append({"times": 1, **command})
        if command.get("release"):
            self.released[command["db"]].set()
        return {"seen": self.seen[command["db"]]} if command.get("seen") else {}

    # MONGODB-AWS

    def do_saslstart(self, command, _db, connection):
        if command["mechanism"] != "MONGODB-AWS":
            raise Refused(334, "MechanismUnavailable", "only MONGODB-AWS is played here")
        connection["nonce"] = bson.decode(command["payload"])["r"] + os.urandom(32)
        payload = bson.encode({"s": connection["nonce"], "h": "sts.eu-central-1.amazonaws.com"})
        return {"conversationId": 1, "done": False, "payload": payload}

    def do_saslcontinue(self, command, _db, connection):
        said = bson.decode(command["payload"])
        key, scope, names, signature = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), SignedHeaders=([^,]+), Signature=(\w+)", said["a"]
        ).groups()
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        headers = {
            "content-length": str(len(body)), "content-type": "application/x-www-form-urlencoded",
            "host": "sts.eu-central-1.amazonaws.com", "x-amz-date": said["d"], "x-amz-security-token": said.get("t", ""),
            "x-mongodb-gs2-cb-flag": "n", "x-mongodb-server-nonce": base64.b64encode(connection["nonce"]).decode(),
        }
        listed = "".join(f"{name}:{headers[name]}\n" for name in names.split(";"))
        digest = lambda data: hashlib.sha256(data).hexdigest()
        request = f"POST\n/\n\n{listed}\n{names}\n{digest(body)}"
        secret = b"AWS4" + (self.aws or {}).get(key, "?").encode()
        for part in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{said['d']}\n{scope}\n{digest(request.encode())}"]:
            secret = hmac.new(secret, part.encode(), "sha256").digest()
        if "x-mongodb-server-nonce" not in names or not hmac.compare_digest(secret.hex(), signature):
            raise Refused(18, "AuthenticationFailed", "Authentication failed.")
        connection["user"] = key
        return {"conversationId": 1, "done": True, "payload": b""}

    # Documents

    def there(self, db, name):
        return (db.name, name) in self.indexes or name in db.list_collection_names()

    def indexes_of(self, db, name):
        return self.indexes.setdefault((db.name, name), {"_id_": {"v": 2, "key": {"_id": 1}, "name": "_id_"}})

    def do_insert(self, command, db, _):
        self.indexes_of(db, command["insert"])
        errors, count = [], 0
        for index, document in enumerate(command["documents"]):
            try:
                db[command["insert"]].insert_one(document)
                count += 1
            except mongomock.DuplicateKeyError:
                errors.append(duplicate(index, document.get("_id")))
                if command.get("ordered", True):
                    break
        return {"n": count, **({"writeErrors": errors} if errors else {})}

    def do_update(self, command, db, _):
        self.indexes_of(db, command["update"])
        collection, matched, changed, upserted = db[command["update"]], 0, 0, []
        for index, one in enumerate(command["updates"]):
            query, change, upsert = one["q"], one["u"], one.get("upsert", False)
            id = query.get("_id")
            if upsert and not collection.count_documents(query) and id is not None and collection.count_documents({"_id": id}):
                return {"n": matched, "nModified": changed, "writeErrors": [duplicate(index, id)]}
            if next(iter(change), "").startswith("$"):
                update = collection.update_many if one.get("multi") else collection.update_one
            else:
                update = collection.replace_one
            done = update(query, change, upsert=upsert)
            if done.upserted_id is not None:
                upserted.append({"index": index, "_id": done.upserted_id})
            matched += done.matched_count or len(upserted)
            changed += done.modified_count
        return {"n": matched, "nModified": changed, **({"upserted": upserted} if upserted else {})}

    def do_delete(self, command, db, _):
        collection, count = db[command["delete"]], 0
        for one in command["deletes"]:
            delete = collection.delete_one if one["limit"] == 1 else collection.delete_many
            count += delete(one["q"]).deleted_count
        return {"n": count}

    def do_findandmodify(self, command, db, _):
        collection = db[command["findAndModify"]]
        if command.get("remove"):
            return {"value": collection.find_one_and_delete(command["query"])}
        found = collection.find_one_and_update(
            command["query"], command["update"], upsert=command.get("upsert", False), return_document=command.get("new", False)
        )
        return {"value": found}

    def do_find(self, command, db, _):
        if self.standalone and command.get("readConcern", {}).get("level") == "linearizable":
            raise Refused(123, "NotAReplicaSet", "node needs to be a replica set member to use linearizable read concern")
        found = db[command["find"]].find(command.get("filter") or {}, command.get("projection") or None)
        if command.get("sort"):
            found = found.sort(list(command["sort"].items()))
        found = found.skip(command.get("skip", 0)).limit(abs(command.get("limit", 0)))
        return self.cursor(db, command["find"], list(found), command.get("batchSize", 101), command.get("singleBatch"))

    def do_aggregate(self, command, db, _):
        return self.cursor(db, command["aggregate"], list(db[command["aggregate"]].aggregate(command["pipeline"])), 101)

    def cursor(self, db, name, rest, size, single=False):
        id, batch, rest = next(self.numbers), rest[:size], rest[size:]
        if rest and not single:
            self.cursors[id] = rest
        return {"cursor": {"id": Int64(id if id in self.cursors else 0), "ns": f"{db.name}.{name}", "firstBatch": batch}}

    def do_getmore(self, command, db, _):
        id, size = command["getMore"], command.get("batchSize") or 101
        if id not in self.cursors:
            raise Refused(43, "CursorNotFound", f"cursor id {id} not found")
        rest = self.cursors.pop(id)
        if rest[size:]:
            self.cursors[id] = rest[size:]
        left = Int64(id if id in self.cursors else 0)
        return {"cursor": {"id": left, "ns": f"{db.name}.{command['collection']}", "nextBatch": rest[:size]}}

    def do_killcursors(self, command, *_):
        return {"cursorsKilled": [id for id in command["cursors"] if self.cursors.pop(id, None)]}

    def do_create(self, command, db, _):
        if self.there(db, command["create"]):
            raise Refused(48, "NamespaceExists", "the collection is there already")
        indexes = self.indexes_of(db, command["create"])
        if "collation" in command:
            indexes["_id_"]["collation"] = command["collation"]
        return {}

    def do_listcollections(self, command, db, _):
        names = {name for owner, name in self.indexes if owner == db.name} | set(db.list_collection_names())
        return self.cursor(db, "$cmd.listCollections", [{"name": name, "type": "collection"} for name in sorted(names)], 101)

    def do_createindexes(self, command, db, _):
        indexes = self.indexes_of(db, command["createIndexes"])
        for index in command["indexes"]:
            if any(dict(o["key"]) == dict(index["key"]) and dict(o) != {"v": 2, **index} for o in indexes.values()):
                raise Refused(85, "IndexOptionsConflict", "an equivalent index has another name or other options")
            indexes[index["name"]] = {"v": 2, **index}
            if index.get("unique"):
                db[command["createIndexes"]].create_index(list(index["key"].items()), unique=True, sparse=index.get("sparse", False))
        return {}

    def do_listindexes(self, command, db, _):
        name = command["listIndexes"]
        if not self.there(db, name):
            raise Refused(26, "NamespaceNotFound", f"ns does not exist: {db.name}.{name}")
        return self.cursor(db, name, list(self.indexes_of(db, name).values()), 101)

    def do_dropindexes(self, command, db, _):
        name = command["dropIndexes"]
        self.indexes[(db.name, name)] = {"_id_": self.indexes_of(db, name)["_id_"]}
        return {}

    def do_drop(self, command, db, _):
        self.indexes.pop((db.name, command["drop"]), None)
        db.drop_collection(command["drop"])
        return {}


def duplicate(index, id):
    return {"index": index, "code": 11000, "errmsg": f"E11000 duplicate key error collection, dup key: {{ _id: {id!r} }}"}


def shown(value):
    """A value without the content of documents."""
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shown(v) for v in value]
    return b"..." if isinstance(value, bytes) and len(value) > 64 else value


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        state = {}
        self.server.open.add(self.request)
        try:
            while (head := self.read(16)) is not None:
                length, number, _, operation = struct.unpack("<iiii", head)
                body = self.read(length - 16)
                command = from_query(body) if operation == 2004 else from_message(body)
                answer = self.server.mongo.answer(state, command)
                if answer is None:
                    return
                answer = bson.encode(answer)
                if operation == 2004:
                    operation, answer = 1, struct.pack("<iqii", 8, 0, 0, 1) + answer
                else:
                    answer = struct.pack("<IB", 0, 0) + answer
                self.request.sendall(struct.pack("<iiii", len(answer) + 16, 0, number, operation) + answer)
        except (ConnectionError, OSError):
            pass
        finally:
            self.server.open.discard(self.request)

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.request.recv(count - len(data))
            if not piece:
                return None
            data += piece
        return data


def from_query(body):
    """The command of an OP_QUERY, with which connections begin."""
    return bson.decode(body[body.index(b"\0", 4) + 9 :], CODECS)


def from_message(body):
    """The command of an OP_MSG with its sequences of documents."""
    command, more, at = {}, {}, 4
    (flags,) = struct.unpack_from("<I", body)
    end = len(body) - (4 if flags & 1 else 0)
    while at < end:
        kind, at = body[at], at + 1
        (length,) = struct.unpack_from("<i", body, at)
        section, at = body[at : at + length], at + length
        if kind == 0:
            command = bson.decode(section, CODECS)
        else:
            name_end = section.index(b"\0", 4)
            more[section[4:name_end].decode()] = bson.decode_all(section[name_end + 1 :], CODECS)
    return {**command, **more}


class Server(socketserver.ThreadingTCPServer):
    """The server on 127.0.0.1. `stop` cuts every connection; `Server(port, mongo=old.mongo)` is it again, with its documents."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 128

    def __init__(self, port=0, mongo=None, certificate=None, **options):
        self.mongo, self.open = mongo or Mongo(**options), set()
        super().__init__(("127.0.0.1", port), Connection)
        self.mongo.address = self.server_address
        if certificate:  # a PEM file with its key; hands are shaken with the first read of each connection
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self):
        return self.server_address[1]

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            try:
                connection.shutdown(2)
            except OSError:
                pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for a MongoDB server, on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--standalone", action="store_true")
    parser.add_argument("--certificate")
    parser.add_argument("--wire-versions", type=int, nargs=2, default=(0, 21))
    chosen = parser.parse_args()
    options = {"standalone": chosen.standalone, "wire": chosen.wire_versions}
    Server(chosen.port, certificate=chosen.certificate, **options).serve_forever()
