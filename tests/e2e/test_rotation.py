"""Rotation as it happens: a server whose keys live for seconds, and verifiers that read its JWKS as the world does."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from e2e import wire
from e2e.program import SECRET, free_port, secret_hash, until

#: Everything in seconds: a key is published 9 s before its turn, must be seen for 2 s and the skew, signs for 12 s, and stays 10 s.
RINGS = """
[store]
refresh = "1s"
max_stale = "3s"
max_stale_signing = "5s"

[rotation]
observe_every = "1s"
skew = "1s"

[tokens]
backdate = "0s"

[rings.default]
algorithm = "ES256"
rotate_every = "12s"
propagation = "2s"
longest_token = "3s"
keep_retired = "10s"
"""
CLIENT = """
[[clients]]
id = "tests"
secret_hashes = ["@HASH@"]
audiences = ["api://default"]
max_lifetime = "3s"
claims = { allow = ["*"] }
"""


def configuration(rings=RINGS):
    head = 'issuer = "http://127.0.0.1:@PORT@"\n[server]\nlisten = "127.0.0.1:@PORT@"\n'
    return head + rings + CLIENT.replace("@HASH@", secret_hash())


def ask(issuer):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    body = json.dumps({"data": {"sub": "a"}, "metadata": {"duration": 3}}).encode()
    return wire.ask(issuer, "POST", "/sign", headers, body)


def mint(issuer):
    answer = ask(issuer)
    assert answer.status == 200, answer
    return json.loads(answer.body)["access_token"]


def signing(issuer):
    """The key that signs. Between a revocation and what takes over there may be none for a moment."""
    answer = ask(issuer)
    assert answer.status == 200 or b"no active key" in answer.body, answer
    return jwt.get_unverified_header(json.loads(answer.body)["access_token"])["kid"] if answer.status == 200 else None


def jwks(issuer):
    answer = wire.get(issuer, "/.well-known/jwks.json")
    keys = {key["kid"]: jwt.PyJWK(key) for key in json.loads(answer.body)["keys"]}
    return keys, wire.max_age(answer)


def test_a_server_rotates_by_itself_and_every_token_verifies_for_as_long_as_it_lives(world):
    port = world.configure(configuration())
    world.serve()
    issuer = f"http://127.0.0.1:{port}"
    kids, live, ages, end = [], [], [], time.monotonic() + 300
    while time.monotonic() < end and len(kids) < 4:
        token = mint(issuer)
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in kids:
            kids.append(kid)
        live.append(token)
        keys, age = jwks(issuer)
        ages.append(age)
        still = []
        for token in live:
            key = keys.get(jwt.get_unverified_header(token)["kid"])
            try:
                assert key, f"a live token's key is gone: {sorted(keys)}\n{world.log}"
                jwt.decode(token, key, algorithms=["ES256"], audience="api://default", issuer=issuer)
                still.append(token)
            except jwt.ExpiredSignatureError:
                pass
            except AssertionError:
                claims = jwt.decode(token, options={"verify_signature": False})
                assert claims["exp"] <= time.time(), world.log
        live = still
        time.sleep(0.1)
    assert len(kids) == 4, f"{kids}\n{world.log}"
    # Never for longer than until the next planned change, which is a rotation away at most; the floor is 10 s.
    assert max(ages) <= 13 and min(ages) == 10
    changes = [event for event in world.events() if event.get("reason") == "rotation"]
    assert {(event["decision"], event["by"]) for event in changes} == {("key_changed", "server")}
    moves = [(event["from"], event["to"]) for event in changes]
    assert moves.count(("none", "published")) >= 2 and moves.count(("published", "active")) >= 2
    assert moves.count(("active", "retired")) >= 2 and ("retired", "none") in moves
    states = [key["state"] for key in world.keys()]
    assert states.count("active") == 1


def test_caches_come_back_at_different_moments_before_the_next_planned_change(world):
    # The next key is published 9.2 s before the turn of the first one, 101 s after that began to sign.
    port = world.configure(configuration(RINGS.replace('rotate_every = "12s"', 'rotate_every = "110s"')))
    world.serve()
    [first] = world.keys()
    assert first["next"]["step"] == "make" and first["next"]["at"] == first["activated_at"] + 101
    ages = set()

    def spread():
        asked = time.time()
        age = jwks(f"http://127.0.0.1:{port}")[1]
        assert asked + age <= first["next"]["at"], (age, first)
        ages.add(age)
        return len(ages) > 8 and min(ages) < max(ages) - 10

    until(spread, "answers may be kept for different times")


def test_keys_are_moved_along_by_hand_and_the_server_follows(world):
    rings = RINGS.replace('rotate_every = "12s"\n', "")
    port = world.configure(configuration(rings))
    world.serve()
    issuer = f"http://127.0.0.1:{port}"
    first = world.keys()[0]["kid"]
    second = json.loads(world.done("keys", "prepare", "--json"))
    assert second["state"] == "prepared" and second["changed"]
    assert json.loads(world.done("keys", "prepare", "--json")) == second | {"changed": False}
    second = second["kid"]
    assert set(jwks(issuer)[0]) == {first}
    world.done("keys", "publish", second)
    until(lambda: set(jwks(issuer)[0]) == {first, second}, "both keys are published")
    # Until it is known takes longer than this command, however slow the machine is.
    world.configure(configuration(rings.replace('propagation = "2s"', 'propagation = "1h"')), port)
    world.fails(1, "may not be known to all verifiers", "keys", "activate", second)
    world.configure(configuration(rings), port)
    # The running server looks at its own JWKS every second.
    until(lambda: world.run("keys", "activate", second).returncode == 0, "the key is known")
    until(lambda: jwt.get_unverified_header(mint(issuer))["kid"] == second, "the server signs with it")
    assert set(jwks(issuer)[0]) == {first, second}

    world.fails(1, "a ring always has one active key", "keys", "retire", second)
    told = world.done("keys", "revoke", second)
    assert "Verifiers refuse its tokens when they read the JWKS again" in told
    until(lambda: second not in jwks(issuer)[0], "the revoked key is gone")
    active = [key["kid"] for key in world.keys() if key["state"] == "active"]
    until(lambda: signing(issuer) == active[0] not in (first, second), "the next one signs")
    world.fails(1, "a revoked key never comes back", "keys", "activate", second)
    assert second not in world.done("keys", "export", "--public")
    listed = world.done("keys", "list")
    assert "revoked" in listed and "| now" in listed


def test_another_key_under_the_name_of_a_key_is_not_that_key(world):
    """Two stages of one service that import a key under the same kid, and an address that leads to the other stage."""
    public = {}

    class Address(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(public).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Address) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Looks may be far apart on a busy machine.
        rings = RINGS.replace('rotate_every = "12s"\n', "").replace('observe_every = "1s"', 'observe_every = "20s"')
        world.configure(configuration(rings).replace("127.0.0.1:@PORT@", f"127.0.0.1:{server.server_port}"))
        world.done("sign", "--claims", "{}", "--lifetime", "1s")
        second = json.loads(world.done("keys", "prepare", "--json"))["kid"]
        world.done("keys", "publish", second)
        right = json.loads(world.done("keys", "export", "--public"))
        wrong = json.loads(json.dumps(right))
        mine, other = (next(key for key in wrong["keys"] if (key["kid"] == second) == own) for own in (True, False))
        mine["x"], mine["y"] = other["x"], other["y"]

        def look(document):
            public.clear()
            public.update(document)
            return json.loads(world.done("keys", "rotate", "--once", "--json"))

        # For longer than it has to be seen.
        begun = time.monotonic()
        while time.monotonic() < begun + 5:
            look(wrong)
        world.fails(1, "it was not seen at the public address", "keys", "activate", second)
        until(lambda: look(right) and world.run("keys", "activate", second).returncode == 0, "it is known when it is seen")
        server.shutdown()


def test_rotate_once_is_a_turn_for_schedulers(world):
    def turn():
        # Nobody serves the JWKS, so the turn fails, and takes the steps that do not depend on it.
        done = world.run("keys", "rotate", "--once", "--json")
        assert done.returncode == 70, done
        return json.loads(done.stdout)["turn"]

    port = world.configure(configuration(RINGS.replace('rotate_every = "12s"', 'rotate_every = "1h"')))
    world.done("sign", "--claims", "{}", "--lifetime", "1s")
    assert turn()["done"] == []
    # Under this policy the next key is due 3 s after the first one began to sign.
    world.configure(configuration(), port)
    made = until(lambda: turn()["done"], "the next key is due")
    assert [done["step"] for done in made] == ["make"], made
    blind = turn()
    assert blind["done"] == [] and blind["look_failed"], "nobody serves the JWKS, so nothing can be seen"


def test_a_turn_fails_where_the_key_that_signs_is_not_in_public(world):
    """An emptied bucket: every verifier refuses every token, and the scheduler is the only one who could notice."""
    served = {"body": b'{"keys":[]}'}

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(served["body"])))
            self.end_headers()
            self.wfile.write(served["body"])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        world.configure(configuration(RINGS.replace('rotate_every = "12s"', 'rotate_every = "1h"')), server.server_port)
        world.done("keys", "init")
        # A key that was just published may not be there yet.
        assert world.run("keys", "rotate").returncode == 0
        [key] = world.keys()
        time.sleep(3)
        line = world.fails(1, "is not at http://127.0.0.1:", "keys", "rotate")
        assert key["kid"] in line and "countersign publish" in line
        said = json.loads(world.run("keys", "rotate", "--json").stdout)
        assert said["error"] == "active_key_not_public" and said["turn"]["done"] == []
        served["body"] = world.done("keys", "export").encode()
        assert world.done("keys", "rotate", "--once") == "nothing is due\n"
        server.shutdown()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('keep_retired = "5s"', "keep_retired 5s is shorter than the longest token 3s"),
        ('rotate_every = "5s"', "rotate_every 5s is shorter than a key takes to become known"),
        ('consumers = ["nobody"]', "is not a known consumer"),
        ('longest_token = "2s"', "tokens of client \"tests\" may live 3s"),
        ('max_stale_signing = "2s"', "store.max_stale_signing: 2s is less than three times store.refresh"),
    ],
)
def test_times_that_clash_do_not_start_and_the_message_has_the_numbers(world, setting, says):
    name = setting.split(" =")[0]
    lines = [line for line in RINGS.splitlines() if not line.startswith(f"{name} =")]
    section = "[store]" if name in RINGS.split("[rotation]")[0] else "[rings.default]"
    lines.insert(lines.index(section) + 1, setting)
    world.configure(configuration("\n".join(lines) + "\n"))
    for command in [("serve",), ("config", "check"), ("keys", "list")]:
        world.fails(78, says, *command)


def test_the_operator_mints_no_token_that_outlives_its_key(world):
    world.configure(configuration())
    world.fails(2, "the ring signs tokens of 3s at most", "sign", "--claims", "{}", "--lifetime", "4s")
    world.done("sign", "--claims", "{}", "--lifetime", "3s")


def test_a_kid_that_begins_with_a_hyphen_is_a_kid(world):
    world.configure(configuration())
    world.done("sign", "--claims", "{}", "--lifetime", "1s")
    for command in [
        ("keys", "activate", "-Cx"), ("keys", "activate", "--force", "-Cx"), ("keys", "activate", "-Cx", "--force"),
        ("keys", "publish", "-Cx"), ("keys", "retire", "-Cx"), ("keys", "revoke", "-Cx"),
    ]:
        world.fails(1, 'there is no key "-Cx"', *command)


@contextlib.contextmanager
def bucket(served):
    """A server that answers every request with `served`: a status and a body."""

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(served["status"])
            self.send_header("Content-Length", str(len(served["body"])))
            self.end_headers()
            self.wfile.write(served["body"])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


BY_HAND = RINGS.replace('rotate_every = "12s"\n', "").replace('propagation = "2s"', 'propagation = "10m"')
BY_HAND = BY_HAND.replace('keep_retired = "10s"\n', "")


@pytest.mark.parametrize(
    "status, body, code, says",
    [(None, b"", 70, "onnect"), (404, b"nothing", 70, "404"), (200, b"<html>", 1, "no JWK Set"), (200, b'{"keys":5}', 1, "no JWK Set")],
)
def test_a_turn_that_cannot_read_the_public_keys_says_so_and_fails(world, status, body, code, says):
    with bucket({"status": status or 200, "body": body}) as port:
        port = port if status else free_port()
        world.configure(configuration(BY_HAND), port)
        world.done("keys", "init")
        for waits in (False, True):
            if waits:
                kid = json.loads(world.done("keys", "prepare", "--json"))["kid"]
                world.done("keys", "publish", kid)
            done = world.run("keys", "rotate", "--once")
            assert done.returncode == code and "nothing is due" not in done.stdout, done
            assert f"http://127.0.0.1:{port}/.well-known/jwks.json" in done.stderr and says in done.stderr, done
            said = json.loads(world.run("keys", "rotate", "--once", "--json").stdout)
            assert said["turn"]["look_failed"] and says in said["message"], said


def test_a_turn_says_which_key_it_does_not_judge_yet(world):
    with bucket({"status": 200, "body": b'{"keys":[]}'}) as port:
        world.configure(configuration(BY_HAND), port)
        world.done("keys", "init")
        [key] = world.keys()
        said = world.done("keys", "rotate", "--once")
        assert f"key {key['kid']} signs in ring default and is not at http://127.0.0.1:" in said and "not judged before" in said
