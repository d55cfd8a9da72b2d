"""What the program does on any store that several may share; the tests of each engine say how to reach it and look inside."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import signal
import socket
import sqlite3
import threading
import time
from urllib.parse import urlencode

import jwt
from e2e import assertions, clocks, dpop, wire
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
    assert f"{count} documents; 1 keyring with 1 key (every key opens), 2 others" in world.done("store", "check", old)

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
    assert re.fullmatch(r"copied (\d) documents, there already: 0; both stores hold the same \1\n", done)
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
    until(lambda: kid(sign(issuer)) == new, "the new key signs", within=60)
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


def nothing_that_was_acknowledged_is_lost(world, url, kill, start, rounds=3):
    """The store's server is killed while assertions are being noted: one that was taken is never taken again."""
    key = assertions.Key("worker")
    world.configure(quick(url) + "\n[limits]\nper_client = \"off\"\nper_address = \"off\"\n" + assertions.entry(key))
    issuer = world.serve().printed["issuer"]
    taken, lock = [], threading.Lock()

    def load(enough):
        while not enough.is_set():
            assertion = key.sign(issuer)
            if assertions.ask(issuer, assertion).status == 200:
                with lock:
                    taken.append(assertion)

    for turn in range(rounds):
        enough, before = threading.Event(), len(taken)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            loads = [pool.submit(load, enough) for _ in range(6)]
            try:
                until(lambda before=before: len(taken) > before + 30, "thirty are taken")
                kill()
            finally:
                enough.set()
                for one in loads:
                    one.result()
                start()
        ready(issuer)
    assert len(taken) > 30 * rounds
    for assertion in taken:
        answer = until(lambda assertion=assertion: told(assertions.ask(issuer, assertion)), "an answer")
        assert answer.status == 401, "it was taken before"
    print(f"{len(taken)} acknowledged, none lost in {rounds} kills")


def told(answer):
    """An answer, or None where a client would try again."""
    return answer if answer.status != 503 else None


def a_proof_is_taken_once_by_whichever_server(world, url):
    """A DPoP proof, sent to several servers on one store at once; and a nonce of one server is one for the others."""
    world.configure(quick(url) + client("worker", more=assertions.MORE) + "\n[dpop]\nrequire_nonce = true\n")
    first, other = world.serve(), f"127.0.0.1:{free_port()}"
    processes = [first, world.serve("--listen", other)]
    issuer = first.printed["issuer"]
    servers, holder = [issuer, f"http://{other}"], dpop.Holder()
    # The URL is the issuer's, wherever the request arrives.
    endpoint = f"{issuer}/token"
    proofs = []
    for turn in range(6):
        answer = dpop.ask(servers[turn % 2], [holder.proof(endpoint)])
        assert (answer.status, answer.json()["error"]) == (400, "use_dpop_nonce"), answer
        proof = holder.proof(endpoint, nonce=answer.headers["DPoP-Nonce"])
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: dpop.ask(servers[n % 2], [proof]), range(12)))
        outcomes = sorted((answer.status, answer.json().get("error")) for answer in answers)
        assert outcomes == [(200, None), *[(400, "invalid_dpop_proof")] * 11], outcomes
        proofs.append(proof)
    for process in processes:
        process.kill()
        process.wait()
    world.serve()
    for proof in proofs:
        answer = dpop.ask(issuer, [proof])
        assert answer.status == 400 and "used before" in answer.json()["error_description"], "also after a restart"


def a_family_lives_through_fire(world, url):
    """A refresh token shown 50 times at once to two servers on one store, servers killed while they answer, and a replay at the end:
    one successor for all, a client that retries goes on, and the replay ends the family on both servers."""
    from e2e.test_jwt_bearer import GRANT, rule, sign
    from e2e.test_refresh import REFRESHED, REFRESHES, next_token, refresh
    from e2e.test_token import basic, send

    # Long enough for the slowest engine on a busy machine to answer fifty, and to start again.
    grace, rounds = 60, 4
    more = f'\n[refresh]\ngrace = "{grace}s"\nidle = "1h"\n\n[rotation]\nskew = "0s"\n'
    entry = client("app", more=REFRESHED) + rule(more=REFRESHES)
    port = world.configure(quick(url) + more + entry)
    other = f"127.0.0.1:{free_port()}"

    class Server:
        def __init__(self, issuer):
            self.issuer = issuer

    processes = [world.serve(), world.serve("--listen", other)]
    issuer = processes[0].printed["issuer"]
    servers = [Server(issuer), Server(f"http://{other}")]

    def shown(token, number):
        """What became of one request; a server that was killed answers nobody."""
        try:
            answer = refresh(servers[number % 2], token)
        except (OSError, ConnectionError, EOFError, ValueError, http.client.HTTPException):
            return None
        return answer if answer.status != 503 else None

    def insisted(token, number):
        """The same for a client that tries again, as it does while an engine on a busy machine is too slow."""
        return until(lambda: shown(token, number), "an answer", within=grace / 2)

    token = next_token(send(servers[0], {"grant_type": GRANT, "assertion": sign(servers[0])}, basic("app")))
    chain, answered = [token], 0
    for turn in range(rounds):
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = [answer for answer in pool.map(lambda n: shown(chain[-1], n), range(50)) if answer]
        answers += [insisted(chain[-1], number) for number in range(50 - len(answers))]
        successors = {next_token(answer) for answer in answers}
        assert len(successors) == 1 and len(answers) == 50, (turn, len(answers), successors)
        answered += len(answers)
        chain.append(successors.pop())
    for turn in range(rounds):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(shown, chain[-1], 0) for _ in range(8)]
            time.sleep(0.004 * turn)
            processes[0].kill()
            processes[0].wait()
            answers = [answer for answer in (one.result() for one in asked) if answer]
        # The client tries again, at the server that is left and at the one that comes back.
        answers.append(insisted(chain[-1], 1))
        processes[0] = world.serve()
        answers.append(insisted(chain[-1], 0))
        successors = {next_token(answer) for answer in answers}
        assert len(successors) == 1, (turn, successors)
        answered += len(answers)
        chain.append(successors.pop())
    for process in processes:
        process.kill()
        process.wait()
    # With a window that is over: what came last goes on, what was used ends the family.
    world.configure(quick(url) + more.replace(f"{grace}s", "0s") + entry, port)
    processes = [world.serve(), world.serve("--listen", other)]
    time.sleep(1.1)
    live = next_token(insisted(chain[-1], 1))
    time.sleep(2.1)
    answer = refresh(servers[0], chain[3])
    assert answer.status == 400 and f"token 4 came, {len(chain) + 1} was made" in answer.json()["error_description"], answer
    for number in range(2):
        answer = refresh(servers[number], live)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), answer
    print(f"{answered} answers, {len(chain)} turns")


def a_family_lives_with_clocks_apart_and_lost_answers(world, url):
    """Two servers on one store whose clocks are most of a minute apart. A refresh token shown 50 times at once to both; an answer that is
    on its way when its server is killed, so that the family has turned and nobody was told; and a replay at the end, when by both
    clocks the window is over: one successor for all, a client that retries goes on, and the replay ends the family."""
    from e2e.test_jwt_bearer import GRANT, rule, sign
    from e2e.test_refresh import REFRESHED, REFRESHES, next_token, refresh
    from e2e.test_token import basic, send

    more = '\n[refresh]\ngrace = "5m"\nidle = "1h"\n\n[rotation]\nskew = "1m"\n'
    world.configure(quick(url) + more + client("app", more=REFRESHED) + rule(more=REFRESHES))
    # The first key is of a right clock.
    world.done("sign", "--claims", "{}")
    other, apart, over = f"127.0.0.1:{free_port()}", (25, -25), 900
    processes, servers = [None, None], [None, None]

    class Server:
        def __init__(self, issuer):
            self.issuer = issuer

    def start(number, later=0):
        file = world.folder / f"clock-{number}"
        file.write_text(f"{apart[number] + later:+d}\n")
        processes[number] = world.serve(*(["--listen", other] if number else []), env=clocks.following(file))
        servers[number] = Server(f"http://{processes[number].printed['listen']}")

    def end(number):
        processes[number].kill()
        processes[number].wait()

    def shown(token, number):
        try:
            answer = refresh(servers[number % 2], token)
        except (OSError, EOFError, ValueError, http.client.HTTPException):
            return None
        return answer if answer.status != 503 else None

    def insisted(token, number):
        return until(lambda: shown(token, number), "an answer")

    def lost(token, number):
        """Sends a request, and kills the server as soon as its answer is there, which nobody reads."""
        headers = {"Content-Type": wire.FORM} | basic("app")
        body = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
        with wire.Connection(servers[number].issuer) as connection:
            connection.send(wire.message("POST", "/token", headers, body))
            assert connection.socket.recv(1, socket.MSG_PEEK), "there is an answer"
            end(number)

    for number in range(2):
        start(number)
    issuer = processes[0].printed["issuer"]
    chain = [next_token(send(servers[0], {"grant_type": GRANT, "assertion": sign(Server(issuer))}, basic("app")))]
    answered = 0
    for turn in range(4):
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = [answer for answer in pool.map(lambda n: shown(chain[-1], n), range(50)) if answer]
        answers += [insisted(chain[-1], number) for number in range(50 - len(answers))]
        successors = {next_token(answer) for answer in answers}
        assert len(successors) == 1, (turn, successors)
        answered += len(answers)
        chain.append(successors.pop())
    for turn in range(6):
        number = turn % 2
        lost(chain[-1], number)
        # The client asks the server that is left, and the one that comes back, by its own clock.
        first = next_token(insisted(chain[-1], number + 1))
        start(number)
        assert next_token(insisted(chain[-1], number)) == first, turn
        answered += 2
        chain.append(first)
    # Each of them still leads to the one after it, on both servers: there is one branch.
    for old, new in zip(chain, chain[1:]):
        assert [next_token(insisted(old, number)) for number in range(2)] == [new, new]
        answered += 2
    for number in range(2):
        end(number)
        start(number, over)
    live = next_token(insisted(chain[-1], 1))
    answer = insisted(chain[2], 1)
    assert answer.status == 400 and f"token 3 came, {len(chain) + 1} was made" in answer.json()["error_description"], answer
    for number in range(2):
        for token in (live, chain[-1], chain[2]):
            answer = insisted(token, number)
            assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), answer
    print(f"{answered} answers, {len(chain)} turns, 6 servers killed with an answer on its way")


@contextlib.contextmanager
def killing_over_http(relay, process):
    """While this goes on, S3's or DynamoDB's next write of a family kills a server once it is done."""
    def done(method, path, body, status):
        # DynamoDB's writes have conditions, and reads have none.
        is_write = method == "PUT" or b"ConditionExpression" in body
        if status == 200 and is_write and b"refresh" in path.encode() + body:
            process.kill()
            process.wait()
            return "away"
        return None

    relay.done = done
    try:
        yield
    finally:
        relay.done = lambda *_: None


def a_server_killed_between_its_write_and_its_answer_has_turned_once(world, url, killing, families):
    """The engine has written the next token of a family, and the server is killed before it hears of it. The client
    tries again and gets that token, by reading alone.

    While `killing(process)` goes on, the engine's next write of a family kills that server once it is done.
    `families()` is what is stored of families, by key, with a version or whatever else differs after each write.
    """
    from e2e.test_jwt_bearer import GRANT, rule, sign
    from e2e.test_refresh import REFRESHED, REFRESHES, next_token, refresh
    from e2e.test_token import basic, send

    more = '\n[refresh]\ngrace = "5m"\nidle = "1h"\n'
    world.configure(quick(url) + more + client("app", more=REFRESHED) + rule(more=REFRESHES))
    process = world.serve()

    class Server:
        issuer = process.printed["issuer"]

    chain = [next_token(send(Server, {"grant_type": GRANT, "assertion": sign(Server)}, basic("app")))]
    for turn in range(4):
        before = families()
        with killing(process):
            try:
                answer = refresh(Server, chain[-1])
            except (OSError, EOFError, ValueError, http.client.HTTPException):
                answer = None
            assert answer is None and process.wait(timeout=60) == -signal.SIGKILL, (turn, answer)
        written = families()
        assert before.keys() == written.keys() and len(written) == 1, (turn, "there is one family")
        assert before != written, (turn, "the write was done")
        process = world.serve()
        successors = {next_token(refresh(Server, chain[-1])) for _ in range(3)}
        assert len(successors) == 1 and families() == written, (turn, successors, "by reading alone")
        chain.append(successors.pop())
    assert len(set(chain)) == len(chain)
    # Each of them still leads to the one after it: there is one branch.
    for old, new in zip(chain, chain[1:]):
        assert next_token(refresh(Server, old)) == new
