"""Keys at a server with an authority of its own that wants to see a bearer token, as the API server of a Kubernetes cluster does.

The server is Python's, over TLS, with a certificate that openssl has signed with a CA of this test.
"""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, client
from e2e.test_jwt_bearer import ALICE, ENTRY, ask, minted, rule, sign
from e2e.test_token import configuration, refused

FIRST, SECOND = "first-token-of-the-pod", "second-token-of-the-pod"


class Cluster(ThreadingHTTPServer):
    """Hands out the keys to callers that show its token, and notes what it was asked."""

    daemon_threads = True

    def __init__(self, context):
        self.token, self.redirect, self.asked = FIRST, None, []
        super().__init__(("127.0.0.1", 0), Asked)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A handshake that the other side has ended."""


class Asked(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        known = self.headers["Authorization"] == f"Bearer {self.server.token}"
        body = ALICE.jwks.encode() if known else b"{}"
        self.send_response(302 if self.server.redirect else 200 if known else 401)
        if self.server.redirect:
            self.send_header("Location", self.server.redirect)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name in ("ca", "other-ca"):
        openssl(*new, "-subj", f"/CN={name}", "-out", folder / f"{name}.pem", "-keyout", folder / f"{name}.key")
    openssl(*new, "-subj", "/CN=localhost", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-addext", "subjectAltName=DNS:localhost",
            "-addext", "basicConstraints=critical,CA:FALSE", "-out", folder / "server.pem", "-keyout", folder / "server.key")
    return folder


@pytest.fixture
def cluster(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    with Cluster(context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def bearer(tmp_path):
    file = tmp_path / "token"
    file.write_text(FIRST + "\n")
    file.chmod(0o600)
    return file


def trusted(cluster, ca=None, token=None, more=""):
    ca = f', keys_ca = "file:{ca}"' if ca else ""
    token = f', keys_bearer = "file:{token}"' if token else ""
    return f'trust = {{ issuer = "https://login.example", keys_url = "{cluster.url}/openid/v1/jwks", algorithms = ["ES256"]{ca}{token}{more} }}\n'


def served(authority, *trust):
    return authority(configuration(client("app", more=ENTRY), rule(trusted=trusted(*trust))))


def test_its_keys_are_had_with_its_authority_and_a_token(authority, cluster, certificates, bearer):
    server = served(authority, cluster, certificates / "ca.pem", bearer)
    assert minted(ask(server, sign(server)))["sub"] == "login:alice"
    assert cluster.asked == [("/openid/v1/jwks", f"Bearer {FIRST}")]
    assert FIRST not in server.log


@pytest.mark.parametrize("ca, shown", [(None, False), ("other-ca.pem", False), ("ca.pem", True)])
def test_nobody_else_vouches_and_without_the_token_there_are_none(authority, cluster, certificates, bearer, ca, shown):
    server = served(authority, cluster, ca and certificates / ca, None if shown else bearer)
    refused(ask(server, sign(server)), 503, "temporarily_unavailable")
    assert cluster.asked == ([("/openid/v1/jwks", None)] if shown else []), "a stranger sees no token"


def test_the_token_is_read_again_each_time_and_a_file_that_is_gone_is_said(authority, cluster, certificates, bearer):
    more = ', keys_min_age = "1s", keys_max_age = "1s", keys_stale = "0s"'
    server = served(authority, cluster, certificates / "ca.pem", bearer, more)
    minted(ask(server, sign(server)))
    cluster.token = SECOND
    bearer.write_text(SECOND)
    time.sleep(1.1)
    minted(ask(server, sign(server)))
    assert cluster.asked[-1] == ("/openid/v1/jwks", f"Bearer {SECOND}")
    bearer.rename(bearer.with_name("moved"))
    time.sleep(1.1)
    refused(ask(server, sign(server)), 503, "temporarily_unavailable")
    assert "keys_bearer" in server.log and "there is no file" in server.log
    assert FIRST not in server.log and SECOND not in server.log


def test_no_redirect_takes_the_token_elsewhere(authority, cluster, certificates, bearer):
    cluster.redirect = cluster.url + "/elsewhere"
    server = served(authority, cluster, certificates / "ca.pem", bearer)
    refused(ask(server, sign(server)), 503, "temporarily_unavailable")
    assert [path for path, _ in cluster.asked] == ["/openid/v1/jwks"]


def test_a_cluster_is_a_workloads_platform_and_the_gates_issuer_with_them(authority, cluster, certificates, bearer):
    from e2e.assertions import MORE, ask as as_client
    from e2e.test_workload import ACCOUNT, CLUSTER, entry, workload
    from e2e.workloads import kubernetes
    keys = f'keys_url = "{cluster.url}/openid/v1/jwks", keys_ca = "file:{certificates}/ca.pem", keys_bearer = "file:{bearer}", algorithms = ["ES256"]'
    pod = entry("pod", workload(f'preset = "kubernetes", id = "{CLUSTER}", {keys}, claims = {{ {ACCOUNT} }}'), more=MORE)
    gate = (f'\n[[trust]]\nissuer = "{CLUSTER}"\naudiences = ["api://a"]\n' + keys.replace(", ", "\n")
            + '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1/32"]\n')
    server = authority(configuration(pod) + gate)
    assert as_client(server.issuer, kubernetes(ALICE, server.issuer), client_id="pod").status == 200
    headers = {"X-Original-URI": "/", "X-Original-Method": "GET"}
    for token, status in ((kubernetes(ALICE, "api://a"), 200), (kubernetes(ALICE, "api://b"), 401)):
        answer = wire.ask(server.issuer, "GET", "/gate", headers | {"Authorization": f"Bearer {token}"})
        assert answer.status == status, answer


@pytest.mark.parametrize("keys, says", [
    ('keys_url = "https://a.example/k", keys_ca = "file:none.pem"', "keys_ca: there is no file"),
    ('keys_url = "https://a.example/k", keys_ca = "shared-file:none.pem"', "keys_ca: there is no file"),
    ('keys_url = "https://a.example/k", keys_ca = "x"', "keys_ca: it is neither PEM (-----BEGIN CERTIFICATE-----) nor a reference to a file"),
    ('keys_url = "https://a.example/k", keys_ca = "env:CA"', "write file:PATH"),
    ('keys_url = "https://a.example/k", keys_ca = "-----BEGIN PUBLIC KEY-----"', "1 to 32 certificates"),
    ('keys_url = "https://a.example/k", keys_bearer = "file:none"', "keys_bearer: there is no file"),
    ('keys_url = "https://a.example/k", keys_bearer = "env:TOKEN"', "read again each time"),
    ('keys_url = "https://a.example/k", keys_bearer = "the-token-itself"', "read again each time"),
    ('keys_url = "https://a.example/k", keys_bearer = "file:countersign.toml"', "can be read by other users"),
    ('keys_url = "http://127.0.0.1:1/k", keys_ca = "@CA@"', "https address"),
    ('keys_ca = "@CA@"', "keys_ca: has no effect without keys_url"),
    ('discovery_url = "https://a.example/d", keys_bearer = "file:none"', "keys_bearer: has no effect without keys_url"),
])
def test_what_cannot_be_used_does_not_start(world, certificates, keys, says):
    keys = keys.replace("@CA@", f"file:{certificates}/ca.pem")
    trust = f'trust = {{ issuer = "https://login.example", {keys}, algorithms = ["ES256"] }}\n'
    world.configure(CONFIG + client("app", more=ENTRY) + rule(trusted=trust))
    (world.folder / "countersign/countersign.toml").chmod(0o644)
    assert "the-token-itself" not in world.fails(78, says, "config", "check")
