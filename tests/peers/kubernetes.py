"""Kubernetes' own authenticator of JWTs before tokens of every algorithm, bad ones, and new and revoked keys.

    export COUNTERSIGN_BIN=target/debug/countersign PYTHONPATH=tests:tests/interop
    .tools/venv/bin/python tests/peers/kubernetes.py

Builds it once through the Go proxy into .tools (180 s of processor time; Apache-2.0) and prints a table. It
reads issuers over https alone, so a server that ends TLS stands in front of ours, with a certificate of a CA
made here.
"""

import datetime
import http.client
import ipaddress
import json
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import toolchains
from authority import AUDIENCE, authorities, until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from libraries import ASYMMETRIC
from peers.told import Folders, Table, binary, folder, takes, tried_here
from rings import Rings, new_key

#: Those that an administrator may switch on. RS256 alone is its default.
KNOWN = takes("Kubernetes")


def certificate(name, key, by=None, by_key=None, more=()):
    """Signed by a certificate's key, or by its own."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(by.subject if by else subject)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - day).not_valid_after(now + day)
    for extension in [x509.BasicConstraints(ca=by is None, path_length=None), *more]:
        made = made.add_extension(extension, critical=False)
    return made.sign(by_key or key, hashes.SHA256())


def pem(thing):
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return thing.private_bytes(*form)


class Forwards(BaseHTTPRequestHandler):
    def do_GET(self):
        inside = http.client.HTTPConnection(self.server.inside, timeout=60)
        inside.request("GET", self.path)
        answer = inside.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name in ("Content-Type", "Cache-Control", "ETag"):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        inside.close()

    def log_message(self, *_):
        pass


@contextmanager
def https(root):
    """A server that ends TLS for the address in its `inside`; gives it and the certificate of its authority."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    by = certificate("tests", authority_key)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    file = root / "tls.pem"
    file.write_bytes(pem(certificate("127.0.0.1", key, by, authority_key, [names])) + pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with ThreadingHTTPServer(("127.0.0.1", 0), Forwards) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server, pem(by).decode()
        finally:
            server.shutdown()
            thread.join()


class Kubernetes:
    """The authenticator, with the keys that it has read."""

    def __init__(self, program, issuer, ca):
        self.asked = {"issuer": issuer, "audience": AUDIENCE, "authority": ca}
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def verdict(self, token, algorithms=()):
        """Whom it takes the token for, or that it refuses it."""
        asked = self.asked | {"algorithms": list(algorithms), "token": token}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def seen(self, token, algorithms=()):
        said = self.verdict(token, algorithms)
        return "refused" if "error" in said else f"{said['user']} of {', '.join(said.get('groups', ['no group']))}"

    def end(self):
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


def tried(table, ours, kubernetes):
    claims = {"sub": "alice", "groups": ["staff"]}
    for algorithm in ASYMMETRIC:
        token = ours.sign(algorithm, claims)
        default = "alice of staff" if algorithm == "RS256" else "refused"
        table.row(f"{algorithm}, as it comes", default, kubernetes.seen(token))
        known = "alice of staff" if algorithm in KNOWN else "refused"
        table.row(f"{algorithm}, with all that it knows switched on", known, kubernetes.seen(token, KNOWN))
    said = kubernetes.verdict(ours.sign("EdDSA", claims), ["EdDSA"])
    table.row("EdDSA switched on", 'oidc: unsupported signing alg: "EdDSA"', said.get("error"))
    for algorithm in ("RS256", "ES256"):
        for what, token in ours.bad_tokens(algorithm).items():
            table.row(f"{algorithm}: {what}", "refused", kubernetes.seen(token, KNOWN))
    one_group = ours.sign("RS256", claims | {"groups": "staff"})
    table.row("a group that is not a list", "alice of staff", kubernetes.seen(one_group))

    # Its keys were read a moment ago, and `max-age` of the answer is longer than this takes.
    old = ours.sign("RS256", claims)
    key = json.dumps(new_key("RS256", "second").as_dict(private=True))
    ours.authority.run("keys", "import", "-", "--ring", "rs256", "--activate", input=key)
    until(lambda: "second" in published(ours), "the second key is published")
    new = ours.sign("RS256", claims)
    table.row("a new key, within `jwks.max_age` of the last look", "refused", kubernetes.seen(new))
    ours.authority.run("keys", "revoke", ours.keys["RS256"].kid)
    until(lambda: ours.keys["RS256"].kid not in published(ours), "the first key is gone")
    table.row("a revoked key, within `jwks.max_age` of the last look", "alice of staff", kubernetes.seen(old))


def published(ours):
    return [key["kid"] for key in httpx.get(f"{ours.authority.address}/.well-known/jwks.json").json()["keys"]]


def main():
    program = toolchains.go(Path(__file__).with_name("kubernetes"))
    table = Table("Kubernetes' authenticator (k8s.io/apiserver v0.37.2)")
    with folder() as root, https(root) as (server, ca), authorities(binary(), Folders(root)) as start:
        keys = {algorithm: new_key(algorithm, f"key-{algorithm}") for algorithm in ASYMMETRIC}
        ours = Rings(start, keys, issuer=f"https://127.0.0.1:{server.server_port}")
        server.inside = ours.authority.address.removeprefix("http://")
        kubernetes = Kubernetes(program, ours.issuer, ca)
        try:
            tried(table, ours, kubernetes)
        finally:
            kubernetes.end()
    table.end()


if __name__ == "__main__":
    tried_here(main)
