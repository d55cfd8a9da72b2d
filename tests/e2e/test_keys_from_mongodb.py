"""Keys that lie in clear text in a MongoDB collection, or in a file of one, come in as they are; and the way from such a server."""

import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from e2e import wire
from e2e.program import CONFIG, SECRET, client, contents
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def rsa_keys():
    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def document(key, kid=None, **more):
    """A key as such servers keep it: {kty,kid,n,e,d,p,q,dp,dq,qi,pem}."""
    jwk = {name: value for name, value in RSAAlgorithm.to_jwk(key, as_dict=True).items() if name != "key_ops"}
    return jwk | ({"kid": kid} if kid else {}) | {"pem": private_pem(key)} | more


def exported(document, number):
    """A document as mongoexport writes it, with what Mongoose adds."""
    beside = {"_id": {"$oid": f"{number:024x}"}, "__v": 0, "createdAt": {"$date": "2024-01-01T00:00:00Z"}, "size": {"$numberLong": "2048"}}
    return beside | document


@pytest.fixture
def empty(world):
    world.configure(CONFIG.replace("ES256", "RS256") + client("tests"))
    return world


def states(world):
    return {key["kid"]: key["state"] for key in world.keys()}


@pytest.mark.parametrize("form", ["lines", "array", "pretty", "jwks", "bom"])
def test_a_file_of_a_collection_comes_in_whole_under_the_names_it_has(empty, rsa_keys, form):
    documents = [exported(document(key, f"old-{number}"), number) for number, key in enumerate(rsa_keys)]
    text = {
        "lines": "".join(json.dumps(one) + "\n" for one in documents),
        "array": json.dumps(documents),
        "pretty": "\n".join(json.dumps(one, indent=2) for one in documents),
        "jwks": json.dumps({"keys": documents}),
        "bom": "\ufeff" + "\r\n".join(json.dumps(one) for one in documents) + "\r\n",
    }[form]
    empty.done("keys", "import", "-", input=text)
    assert states(empty) == {"old-0": "active", "old-1": "published", "old-2": "published"}
    assert empty.done("keys", "import", "-", input=text).count("already there") == 3
    for number, one in enumerate(documents):
        found = json.loads(empty.done("keys", "export", "--public"))["keys"][number]
        assert (found["kid"], found["n"], found["e"]) == (one["kid"], one["n"], one["e"])


def test_the_pem_alone_is_a_key_too_and_one_without_a_name_is_called_by_its_thumbprint(empty, rsa_keys):
    text = json.dumps([{"pem": private_pem(rsa_keys[0])}, {"kid": "b", "alg": "RS512", "pem": private_pem(rsa_keys[1])}])
    first, second = json.loads(empty.done("keys", "import", "--json", "-", input=text))["keys"]
    assert second["kid"] == "b"
    assert next(key for key in empty.keys() if key["kid"] == "b")["algorithm"] == "RS512"
    alone = document(rsa_keys[0])
    del alone["pem"]
    again = json.loads(empty.done("keys", "import", "--json", "-", input=json.dumps(alone)))["keys"][0]
    assert again == {"ring": "default", "kid": first["kid"], "state": "active", "changed": False}


def test_every_kind_of_key_may_have_its_pem_beside_it_private_or_public(empty):
    keys = {
        "ec": (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm), "ed": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
    }
    for number, (kid, (key, algorithm)) in enumerate(keys.items()):
        private, public = (algorithm.to_jwk(part, as_dict=True) for part in (key, key.public_key()))
        for jwk, pem in [(private, public_pem(key)), (public, private_pem(key)), (private, private_pem(key)), (private, None)]:
            jwk = {name: value for name, value in jwk.items() if name != "key_ops"}
            done = json.loads(empty.done("keys", "import", "--json", "-", input=json.dumps(jwk | {"kid": kid, "pem": pem})))["keys"][0]
            assert done["kid"] == kid
    assert set(states(empty)) == {"ec", "ed"}


@pytest.mark.parametrize("spoil, says", [
    (lambda one, keys: one | {"pem": private_pem(keys[2])}, 'key 2 of 3 (kid "old-1"): its `pem` is another key than its JWK members: they differ in `n`'),
    (lambda one, keys: one | {"pem": public_pem(keys[2])}, "they differ in `n`"),
    (lambda one, keys: one | {"pem": private_pem(ec.generate_private_key(ec.SECP256R1()))}, "they differ in `kty`"),
    (lambda one, keys: one | {"pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, 'key 2 of 3 (kid "old-1"): pem: '),
    (lambda one, keys: one | {"pem": {"$binary": "x"}}, "`pem` must be a string"),
    (lambda one, keys: one | {"pem": ""}, "pem: no key found"),
    (lambda one, keys: {"_id": {"$oid": "0" * 24}, "name": "settings"}, 'key 2 of 3 (_id {"$oid": "000000000000000000000000"}): it is not a key: it has neither `kty` nor `pem`'),
    (lambda one, keys: {**one, "kid": 7}, "key 2 of 3 (kid 7): "),
    (lambda one, keys: {**one, "kid": "old-0"}, 'keys 1 and 2 of 3 are two keys, and both are named "old-0"'),
    (lambda one, keys: {**one, "use": "enc"}, "not for signatures"),
    (lambda one, keys: {"kty": "RSA", "n": one["n"], "e": one["e"]}, "public key"),
    (lambda one, keys: {"kty": "RSA", "n": one["n"], "e": one["e"], "pem": public_pem(keys[1])}, "public key"),
    (lambda one, keys: {"pem": public_pem(keys[1])}, "public key"),
    (lambda one, keys: {"kty": "oct", "kid": "s", "k": "c2hvcnQ", "pem": one["pem"]}, "that is a secret"),
    (lambda one, keys: {**one, "d": document(keys[2])["d"]}, "do not belong together"),
    (lambda one, keys: [one], "key 2 of 3"),
    (lambda one, keys: "text", "key 2 of 3"),
    (lambda one, keys: None, "key 2 of 3"),
])
def test_one_document_that_is_no_key_is_named_and_nothing_comes_in(empty, rsa_keys, spoil, says):
    documents = [exported(document(key, f"old-{number}"), number) for number, key in enumerate(rsa_keys)]
    secrets = [one["d"] for one in documents] + [one["pem"].splitlines()[3] for one in documents]
    documents[1] = spoil(documents[1], rsa_keys)
    before = contents(empty.folder)
    line = empty.fails(1, says, "keys", "import", "-", input=json.dumps(documents))
    assert not any(secret in line for secret in secrets)
    assert contents(empty.folder) == before
    assert states(empty) == {}


def test_the_same_key_twice_comes_in_once_and_broken_files_and_too_many_keys_do_not(empty, rsa_keys):
    one = document(rsa_keys[0], "old")
    assert "already there" in empty.done("keys", "import", "-", input=json.dumps([one, one | {"_id": 2}]))
    assert states(empty) == {"old": "active"}
    for text, says in [
        (json.dumps(one) + '\n{"kty":', "malformed JSON at line 2"), ("[]", "no key found"), ("[" * 100_000, "malformed"),
        (json.dumps([{"pem": "x"}] * 501), "more than 500 keys"), ('{"kty":"RSA","kty":"EC"}', "twice"),
        (json.dumps({"keys": {"a": one}}), "must be an array"),
    ]:
        empty.fails(1, says, "keys", "import", "-", input=text)
    assert states(empty) == {"old": "active"}


def test_the_lines_of_the_documentation_make_the_old_servers_key_sign(world, rsa_keys):
    world.done("init", "--issuer", "https://auth.example")
    [made] = states(world)
    world.done("keys", "import", "-", input=json.dumps([document(key, f"old-{n}") for n, key in enumerate(rsa_keys)]))
    world.done("keys", "activate", "old-1", "--force")
    assert states(world) == {made: "retired", "old-0": "published", "old-1": "active", "old-2": "published"}
    assert jwt.get_unverified_header(world.done("sign", "--claims", "{}").strip())["kid"] == "old-1"


def test_what_is_typed_for_a_database_must_be_a_reference_to_its_url(full_world, mongo):
    full_world.configure(CONFIG.replace("ES256", "RS256") + client("tests"))
    take = ("keys", "import", "--mongodb")
    url = mongo.url()
    full_world.fails(2, "a password on a command line", *take, url, "--collection", "keys")
    for wrong in [(*take, "env:KEYS_URL"), ("keys", "import", "--collection", "keys", "x.pem"), (*take, "env:KEYS_URL", "--collection", "keys", "x.pem")]:
        assert full_world.run(*wrong, env={"KEYS_URL": url}).returncode == 2
    for value, says, code in [
        ("postgres://h/db", "not the URL of a MongoDB database", 78), ("mongodb://me:PW@h/", "name the database", 78),
        (url, 'the collection "keys": no key found', 1),
    ]:
        line = full_world.fails(code, says, *take, "env:KEYS_URL", "--collection", "keys", env={"KEYS_URL": value})
        assert "PW" not in line
    full_world.fails(78, "KEYS_URL is not set", *take, "env:KEYS_URL", "--collection", "keys")


def test_a_build_without_mongodb_says_so(empty):
    empty.fails(2, "--features mongodb", "keys", "import", "--mongodb", "env:X", "--collection", "keys", env={"X": "mongodb://h/db"})


def test_from_a_server_with_its_keys_in_mongodb_to_countersign_without_any_token_becoming_invalid(full_world, mongo_stand_in, rsa_keys):
    mongo = mongo_stand_in  # It tells what it was asked.
    url = mongo.url()
    port = full_world.configure(CONFIG.replace("ES256", "RS256") + client("tests"))
    issuer = f"http://127.0.0.1:{port}"
    collection = mongo.collection(url, "keys")
    collection.insert_many([document(key, f"old-{n}", __v=0, createdAt=time.time()) for n, key in enumerate(rsa_keys[:2])])

    def old_sign(n):
        claims = {"iss": issuer, "aud": "api://default", "sub": "alice", "exp": int(time.time()) + 3600}
        return jwt.encode(claims, rsa_keys[n], algorithm="RS256", headers={"kid": f"old-{n}"})

    tokens = [old_sign(0), old_sign(1)]
    public_keys = {one["kid"]: (one["n"], one["e"]) for one in collection.find()}

    # 1. import, past nobody: only questions are asked of the old database
    collection.insert_one({"_id": "settings", "name": "x"})
    take = ("keys", "import", "--mongodb", "env:KEYS_URL", "--collection", "keys")
    full_world.fails(1, 'the collection "keys": key 1 of 3 (_id "settings"): it is not a key', *take, env={"KEYS_URL": url})
    collection.delete_one({"_id": "settings"})
    asked = len(mongo.server.mongo.seen[url.rsplit("/", 1)[1]])
    full_world.environment["KEYS_URL"] = url
    full_world.done(*take)
    commands = {next(iter(one)) for one in mongo.server.mongo.seen[url.rsplit("/", 1)[1]][asked:]}
    assert commands <= {"hello", "find", "getMore", "killCursors"} and "find" in commands
    # 2. compare the JWKS
    exported = json.loads(full_world.done("keys", "export", "--public"))["keys"]
    assert {key["kid"]: (key["n"], key["e"]) for key in exported} == public_keys
    # 3. the key that the old server signed with last goes on signing: every verifier knows it
    assert states(full_world) == {"old-0": "active", "old-1": "published"}
    full_world.done("keys", "activate", "old-1", "--force")
    # 4. switch; tokens of the last moment of the old server too
    tokens.append(old_sign(1))
    assert full_world.serve().printed["issuer"] == issuer
    served = wire.get(issuer, "/public-keys").json()
    assert served == wire.get(issuer, "/.well-known/jwks.json").json()
    answer = wire.ask(issuer, "POST", "/sign", HEADERS, b'{"data":{"sub":"alice"}}')
    tokens.append(answer.json()["access_token"])
    assert jwt.get_unverified_header(tokens[-1])["kid"] == "old-1"
    keys = jwt.PyJWKSet.from_dict(served)
    for token in tokens:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        assert jwt.decode(token, key, algorithms=["RS256"], issuer=issuer, audience="api://default")["sub"] == "alice"
        full_world.done("verify", "--jwks", f"{issuer}/public-keys", "--issuer", issuer, "--audience", "api://default", token)
    # 5. no copy in clear text is left, and none was made
    collection.drop()
    secrets = [document(key)["d"].encode() for key in rsa_keys[:2]]
    secrets += [base64.urlsafe_b64decode(secret + b"==") for secret in secrets]
    for path in full_world.folder.rglob("*"):
        assert not path.is_file() or not any(secret in path.read_bytes() for secret in secrets), path
    assert wire.ask(issuer, "POST", "/sign", HEADERS, b'{"data":{"sub":"alice"}}').status == 200
