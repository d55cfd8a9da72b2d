"""`private_key_jwt` at `POST /token`: whose assertions are taken, and once. The replay on Postgres is in `test_postgres.py`.

Every refusal is the same answer as to a wrong secret; the reason is in the audit alone.
"""

import base64
import http.server
import json
import threading
import time

import pytest
from e2e import assertions, stores, wire
from e2e.assertions import Key, ask, entry
from e2e.program import SECRET, client, private, secret_hash
from e2e.test_token import GRANT, configuration, send

WORKER, PEER = Key("worker"), Key("peer")
RSA, ED = Key("rsa", "RS256"), Key("ed", "EdDSA")
BY_PEM = Key("by-pem", "ES256")


@pytest.fixture(scope="module")
def server(lasting_authority):
    both = entry(Key("both")).replace("secret_hashes = []", f'secret_hashes = ["{secret_hash()}"]')
    pem = entry(BY_PEM, f'pem = {json.dumps(BY_PEM.pem)}, algorithms = ["ES256"]')
    clients = [entry(key) for key in (WORKER, PEER, RSA, ED)]
    return lasting_authority(configuration(*clients, pem, both, client("secret", more=assertions.MORE)))


def minted(answer, who):
    assert answer.status == 200, answer
    claims = json.loads(wire.claims(answer.json()["access_token"]))
    assert claims["sub"] == claims["client_id"] == who
    return claims


def refused(answer, status=401, error="invalid_client"):
    wire.check_refusal(answer, status, error=error, secret=SECRET)


@pytest.mark.parametrize("key", [WORKER, PEER, RSA, ED, BY_PEM], ids=lambda key: f"{key.client} {key.algorithm}")
def test_a_client_proves_who_it_is_with_its_own_key(server, key):
    issuer, endpoint = server.issuer, server.issuer + "/token"
    for audience in (issuer, endpoint, [issuer], [issuer, endpoint]):
        minted(ask(issuer, key.sign(audience)), key.client)
    minted(ask(issuer, key.sign(issuer), client_id=key.client), key.client)


def now(seconds):
    return int(time.time()) + seconds


#: What is wrong with an assertion (RFC 7523 section 3, RFC 7521 section 5.2), and how it is made so.
WRONG = {
    "no iss": lambda at: WORKER.sign(at, without=["iss"]),
    "another iss": lambda at: WORKER.sign(at, iss="peer"),
    "an unknown iss": lambda at: WORKER.sign(at, iss="nobody", sub="nobody"),
    "no sub": lambda at: WORKER.sign(at, without=["sub"]),
    "another sub": lambda at: WORKER.sign(at, sub="peer"),
    "the key of another client": lambda at: PEER.sign(at, iss="worker", sub="worker"),
    "a client without keys": lambda at: WORKER.sign(at, iss="secret", sub="secret"),
    "no aud": lambda at: WORKER.sign(at, without=["aud"]),
    "another aud": lambda at: WORKER.sign("https://other.example"),
    "an aud too many": lambda at: WORKER.sign([at, "https://other.example"]),
    "an aud that begins like the issuer": lambda at: WORKER.sign(at + "/"),
    "no exp": lambda at: WORKER.sign(at, without=["exp"]),
    "expired": lambda at: WORKER.sign(at, exp=now(-30)),
    "for too long": lambda at: WORKER.sign(at, exp=now(3700)),
    "forever": lambda at: WORKER.sign(at, exp=9999999999),
    "not valid yet": lambda at: WORKER.sign(at, nbf=now(60)),
    "issued in the future": lambda at: WORKER.sign(at, iat=now(60)),
    "no jti": lambda at: WORKER.sign(at, without=["jti"]),
    "an empty jti": lambda at: WORKER.sign(at, jti=""),
    "a number as jti": lambda at: WORKER.sign(at, jti=1),
    "an access token's typ": lambda at: WORKER.sign(at, header={"typ": "at+jwt"}),
    "a DPoP proof's typ": lambda at: WORKER.sign(at, header={"typ": "dpop+jwt"}),
    "another kid": lambda at: WORKER.sign(at, header={"kid": "k2"}),
    "another signature": lambda at: WORKER.sign(at).rsplit(".", 1)[0] + "." + PEER.sign(at).rsplit(".", 1)[1],
    "no signature": lambda at: WORKER.sign(at).rsplit(".", 1)[0] + ".",
    "not a JWT": lambda at: wire.MARK,
    "alg none": lambda at: unsigned(WORKER.sign(at)),
}


def unsigned(assertion):
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{header}.{assertion.split('.')[1]}."


@pytest.mark.parametrize("name", WRONG)
def test_an_assertion_that_proves_nothing_is_a_wrong_secret(server, name):
    answer = ask(server.issuer, WRONG[name](server.issuer))
    refused(answer)
    wrong_secret = send(server, GRANT | {"client_id": "secret", "client_secret": "x"})
    assert answer.json() == wrong_secret.json(), "callers learn nothing"


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": "client-authentication+jwt"}])
def test_the_typ_of_such_an_assertion_is_taken(server, header):
    minted(ask(server.issuer, WORKER.sign(server.issuer, header=header)), "worker")


def test_beside_another_client_id_it_proves_nothing(server):
    assertion = WORKER.sign(server.issuer)
    refused(ask(server.issuer, assertion, client_id="peer"))
    minted(ask(server.issuer, assertion, client_id="worker"), "worker")


def test_an_assertion_is_taken_once_and_its_name_is_the_clients_own(server):
    issuer = server.issuer
    assertion = WORKER.sign(issuer, jti="x/../é\0")
    minted(ask(issuer, assertion), "worker")
    for _ in range(3):
        refused(ask(issuer, assertion))
    refused(ask(issuer, WORKER.sign(issuer, jti="x/../é\0", exp=now(120))))
    minted(ask(issuer, PEER.sign(issuer, jti="x/../é\0")), "peer")


def test_one_that_was_refused_for_another_reason_is_not_spent_by_it(server):
    assertion = WORKER.sign(server.issuer)
    refused(ask(server.issuer, assertion, grant_type=None), 400, "invalid_request")
    refused(ask(server.issuer, assertion, client_assertion_type=None), 400, "invalid_request")
    minted(ask(server.issuer, assertion), "worker")


def test_a_client_with_both_may_use_either_but_not_both_at_once(server):
    basic = {"Authorization": wire.basic("both", SECRET)}
    assert send(server, GRANT, basic).status == 200
    refused(ask(server.issuer, Key("both").sign(server.issuer)))
    refused(ask(server.issuer, WORKER.sign(server.issuer), basic), 400, "invalid_request")
    refused(ask(server.issuer, WORKER.sign(server.issuer), client_id="worker", client_secret=SECRET), 400, "invalid_request")


def test_discovery_tells_the_methods_and_algorithms(server):
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert found["token_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post", "private_key_jwt"]
    assert found["token_endpoint_auth_signing_alg_values_supported"] == ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]


def test_where_every_client_signs_no_secret_is_offered(authority):
    found = wire.get(authority(configuration(entry(WORKER))).issuer, "/.well-known/openid-configuration").json()
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


def test_the_reason_is_in_the_audit(authority):
    server = authority(configuration(entry(WORKER)))
    assertion = WORKER.sign(server.issuer)
    for _ in range(2):
        ask(server.issuer, assertion)
    ask(server.issuer, WORKER.sign(server.issuer, exp=now(-30)))
    ask(server.issuer, WORKER.sign(server.issuer, exp=now(4000)))
    events = [(event["decision"], event.get("code"), event.get("reason")) for event in server.audit]
    assert events == [
        ("minted", None, None),
        ("refused", "assertion_replayed", "the client's assertion: it was used before (`jti`)"),
        ("refused", "invalid_client", "the client's assertion is not accepted: the token has expired"),
        ("refused", "invalid_client", "the client's assertion is valid for more than an hour from now (`exp`)"),
    ]


@pytest.fixture
def keys():
    """A server for one JWK Set, which a test changes: `keys.body`, or None for an error."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.server.body
            self.send_response(200 if body else 503)
            self.send_header("Content-Length", str(len(body or "")))
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_):
            pass

    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=one.serve_forever)
    thread.start()
    try:
        yield one
    finally:
        one.shutdown()
        one.server_close()
        thread.join()


def test_keys_at_a_url_are_fetched_and_may_change(authority, keys):
    old, new = Key("remote", kid="old"), Key("remote", kid="new")
    url = f"http://127.0.0.1:{keys.server_address[1]}/jwks.json"
    keys.body = None
    server = authority(configuration(entry(old, f'keys_url = "{url}"'), entry(WORKER)))
    # The client may be who it says; nobody can tell now, and others are not concerned.
    # A caller that sends that has proved nothing: where the client's keys are is for the log.
    answer = ask(server.issuer, old.sign(server.issuer))
    refused(answer, 503, "temporarily_unavailable")
    assert answer.json()["error_description"] == "this cannot be judged now; the log has the reason under the request id"
    [event] = [event for event in server.audit if event["request_id"] == answer.headers["x-request-id"]]
    assert url in event["reason"] and "status 503" in event["reason"], event
    minted(ask(server.issuer, WORKER.sign(server.issuer)), "worker")
    keys.body = old.jwks
    server.stop()
    server.start()
    minted(ask(server.issuer, old.sign(server.issuer)), "remote")
    keys.body = new.jwks
    minted(ask(server.issuer, new.sign(server.issuer)), "remote")
    refused(ask(server.issuer, old.sign(server.issuer)))


def test_the_entry_of_a_new_client_works_as_it_is_printed(world):
    made = json.loads(world.done("client", "new", "batch", "--grant", "client_credentials", "--auth", "private_key_jwt", "--json"))
    assert set(made) == {"client_id", "toml"}
    key = Key("batch")
    world.configure(stores.CONFIG + "\n" + made["toml"])
    private(world.file.parent / "batch.jwks.json", key.jwks)
    issuer = world.serve().printed["issuer"]
    minted(ask(issuer, key.sign(issuer)), "batch")
    text = world.done("client", "new", "other", "--grant", "client_credentials", "--auth", "private_key_jwt",
                      "--jwks", "https://batch.example/jwks.json")
    assert 'assertions = { keys_url = "https://batch.example/jwks.json" }' in text and "secret:" not in text


def test_an_assertion_is_taken_once_by_whichever_server_on_one_file(world):
    stores.an_assertion_is_taken_once_by_whichever_server(world, "sqlite:countersign.db")
