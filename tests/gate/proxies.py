"""Real proxies in front of a real service, with `countersign serve` as their gate, all from the folders in examples/.

Of each file there, only the three ports are replaced. The gate's configuration gets what the tests need besides: a client that
may ask for tokens, an issuer whose keys the tests have, and one whose keys nobody can have.
"""

import importlib.util
import json
import os
import re
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import jwt
from authority import AUDIENCE, CLIENT, clean_environment, until
from cryptography.hazmat.primitives.asymmetric import rsa
from e2e import wire
from ports import free_port
from servers import ingress_nginx

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: How each README starts its proxy.
COMMANDS = {
    "nginx": ["nginx", "-p", "@FOLDER@", "-c", "nginx.conf"],
    "caddy": ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
    "envoy": ["envoy", "-c", "envoy.yaml", "--disable-hot-restart"],
}
#: The same, and what is not started by a README: ingress-nginx needs a cluster, and here is a configuration for nginx.
STARTED = COMMANDS | {"ingress-nginx": COMMANDS["nginx"]}
#: Those that are nginx.
NGINXES = ("nginx", "ingress-nginx")
#: Debian has nginx where only root looks for it; envoy is beside the Python that runs the tests.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
#: The headers in which each kind of proxy says what it asks about.
ORIGINAL = {
    "nginx": ("X-Original-Method", "X-Original-URI"),
    "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "traefik": ("X-Forwarded-Method", "X-Forwarded-Uri"),
    "ingress-nginx": ("X-Original-Method", "X-Original-URL"),
}
OTHER_AUDIENCE = "api://other"
#: The issuer whose keys the tests have, and the one whose keys cannot be had: nothing listens on port 9.
TESTS_ISSUER, LOST_ISSUER = "https://tests.example", "https://lost.example"
MORE_TRUST = f"""
[[trust]]
issuer = "{TESTS_ISSUER}"
jwks = "file:tests.json"
audiences = ["{AUDIENCE}"]

[[trust]]
issuer = "{LOST_ISSUER}"
keys_url = "http://127.0.0.1:9/keys"
audiences = ["{AUDIENCE}"]
"""
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def load_upstream():
    """The service of the examples, as a module."""
    spec = importlib.util.spec_from_file_location("upstream", EXAMPLES / "upstream.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_ports(text, ports):
    """An example's text with other ports than 8000 (proxy), 8080 (gate) and 9000 (service)."""
    return re.sub(r"\b(8000|8080|9000)\b", lambda found: str(ports[found[0]]), text)


def copy_example(kind, folder, ports):
    """The folder of an example with these ports, inside `folder` beside the service."""
    to = folder / kind
    shutil.copytree(EXAMPLES / kind, to)
    shutil.copy(EXAMPLES / "upstream.py", folder)
    for file in [*to.iterdir(), folder / "upstream.py"]:
        file.write_text(with_ports(file.read_text(encoding="utf-8"), ports), encoding="utf-8")
    return to


def start_gate(kind, start, more=""):
    """An authority with an example's configuration and `more`; `start` is the factory of the fixture."""
    text = (EXAMPLES / kind / "countersign.toml").read_text(encoding="utf-8")
    assert text.count('"http://127.0.0.1:8080"') == 2
    text = text.replace("http://127.0.0.1:8080", "@ISSUER@")

    def before(authority):
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        keys = {"keys": [public | {"kid": "tests", "alg": "RS256", "use": "sig"}]}
        (authority.folder / "countersign" / "tests.json").write_text(json.dumps(keys), encoding="utf-8")

    return start(config=text + MORE_TRUST + CLIENT + more, before=before)


class Tokens:
    """Tokens by what is right or wrong with them."""

    def __init__(self, authority):
        sign = authority.sign
        self.reader = sign({"sub": "alice", "scope": "orders:read"})
        self.writer = sign({"sub": "bob", "scope": "orders:write"})
        self.without_scope = sign({"sub": "carol"})
        self.other_audience = sign({"sub": "alice"}, {"audience": OTHER_AUDIENCE})
        header, claims = wire.header(self.reader), json.loads(wire.claims(self.reader))
        self.forged = jwt.encode(claims, OTHER_KEY, algorithm="RS256", headers={"kid": header["kid"]})
        self.unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": header["kid"]})
        self.of_tests = self.mint(600)
        self.expired = self.mint(-60)
        self.keys_lost = self.mint(600, LOST_ISSUER)

    @staticmethod
    def mint(lifetime, issuer=TESTS_ISSUER):
        now = int(time.time())
        claims = {"iss": issuer, "aud": AUDIENCE, "sub": "dave", "iat": now - 120, "exp": now + lifetime, "jti": str(uuid.uuid4())}
        return jwt.encode(claims, KEY, algorithm="RS256", headers={"kid": "tests"})


def bearer(token):
    return [("Authorization", f"Bearer {token}")] if token else []


class Tap(socketserver.ThreadingTCPServer):
    """What lies between proxy and gate: hands on everything, and keeps what the proxy says in `told`."""

    daemon_threads = True

    def __init__(self, gate):
        self.gate, self.told = gate, b""
        super().__init__(("127.0.0.1", 0), Relay)


class Relay(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            gate = socket.create_connection(self.server.gate, timeout=wire.SECONDS)
        except ConnectionRefusedError:
            return
        with gate:
            while ends := select.select([self.request, gate], [], [], wire.SECONDS)[0]:
                for end in ends:
                    try:
                        data = end.recv(65536)
                        if not data:
                            return
                        (gate if end is self.request else self.request).sendall(data)
                    except (ConnectionResetError, BrokenPipeError):
                        return
                    if end is self.request:
                        self.server.told += data


class Guarded:
    """One proxy with the gate and the service behind it.

    kind: which proxy. url: where it listens. tokens: see `Tokens`. gate: the authority. seen: what the service got so far.
    told: what the gate was told so far, as bytes.
    """

    def __init__(self, kind, gate, tap, service, url):
        self.kind, self.gate, self.tap, self.service, self.url = kind, gate, tap, service, url
        self.tokens = Tokens(gate)

    @property
    def told(self):
        return self.tap.told

    @property
    def seen(self):
        return self.service.seen

    def ask(self, method, target, headers=(), body=None, **rest):
        """One request through the proxy: the answer, and what of it the service got (a list)."""
        before = len(self.seen)
        answer = wire.ask(self.url, method, target, headers, body, **rest)
        return answer, self.seen[before:]

    def ask_gate(self, method, target, headers=(), source="127.0.0.1"):
        """What the gate says when the proxy asks about this request."""
        return ask_gate(self.gate, self.kind, method, target, headers, source)


def ask_gate(gate, kind, method, target, headers=(), source="127.0.0.1"):
    """What the gate says when a proxy of this kind, at the address `source`, asks about a request."""
    if kind in ORIGINAL:
        said = f"http://service.example{target}" if kind == "ingress-nginx" else target
        own = list(zip(ORIGINAL[kind], (method, said)))
        method, target = "GET", "/gate"
    else:
        own, target = [], "/gate" + target
    return wire.ask(gate.issuer, method, target, [*own, *headers], source=source)


@contextmanager
def served(server):
    """Runs one of the servers here in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def guarded(kind, start, folder, more=""):
    """Starts service, gate and proxy, and stops the service and the proxy at the end; the gate stops with its fixture.

    `more` is added to the gate's configuration; @PROXY@ in it is where the proxy listens.
    """
    port = free_port()
    gate = start_gate(kind, start, more.replace("@PROXY@", f"http://127.0.0.1:{port}"))
    address = gate.issuer.removeprefix("http://").split(":")
    with served(load_upstream().Upstream(0)) as service, served(Tap((address[0], int(address[1])))) as tap:
        ports = {"8080": tap.server_address[1], "9000": service.server_address[1], "8000": port}
        copied = copy_example(kind, folder, ports)
        if kind == "ingress-nginx":
            made = ingress_nginx.for_nginx(copied / "ingress.yaml", port, f"127.0.0.1:{ports['9000']}")
            (copied / "nginx.conf").write_text(made, encoding="utf-8")
        process = start_proxy(kind, copied, ports["8000"])
        try:
            # Traefik listens before it has its routes.
            until(lambda: wire.get(f"http://127.0.0.1:{port}", "/health").status == 200, f"{kind} answers")
            yield Guarded(kind, gate, tap, service, f"http://127.0.0.1:{ports['8000']}")
        finally:
            process.terminate()
            process.wait(timeout=120)


def start_proxy(kind, folder, port):
    command = [part.replace("@FOLDER@", str(folder)) for part in (STARTED | COMMANDS)[kind]]
    program = shutil.which(command[0], path=PATH)
    assert program, f"{command[0]} is not installed; scripts/test installs it"
    # Caddy keeps files of its own in the user's folders.
    own = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, *command[1:]], cwd=folder, env=clean_environment(own), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )

    def answers():
        assert process.poll() is None, f"{kind} ended: {(folder / 'log').read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(answers, f"{kind} listens")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process
