"""What the program does on any store that several may share; the tests of each engine say how to reach it and look inside."""

import concurrent.futures
import json
import re
import sqlite3
import time

import jwt
from e2e import assertions, wire
from e2e.program import CONFIG, SECRET, client, free_port, until

BODY = b'{"data":{"sub":"alice"}}'
HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}


def configuration(store):
    return CONFIG.replace("[rings", f"[store]\n{store}\n\n[rings") + client("tests")


def quick(url):
    """A configuration on a store that is looked at often."""
    return configuration(f'url = "{url}"\nrefresh = "200ms"\nmax_stale = "2s"')


def sign(issuer):
    answer = wire.ask(issuer, "POST", "/sign", HEADERS, BODY)
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def jwks(issuer):
    return wire.get(issuer, "/.well-known/jwks.json").json()


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def verify(token, keys, issuer):
    key = jwt.PyJWKSet.from_dict(keys)[kid(token)]
    return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience="api://default")


def ready(issuer, status=200, within=60):
    until(lambda: wire.get(issuer, "/readyz").status == status, f"/readyz {status}", within)


def documents(path):
    """What is in an SQLite file."""
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT key, bytes, expires_at FROM documents ORDER BY key").fetchall()
    finally:
        database.close()


def two_servers_make_one_key_and_both_take_up_the_next(world, url, pem):
    """Two that start at the same moment on an empty store."""
    world.configure(quick(url))
    other = f"127.0.0.1:{free_port()}"
    first, second = world.spawn("serve", "--json"), world.spawn("serve", "--json", "--listen", other)
    issuer = world.announcement(first)["issuer"]
    world.announcement(second)
    both = (issuer, f"http://{other}")
    for server in both:
        ready(server)
    assert len(world.keys()) == 1 and jwks(both[0]) == jwks(both[1])
    old = [sign(server) for server in both]
    assert kid(old[0]) == kid(old[1])

    world.done("keys", "import", pem["ec"], "--activate")
    assert len(world.keys()) == 2
    for server in both:
        until(lambda: kid(sign(server)) != kid(old[0]), f"the new key at {server}")
    tokens = [*old, *(sign(server) for server in both)]
    assert len({kid(token) for token in tokens}) == 2
    for server in both:
        for token in tokens:
            assert verify(token, jwks(server), issuer)["sub"] == "alice"


def a_server_goes_on_through_an_outage(world, url, stop, start):
    """With the keys it has, and says so after `max_stale`; what the command line complains of meanwhile."""
    world.configure(quick(url))
    server = world.serve()
    issuer = server.printed["issuer"]
    ready(issuer)
    keys, token = jwks(issuer), sign(issuer)
    stop()
    try:
        began = time.monotonic()
        assert wire.get(issuer, "/readyz").status == 200, "not at once"
        while wire.get(issuer, "/readyz").status == 200:
            assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"
            assert time.monotonic() - began < 60, "it stays ready"
            time.sleep(0.05)
        assert time.monotonic() - began > 1
        assert kid(sign(issuer)) == kid(token) and jwks(issuer) == keys, "and goes on with the keys it has"
        assert wire.get(issuer, "/healthz").status == 200
        complaint = world.fails(70, "is not available", "keys", "list")
        world.fails(70, "is not available", "serve")
    finally:
        start()
    ready(issuer)
    assert verify(sign(issuer), jwks(issuer), issuer)["sub"] == "alice"

    server.kill()
    server.wait()
    issuer = world.serve().printed["issuer"]
    ready(issuer)
    assert kid(sign(issuer)) == kid(token), "and starts again with what is there"
    return complaint


def a_store_moves_from_sqlite_and_back(world, url, look, lose):
    """With tokens made before that verify after. `look` is handed the expiry of `family/1` and looks at the documents `family/…`
    from outside; `lose` takes `family/2` away, as if the copy had been interrupted."""
    port = world.configure()
    server = world.serve()
    issuer = server.printed["issuer"]
    before = sign(issuer)
    server.kill()
    server.wait()
    old, file = "sqlite:countersign/countersign.db", world.folder / "countersign/countersign.db"
    later, past = int(time.time()) + 3600, int(time.time()) - 3600
    with sqlite3.connect(file) as database:
        for name, expires_at in [("family/1", later), ("family/2", None), ("family/gone", past)]:
            database.execute("INSERT INTO documents VALUES (?, ?, ?, ?)", (name, f"v-{name}", name.encode(), expires_at))
    database.close()
    # The keyring and these two; and what was seen of the keys in public, if the server came to it.
    count = len([1 for _, _, expires_at in documents(file) if expires_at != past])
    assert f"{count} documents; keyrings 1 with 1 keys (every key opens), others 2" in world.done("store", "check", old)

    copy = ("store", "copy", old, "env:NEW_STORE", "--json")
    world.environment["NEW_STORE"] = url
    assert json.loads(world.done(*copy)) == {"copied": count, "already_there": 0, "verified": count}
    look(later)
    # Interrupted before the last but one, and run again; and once more.
    lose()
    for copied in (1, 0):
        expected = {"copied": copied, "already_there": count - copied, "verified": count}
        assert json.loads(world.done(*copy)) == expected

    world.configure(configuration('url = "env:NEW_STORE"'), port)
    (key,) = world.keys()
    assert json.loads(world.done("store", "check", "--json")) == {
        "documents": count, "keyrings": 1, "keys": 1, "keys_opened": True, "others": 2,
        "sealed_by": {key["sealed_by"]: 1}, "kms": 0, "data_keys": 0,
    }
    file.unlink()
    server = world.serve()
    assert server.printed["issuer"] == issuer
    ready(issuer)
    after = sign(issuer)
    assert kid(after) == kid(before)
    for token in (before, after):
        assert verify(token, jwks(issuer), issuer)["sub"] == "alice"

    # And back, when nobody uses it any more.
    server.kill()
    server.wait()
    done = world.done("store", "copy", "env:NEW_STORE", "sqlite:back.db")
    assert re.fullmatch(r"copied (\d) documents, 0 were there already; both stores hold the same \1\n", done)
    back = [(name, expires_at) for name, _, expires_at in documents(world.folder / "back.db") if "observations" not in name]
    assert back == [("family/1", later), ("family/2", None), ("keyring", None)]
    assert "every key opens" in world.done("store", "check", "sqlite:back.db")


def a_store_that_goes_back_takes_no_key_from_verifiers(world, url, clear):
    """Emptied, replaced by a copy from before a rotation or a revocation, by another authority: the server serves what it knows until the store is put right, or the
    loss is accepted by name. `clear` removes every document from outside."""
    world.environment["STORE"] = url
    world.configure(quick(url))
    issuer = world.serve().printed["issuer"]
    ready(issuer)
    tokens = [sign(issuer)]
    world.done("store", "copy", "env:STORE", "sqlite:older.db")
    made = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "activate", made, "--force")
    until(lambda: kid(sign(issuer)) == made, "the new key signs", within=60)
    tokens.append(sign(issuer))
    leaked = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "publish", leaked)
    until(lambda: leaked in {key["kid"] for key in jwks(issuer)["keys"]}, "the key that leaks is shown", within=60)
    world.done("store", "copy", "env:STORE", "sqlite:before_revocation.db")
    world.done("keys", "revoke", leaked)
    waiting = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "publish", waiting)
    known = {kid(token) for token in tokens} | {waiting}
    until(lambda: {key["kid"] for key in jwks(issuer)["keys"]} == known, "all three are shown", within=60)
    world.done("store", "copy", "env:STORE", "sqlite:newest.db")

    def put_back(copy):
        clear()
        world.done("store", "copy", f"sqlite:{copy}", "env:STORE")

    def other_authority():
        clear()
        world.done("keys", "init")

    for way in (clear, lambda: put_back("older.db"), lambda: put_back("before_revocation.db"), other_authority):
        way()
        until(lambda: "store_went_back" in wire.get(issuer, "/readyz").body.decode(), "it is noticed", within=60)
        assert wire.get(issuer, "/readyz").status == 503
        for _ in range(5):
            keys = jwks(issuer)
            shown = {key["kid"] for key in keys["keys"]}
            assert known <= shown and leaked not in shown, "no key is taken away, and none that was revoked comes back"
            assert kid(sign(issuer)) == made, "and it goes on signing"
            for token in tokens:
                assert verify(token, keys, issuer)["sub"] == "alice"
            time.sleep(0.1)
        metrics = wire.get(issuer, "/metrics").body.decode()
        assert 'countersign_concern{concern="store_went_back"} 1' in metrics
        put_back("newest.db")
        ready(issuer)
        until(lambda: {key["kid"] for key in jwks(issuer)["keys"]} == known, "as before", within=60)

    other_authority()
    until(lambda: "store_went_back" in wire.get(issuer, "/readyz").body.decode(), "it is noticed again", within=60)
    [new] = [key["kid"] for key in world.keys()]
    until(lambda: new in {key["kid"] for key in jwks(issuer)["keys"]}, "authentic new keys are shown beside the old ones", within=60)
    told = [event for event in world.events() if event["level"] == "ERROR" and "accept-loss" in json.dumps(event)]
    command = re.search(r"countersign (keys accept-loss [^`]*)`", json.dumps(told[-1]))[1].split()
    assert made in command and kid(tokens[0]) in command, command
    world.done(*command)
    ready(issuer)
    assert kid(sign(issuer)) == new
    assert {key["kid"] for key in jwks(issuer)["keys"]} == {new}


def an_assertion_is_taken_once_by_whichever_server(world, url):
    """Of several servers on one store, each asked at once; and after all of them were killed and started again."""
    key = assertions.Key("worker")
    entry = assertions.entry(key)
    world.configure(quick(url) + entry)
    others = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    processes = [world.serve()]
    issuer = processes[0].printed["issuer"]
    processes += [world.serve("--listen", other) for other in others]
    servers = [issuer, *(f"http://{other}" for other in others)]
    spent = []
    for _ in range(8):
        assertion = key.sign(issuer)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: assertions.ask(servers[n % 3], assertion), range(12)))
        outcomes = sorted((answer.status, answer.json().get("error")) for answer in answers)
        assert outcomes == [(200, None), *[(401, "invalid_client")] * 11], outcomes
        spent.append(assertion)
    for process in processes:
        process.kill()
        process.wait()
    world.serve()
    for assertion in spent:
        assert assertions.ask(issuer, assertion).status == 401, "also after a restart"
    # What is noted belongs to the client that named it.
    other = assertions.Key("other")
    world.configure(quick(url) + entry + assertions.entry(other), port=int(issuer.rsplit(":", 1)[1]))
    again = f"http://127.0.0.1:{free_port()}"
    world.serve("--listen", again.removeprefix("http://"))
    claims = jwt.decode(spent[0], options={"verify_signature": False})
    assert assertions.ask(again, other.sign(issuer, jti=claims["jti"])).status == 200
    assert assertions.ask(again, key.sign(issuer, jti=claims["jti"])).status == 401
