"""DPoP behind nginx, Caddy and Envoy (RFC 9449 section 7), with clients nobody here wrote, and the metadata of RFC 9728.

One authority mints at `/token` and is the gate; the clients get a token there and call the service through the proxy, where each
call needs a proof for the public URL, and where nonces are demanded one of the gate's.
"""

import json
import signal

import pytest
from authority import until
from e2e import dpop, wire
from e2e.dpop import Holder
from e2e.program import SECRET, client
from e2e.test_token_clients import node
from gate import proxies
from gate.proxies import bearer

WORKER = client("worker", more=(
    'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\nscopes = ["read", "orders:write"]\n'))
RESOURCE = '\n[gate.resource]\nurl = "https://api.example/v1"\n'


@pytest.fixture(scope="module", params=[(kind, nonce) for kind in proxies.COMMANDS for nonce in (False, True)], ids=str)
def guarded(request, lasting_authority, tmp_path_factory):
    kind, nonce = request.param
    more = WORKER + f"\n[gate.dpop]\npublic_urls = [\"@PROXY@\"]\nrequire_nonce = {str(nonce).lower()}\n" + RESOURCE
    with proxies.guarded(kind, lasting_authority, tmp_path_factory.mktemp(kind), more) as one:
        one.nonce = nonce
        yield one


def bound(guarded, holder):
    answer = dpop.ask(guarded.gate.issuer, [holder.proof(f"{guarded.gate.issuer}/token")], form=dpop.GRANT | {"scope": "read"})
    assert answer.status == 200, answer
    return answer.json()["access_token"]


def shown(token, *proofs, scheme="DPoP"):
    return [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]


def insisted(guarded, make, target="/orders/7", method="GET"):
    """A request with a proof that `make(nonce)` gives, and where the gate wants a nonce of its own with another one."""
    answer, seen = guarded.ask(method, target, make(None))
    if guarded.nonce:
        assert (answer.status, seen) == (401, []) and 'error="use_dpop_nonce"' in answer.headers["WWW-Authenticate"], answer
        answer, seen = guarded.ask(method, target, make(answer.headers["DPoP-Nonce"]))
    return answer, seen


@pytest.mark.parametrize("program", ["dpop_openid_client.mjs", "dpop_oauth4webapi.mjs"])
def test_clients_in_node_get_in_with_a_proof_for_each_call(guarded, program):
    calls = [["GET", f"{guarded.url}/orders/7?a=b"], ["GET", f"{guarded.url}/orders/caf%C3%A9"], ["GET", f"{guarded.url}/orders/7"]]
    answer = node(program, guarded.gate, client="worker", secret=SECRET, algorithm="ES256", calls=calls)
    assert [one["status"] for one in answer["answers"]] == [200] * 3, answer
    assert [token["token_type"] for token in answer["tokens"]] == ["dpop"] * 2


def test_a_stolen_token_opens_nothing_without_the_key(guarded):
    holder, thief = Holder(), Holder()
    token = bound(guarded, holder)
    url = f"{guarded.url}/orders/7"

    def make(nonce, by=holder, method="GET", at=url, of=token):
        return shown(token, by.proof(at, method, of, **({"nonce": nonce} if nonce else {})))

    answer, seen = insisted(guarded, make)
    assert answer.status == 200 and dict(seen[0].headers).get("X-Auth-Subject", "worker") == "worker", answer
    nonce = answer.headers["DPoP-Nonce"] or guarded.ask("GET", "/orders/7", shown(token, "x"))[0].headers["DPoP-Nonce"]
    used = make(nonce)
    answer, seen = guarded.ask("GET", "/orders/7", used)
    assert answer.status == 200 and len(seen) == 1, answer
    for name, headers, error in [
        ("the proof once more", used, "invalid_dpop_proof"),
        ("no proof", shown(token), "invalid_dpop_proof"),
        ("as a bearer token", shown(token, scheme="Bearer"), "invalid_token"),
        ("as a bearer token with a proof", shown(token, holder.proof(url, "GET", token, nonce=nonce), scheme="Bearer"), "invalid_token"),
        ("the thief's key", make(nonce, by=thief), "invalid_dpop_proof"),
        ("for another method", make(nonce, method="POST"), "invalid_dpop_proof"),
        ("for another path", make(nonce, at=f"{guarded.url}/orders/8"), "invalid_dpop_proof"),
        ("for another host", make(nonce, at="http://other.example/orders/7"), "invalid_dpop_proof"),
        ("for the gate", make(nonce, at=f"{guarded.gate.issuer}/orders/7"), "invalid_dpop_proof"),
        ("for another token", make(nonce, of=token + "x"), "invalid_dpop_proof"),
        ("two proofs", [*make(nonce), make(nonce)[1]], "invalid_dpop_proof"),
    ]:
        answer, seen = guarded.ask("GET", "/orders/7", headers)
        challenge = answer.headers["WWW-Authenticate"]
        assert (answer.status, seen) == (401, []), (name, answer)
        assert challenge.startswith(f'DPoP error="{error}"') and "algs=" in challenge, (name, challenge)
        assert bool(answer.headers["DPoP-Nonce"]) == (error == "invalid_dpop_proof"), (name, answer)
    # What the client says of its URL does not count.
    for scheme in ("http", "https"):
        other = [*make(nonce, at=f"{scheme}://evil.example/orders/7"), ("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", "evil.example")]
        answer, seen = guarded.ask("GET", "/orders/7", other, host="evil.example")
        assert (answer.status, seen) == (401, []), answer


def test_a_proof_that_was_taken_is_not_taken_again_after_a_reload(guarded):
    holder, url = Holder(), f"{guarded.url}/orders/7"
    token = bound(guarded, holder)
    nonce = guarded.ask("GET", "/orders/7", shown(token, "x"))[0].headers["DPoP-Nonce"]
    used = shown(token, holder.proof(url, "GET", token, nonce=nonce))
    assert guarded.ask("GET", "/orders/7", used)[0].status == 200
    said = "was read again and is in use"
    before = guarded.gate.log.count(said)
    guarded.gate.process.send_signal(signal.SIGHUP)
    until(lambda: guarded.gate.log.count(said) > before, said)
    answer, seen = guarded.ask("GET", "/orders/7", used)
    assert (answer.status, seen) == (401, []) and "used before" in answer.headers["WWW-Authenticate"], answer
    # And the nonces of before are good still.
    assert guarded.ask("GET", "/orders/7", shown(token, holder.proof(url, "GET", token, nonce=nonce)))[0].status == 200


def test_a_token_that_is_not_bound_is_a_bearer_token_and_nothing_else(guarded):
    token, holder = guarded.tokens.reader, Holder()
    assert guarded.ask("GET", "/orders/7", bearer(token))[0].status == 200
    answer, seen = guarded.ask("GET", "/orders/7", shown(token, holder.proof(f"{guarded.url}/orders/7", "GET", token)))
    assert (answer.status, seen) == (401, []), answer
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"'), answer


def test_challenges_lead_to_the_metadata_of_the_service(guarded):
    answer, _ = guarded.ask("GET", "/orders/7")
    url = "https://api.example/.well-known/oauth-protected-resource/v1"
    assert answer.headers["WWW-Authenticate"].count(f'resource_metadata="{url}"') == 2, "for Bearer and for DPoP"
    found = wire.get(guarded.gate.issuer, "/.well-known/oauth-protected-resource/v1")
    assert found.status == 200 and found.headers["Content-Type"] == "application/json", found
    document = json.loads(found.body)
    assert document["resource"] == "https://api.example/v1" and guarded.gate.issuer in document["authorization_servers"]
    assert document["scopes_supported"] == ["orders:write"] and "ES256" in document["dpop_signing_alg_values_supported"]
    answer, _ = guarded.ask("POST", "/orders/7", bearer(guarded.tokens.reader), b"{}")
    if guarded.kind != "nginx":
        expected = f'Bearer error="insufficient_scope", scope="orders:write", resource_metadata="{url}"'
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, expected), answer
    assert wire.get(guarded.gate.issuer, "/.well-known/oauth-protected-resource").status == 404
