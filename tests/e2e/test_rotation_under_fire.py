"""Four servers on one Postgres behind nginx, one after the other killed with SIGKILL while keys rotate and tokens are signed.

For two minutes: no request fails but those that were in flight in the process that was killed, one key is active whenever
somebody looks, and every token verifies from the JWKS as the world sees it until it expires.
"""

import json
import random
import subprocess
import threading
import time
from http.client import HTTPException

import jwt
import pytest
from e2e import wire
from e2e.program import SECRET, client, free_port, until
from e2e.test_rotation import RINGS

SECONDS = 120
SERVERS = 4
NGINX = """
daemon off; worker_processes 1; pid @FOLDER@/nginx.pid; error_log @FOLDER@/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path @FOLDER@/t1; proxy_temp_path @FOLDER@/t2; fastcgi_temp_path @FOLDER@/t3; uwsgi_temp_path @FOLDER@/t4; scgi_temp_path @FOLDER@/t5;
  upstream servers { @SERVERS@ }
  server { listen 127.0.0.1:@PORT@; location / { proxy_pass http://servers; proxy_connect_timeout 1s; proxy_next_upstream error timeout; } }
}
"""
HEADERS = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
BODY = json.dumps({"data": {"sub": "a"}, "metadata": {"duration": 3}}).encode()


class Fleet:
    """The servers, each started again when it was killed."""

    def __init__(self, world):
        self.world, self.ports = world, [free_port() for _ in range(SERVERS)]
        self.processes = [self.start(index) for index in range(SERVERS)]
        #: When each was last killed, and since when it serves again.
        self.killed, self.serving = [0.0] * SERVERS, [time.monotonic()] * SERVERS
        self.kills = 0

    def start(self, index):
        process = self.world.spawn("serve", "--json", "--listen", f"127.0.0.1:{self.ports[index]}")
        self.world.announcement(process)
        return process

    def kill(self, index):
        self.killed[index] = time.monotonic()
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self.start(index)
        self.serving[index] = time.monotonic()
        self.kills += 1

    def was_down(self, index, since):
        """Whether this server was not there for all the time since then."""
        return self.serving[index] > since or self.killed[index] > since or self.killed[index] > self.serving[index]


@pytest.fixture
def fleet(full_world, postgres):
    world, front = full_world, free_port()
    database = f'url = "{postgres.database()}"\n'
    head = f'issuer = "http://127.0.0.1:{front}"\n'
    rings = RINGS.replace("[store]\n", f"[store]\n{database}")
    more = 'audiences = ["api://default"]\nmax_lifetime = "3s"\nclaims = { allow = ["*"] }'
    limits = '\n[limits]\nper_client = "off"\nper_address = "off"\n'
    world.configure(head + limits + rings + client("tests", more=more))
    one = Fleet(world)
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in one.ports)
    text = NGINX.replace("@FOLDER@", str(world.folder)).replace("@SERVERS@", servers).replace("@PORT@", str(front))
    (world.folder / "nginx.conf").write_text(text)
    nginx = subprocess.Popen(["nginx", "-p", str(world.folder), "-c", str(world.folder / "nginx.conf")])
    one.issuer = f"http://127.0.0.1:{front}"
    try:
        until(lambda: answers(one.issuer), "nginx and the servers behind it answer")
        yield one
    finally:
        nginx.terminate()
        nginx.wait(10)


def answers(issuer):
    try:
        return wire.get(issuer, "/readyz").status == 200
    except OSError:
        return False


def sign(fleet, index, tokens, failures, stop):
    """Signs at one server until it is told to stop."""
    while not stop.is_set():
        begun = time.monotonic()
        try:
            answer = wire.ask(f"http://127.0.0.1:{fleet.ports[index]}", "POST", "/sign", HEADERS, BODY)
            if answer.status == 200:
                tokens.append(json.loads(answer.body)["access_token"])
            else:
                failures.append((index, answer.status, answer.body))
        except (OSError, HTTPException) as why:
            if not fleet.was_down(index, begun):
                time.sleep(0.3)
                if not fleet.was_down(index, begun):
                    failures.append((index, repr(why)))
        time.sleep(0.02)


def test_servers_are_killed_while_keys_rotate_and_nobody_notices(fleet):
    tokens, failures, stop = [], [], threading.Event()
    signers = [threading.Thread(target=sign, args=[fleet, index, tokens, failures, stop]) for index in range(SERVERS)]
    for signer in signers:
        signer.start()
    dice, live, kids, verified, looked = random.Random(20), [], set(), 0, 0
    end, next_kill = time.monotonic() + SECONDS, time.monotonic() + 3
    try:
        while time.monotonic() < end:
            if time.monotonic() >= next_kill:
                fleet.kill(dice.randrange(SERVERS))
                next_kill = time.monotonic() + dice.uniform(0.5, 3)
            live += [tokens.pop() for _ in range(len(tokens))]
            document = json.loads(wire.get(fleet.issuer, "/.well-known/jwks.json").body)
            keys = {key["kid"]: jwt.PyJWK(key) for key in document["keys"]}
            still = []
            for token in live:
                kid = jwt.get_unverified_header(token)["kid"]
                kids.add(kid)
                claims = jwt.decode(token, options={"verify_signature": False})
                if claims["exp"] <= time.time():
                    continue
                assert kid in keys, f"the key of a live token is gone\n{fleet.world.log}"
                try:
                    jwt.decode(token, keys[kid], algorithms=["ES256"], audience="api://default", issuer=fleet.issuer)
                except jwt.ExpiredSignatureError:
                    continue
                verified += 1
                still.append(token)
            live = dice.sample(still, min(len(still), 40))
            if dice.random() < 0.1:
                states = [key["state"] for key in fleet.world.keys()]
                assert states.count("active") == 1, states
                looked += 1
            assert failures == [], failures[:3]
    finally:
        stop.set()
        for signer in signers:
            signer.join(30)
    print(f"\n{fleet.kills} kills, {len(kids)} keys, {verified} verifications, {looked} looks at the keyring")
    assert fleet.kills >= 20 and len(kids) >= 5 and verified > 1000 and looked > 10
