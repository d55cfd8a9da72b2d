"""A log that is not read, slow, gone or full: keys, health and the end of the server do not depend on it.

What `/sign` does then is configured. With `log.audit = "wait"` no token leaves without its record; with "drop" tokens are
minted and what is lost is counted. Refusals that anybody can cause are a few records each and a sum.
"""

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, until

BODY = b'{"data":{"sub":"a"}}'
GOOD = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
BAD = GOOD | {"Authorization": wire.basic("tests", "wrong")}


def configured(world, audit):
    more = f'[limits]\nper_address = "off"\nper_client = "off"\n\n[log]\naudit = "{audit}"\nqueue_bytes = 65536\n\n'
    world.configure(CONFIG.replace("[rings", more + "[rings", 1) + client("tests"))


class Server:
    """A server whose log goes where the test says."""

    def __init__(self, world, audit, stderr):
        configured(world, audit)
        self.process = subprocess.Popen(
            [world.binary, "serve", "--json"], cwd=world.folder, env=world.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
        )
        world.started.append(self.process)
        self.issuer = world.announcement(self.process)["issuer"]

    def sign(self):
        return wire.ask(self.issuer, "POST", "/sign", GOOD, BODY)

    def is_well(self):
        """Health, readiness and keys, while the log is whatever it is."""
        for path in ("/healthz", "/readyz", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/metrics"):
            assert wire.get(self.issuer, path).status == 200, path

    def figures(self):
        text = wire.get(self.issuer, "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("countersign_log") and "#" not in line]
        return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def lost(self, kind):
        return self.figures()[f'countersign_log_lost_total{{kind="{kind}"}}']

    def stop(self):
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0
        return time.monotonic() - started


class Pipe:
    """A log that is read when, and as fast as, the test says."""

    def __init__(self):
        self.read, self.write = os.pipe()
        self.text = b""

    def close_write(self):
        os.close(self.write)

    def drain(self, seconds=0.0):
        """Reads what is there."""
        while select.select([self.read], [], [], seconds)[0] and (data := os.read(self.read, 65536)):
            self.text += data
        return self

    def records(self):
        return [json.loads(line) for line in self.text.decode().split("\n") if line]

    def minted(self):
        return {record["token_sha256"] for record in self.records() if record.get("decision") == "minted"}


@pytest.fixture
def pipe():
    one = Pipe()
    yield one
    os.close(one.read)


def digest(answer):
    return hashlib.sha256(answer.json()["access_token"].encode()).hexdigest()


def mint_until_refused(server, most=3000):
    tokens = []
    for _ in range(most):
        answer = server.sign()
        if answer.status != 200:
            return tokens, answer
        tokens.append(digest(answer))
    raise AssertionError(f"{most} tokens were minted and the log was never full")


def test_a_log_that_nobody_reads_stops_minting_and_nothing_else(world, pipe):
    server = Server(world, "wait", pipe.write)
    pipe.close_write()
    tokens, refused = mint_until_refused(server)
    assert len(tokens) > 50
    wire.check_refusal(refused, 503, "the log cannot be written", error="temporarily_unavailable", secret=SECRET)
    assert refused.headers["retry-after"] == "1"
    many = [threading.Thread(target=server.sign) for _ in range(20)]
    [thread.start() for thread in many]
    server.is_well()
    [thread.join() for thread in many]
    assert server.lost("audit") == 0 and server.figures()["countersign_log_unwritten_bytes"] > 60_000
    # Once it is read again everything goes on, and each token that left has its record.
    pipe.drain(0.5)
    more = server.sign()
    assert more.status == 200
    pipe.drain(0.5)
    assert pipe.minted() == {*tokens, digest(more)}
    server.stop()


def test_a_server_whose_log_nobody_reads_ends_when_it_is_told(world, pipe):
    server = Server(world, "wait", pipe.write)
    pipe.close_write()
    mint_until_refused(server)
    assert server.stop() < 20


def test_with_drop_tokens_are_minted_and_what_is_lost_is_counted_and_told(world, pipe):
    server = Server(world, "drop", pipe.write)
    pipe.close_write()
    tokens = set()

    def mints_until_records_are_lost():
        tokens.add(digest(server.sign()))
        return server.lost("audit") >= 20

    until(mints_until_records_are_lost, "records are lost", within=120)
    server.is_well()
    pipe.drain(0.5)
    told = until(
        lambda: [r for r in pipe.drain(0.1).records() if "records of the log were lost" in r.get("message", "")],
        "the loss is told",
    )
    lost = server.lost("audit")
    assert (told[0]["audit"], told[0]["level"]) == (str(lost) if isinstance(told[0]["audit"], str) else lost, "ERROR")
    assert len(tokens) == lost + len(pipe.minted()), "each token is in the log or counted"
    assert digest(server.sign()) in until(lambda: pipe.drain(0.1).minted() - tokens, "the log goes on")
    server.stop()


def test_a_slow_log_slows_minting_and_loses_nothing(world, pipe):
    server = Server(world, "wait", pipe.write)
    pipe.close_write()
    done = threading.Event()

    def read_slowly():
        while not done.is_set():
            pipe.text += os.read(pipe.read, 400) if select.select([pipe.read], [], [], 0)[0] else b""
            done.wait(0.02)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    try:
        tokens, statuses = [], set()
        end = time.monotonic() + 8
        while time.monotonic() < end:
            answer = server.sign()
            statuses.add(answer.status)
            if answer.status == 200:
                tokens.append(digest(answer))
            server.is_well()
        assert statuses <= {200, 503} and tokens
    finally:
        done.set()
        reader.join()
    until(lambda: pipe.drain(0.1) and len(pipe.minted()) == len(tokens), "all records")
    assert pipe.minted() == set(tokens) and server.lost("audit") == 0
    server.stop()


@pytest.mark.parametrize("audit, status", [("wait", 503), ("drop", 200)])
def test_a_log_whose_reader_is_gone(world, pipe, audit, status):
    server = Server(world, audit, pipe.write)
    pipe.close_write()
    gone = os.open(os.devnull, os.O_RDONLY)
    os.dup2(gone, pipe.read)
    os.close(gone)

    def is_full():
        return server.sign().status == 503 if status == 503 else server.sign() and server.lost("audit") > 0

    until(is_full, "the queue is full", within=120)
    assert server.sign().status == status
    server.is_well()
    assert server.stop() < 20


@pytest.mark.parametrize("audit, status", [("wait", 503), ("drop", 200)])
def test_a_log_on_a_full_disk(world, audit, status):
    with open("/dev/full", "ab") as full:
        server = Server(world, audit, full)

    def is_full():
        return server.sign().status == 503 if status == 503 else server.sign() and server.lost("audit") > 0

    until(is_full, "the queue is full", within=120)
    assert server.sign().status == status
    server.is_well()
    assert server.stop() < 20


def test_a_disk_that_is_full_for_a_while_costs_no_record(world):
    """A file that may not grow beyond a limit stands for the disk; raising the limit makes room."""
    log = world.folder / "log-file"
    with open(log, "ab") as file:
        server = Server(world, "wait", file)
    limit = 4096
    subprocess.run(["prlimit", f"--pid={server.process.pid}", f"--fsize={limit}:unlimited"], check=True)
    tokens, _ = mint_until_refused(server)
    assert log.stat().st_size == limit, "a line was cut"
    server.is_well()
    subprocess.run(["prlimit", f"--pid={server.process.pid}", "--fsize=unlimited:unlimited"], check=True)
    until(lambda: server.sign().status == 200, "minting goes on")
    server.stop()
    records = [json.loads(line) for line in log.read_text().split("\n") if line]
    found = {record["token_sha256"] for record in records if record.get("decision") == "minted"}
    assert set(tokens) <= found


def test_refusals_that_anybody_can_cause_are_a_few_records_and_a_sum(world):
    configured(world, "wait")
    server = world.serve()
    issuer = server.printed["issuer"]
    sent = 300
    with wire.Connection(issuer) as connection:
        for _ in range(sent):
            assert connection.send(wire.message("POST", "/sign", BAD, BODY)).receive("POST").status == 401

    def accounted():
        records = [r for r in world.events() if r.get("decision") == "refused"]
        single = [r for r in records if r.get("code") == "invalid_client"]
        sums = [r for r in records if "refusals" in r]
        return (single, sums) if len(single) + sum(int(r["refusals"]) for r in sums) == sent else None

    single, sums = until(accounted, "each refusal is logged or counted")
    assert sums and all(r["target"] == "countersign::audit" and r["level"] == "WARN" for r in sums)
    assert all(r["request_id"] and r["address"] == "127.0.0.1" for r in single)
    assert all(r["codes"] == f"invalid_client {r['refusals']}" for r in sums), sums
    assert all(r["addresses"] == f"127.0.0.1 {r['refusals']}" for r in sums), sums
    assert len(single) <= 10 * (len(sums) + 1), "ten a second"
    text = wire.get(issuer, "/metrics").body.decode()
    assert f'countersign_tokens_refused_total{{reason="invalid_client"}} {sent}\n' in text
    # A client that has proved who it is has one record for each refusal, however many there are.
    for _ in range(30):
        assert wire.ask(issuer, "POST", "/sign", GOOD, b'{"data":{"iss":"x"}}').status == 400
    known = [r for r in world.events() if r.get("client") == "tests"]
    assert len(known) == 30


@pytest.mark.parametrize("audit, code", [("wait", 70), ("drop", 0)])
def test_a_command_hands_out_no_token_whose_record_it_cannot_write(world, audit, code):
    configured(world, audit)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [world.binary, "sign", "--claims", "{}"],
            cwd=world.folder, env=world.environment, stdout=subprocess.PIPE, stderr=full, timeout=60,
        )
    assert (done.returncode, done.stdout == b"") == (code, code != 0), done


@pytest.mark.parametrize("options, is_shown", [([], False), (["--verbose"], True)])
def test_a_terminal_is_shown_the_record_of_its_own_mint_only_when_it_asks(world, options, is_shown):
    """Everything else than a terminal gets it, so that nothing minted by a script goes unrecorded."""
    world.configure(CONFIG + client("tests"))
    terminal, ours = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as seen:
        with os.fdopen(ours, "wb") as given:
            done = subprocess.run(
                [world.binary, "sign", "--claims", '{"sub":"alice"}', *options], cwd=world.folder, env=world.environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=given, timeout=60)
            given.write(b"END")
        shown = b""
        while not shown.endswith(b"END"):
            shown += seen.read(4096)
    assert done.returncode == 0 and done.stdout.count(b".") == 2, shown
    assert (b"minted" in shown) == is_shown, shown
    assert "minted" in world.run("sign", "--claims", '{"sub":"alice"}').stderr
