"""DPoP at `POST /token` (RFC 9449): what is bound, every fault of a proof with its error, nonces, and clients nobody here wrote.

The table `FAULTS` is the contract: what is wrong with a proof, and what the description says.
"""

import base64
import json
import re
import time
from urllib.parse import urlencode

import jwt
import pytest
from e2e import dpop, stores, test_public_clients as public_clients, wire
from e2e.dpop import Holder
from e2e.program import CONFIG, SECRET, client, until
from e2e.test_jwt_bearer import GRANT as JWT_BEARER, rule, sign
from e2e.test_refresh import GRANT as REFRESH, REFRESHED, REFRESHES
from e2e.test_token import basic, configuration, send
from e2e.test_token_clients import node

WORKER = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\nscopes = ["read"]\n'
CLIENTS = [
    client("worker", more=WORKER), client("bound", more=WORKER + "dpop_bound_access_tokens = true\n"),
    client("api", more='introspect = ["api://default"]\n'), client("app", more=REFRESHED),
    client("signer", more='audiences = ["api://default"]\nclaims = { allow = ["*"] }'),
]
HOLDER = Holder()


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS, rule(more=REFRESHES)))


@pytest.fixture(scope="module")
def demanding(lasting_authority):
    """One that wants a nonce in each proof."""
    return lasting_authority(configuration(*CLIENTS, rule(more=REFRESHES)) + "\n[dpop]\nrequire_nonce = true\n")


def endpoint(server):
    return f"{server.issuer}/token"


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def refused(answer, error="invalid_dpop_proof"):
    assert (answer.status, answer.json()["error"]) == (400, error), answer
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["DPoP-Nonce"], answer
    return answer.json()["error_description"]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
def test_a_proof_binds_the_token_to_its_key(server, algorithm):
    holder = Holder(algorithm)
    answer = dpop.ask(server.issuer, [holder.proof(endpoint(server))], form=dpop.GRANT | {"scope": "read"})
    assert answer.status == 200, answer
    body = answer.json()
    assert body["token_type"] == "DPoP" and claims(body["access_token"])["cnf"] == {"jkt": holder.jkt}
    assert answer.headers["DPoP-Nonce"], "a nonce for the next proof"
    told = send(server, {"token": body["access_token"]}, basic("api"), "/introspect").json()
    assert told["active"] and told["token_type"] == "DPoP" and told["cnf"] == {"jkt": holder.jkt}


def test_without_a_proof_nothing_is_bound_unless_the_client_has_to(server):
    answer = dpop.ask(server.issuer, [])
    assert answer.json()["token_type"] == "Bearer" and "cnf" not in claims(answer.json()["access_token"])
    assert "DPoP-Nonce" not in answer.headers
    told = send(server, {"token": answer.json()["access_token"]}, basic("api"), "/introspect").json()
    assert told["token_type"] == "Bearer" and "cnf" not in told
    assert "DPoP proof is needed" in refused(dpop.ask(server.issuer, [], "bound"))
    assert dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))], "bound").json()["token_type"] == "DPoP"


def test_discovery_says_what_proofs_may_be_signed_with(server):
    for path in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        found = wire.get(server.issuer, path).json()["dpop_signing_alg_values_supported"]
        assert "ES256" in found and "EdDSA" in found and not [name for name in found if name.startswith("HS") or name == "none"]


#: Name, how the proofs are made, and what the description says.
FAULTS = [
    ("two proofs", lambda h, u: [h.proof(u), h.proof(u)], "exactly one header"),
    ("one proof twice", lambda h, u: [h.proof(u)] * 2, "exactly one header"),
    ("two in one header", lambda h, u: [f"{h.proof(u)}, {h.proof(u)}"], "exactly one header"),
    ("an empty header", lambda h, u: [""], "not accepted"),
    ("no JWT", lambda h, u: ["x"], "not a compact JWS"),
    ("no typ", lambda h, u: [h.proof(u, without=["typ"])], "`typ`"),
    ("another typ", lambda h, u: [h.proof(u, header={"typ": "JWT"})], "`typ`"),
    ("alg none", lambda h, u: [h.proof(u, header={"alg": "none"})], "unsupported|algorithm"),
    ("alg of a secret", lambda h, u: [h.proof(u, header={"alg": "HS256"})], "HS256"),
    ("another alg", lambda h, u: [h.proof(u, header={"alg": "RS256"})], "says RS256"),
    ("no key", lambda h, u: [h.proof(u, without=["jwk"])], "no `jwk`"),
    ("a private key", lambda h, u: [h.proof(u, header={"jwk": h.whole_jwk})], "private members"),
    ("a shared secret", lambda h, u: [h.proof(u, header={"jwk": {"kty": "oct", "k": "A" * 64}})], "private members"),
    ("another key", lambda h, u: [h.proof(u, header={"jwk": Holder().jwk})], "does not verify"),
    ("a weak key", lambda h, u: [h.proof(u, header={"alg": "RS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": dpop.b64(b"\xc5" * 128)}})], "RSA"),
    ("an unknown extension", lambda h, u: [h.proof(u, header={"crit": ["exp"]})], "extension"),
    ("no jti", lambda h, u: [h.proof(u, without=["jti"])], "`jti`"),
    ("a long jti", lambda h, u: [h.proof(u, jti="x" * 257)], "`jti`"),
    ("no htm", lambda h, u: [h.proof(u, without=["htm"])], "`htm`"),
    ("another method", lambda h, u: [h.proof(u, "GET")], "`htm` is .*GET"),
    ("no htu", lambda h, u: [h.proof(u, without=["htu"])], "`htu`"),
    ("another path", lambda h, u: [h.proof(u.replace("/token", "/revoke"))], "`htu` is .*/revoke.*, expected is http"),
    ("another scheme", lambda h, u: [h.proof(u.replace("http:", "https:"))], "`htu`"),
    ("another port", lambda h, u: [h.proof("http://127.0.0.1/token")], "`htu`"),
    ("no iat", lambda h, u: [h.proof(u, without=["iat"])], "`iat`"),
    ("iat is a text", lambda h, u: [h.proof(u, iat="now")], "`iat`"),
    ("a nonce of somebody else's", lambda h, u: [h.proof(u, nonce="x" * 32)], "nonce"),
]


@pytest.mark.parametrize("name, make, says", FAULTS, ids=[name.replace(" ", "_") for name, _, _ in FAULTS])
def test_every_fault_of_a_proof_has_its_error(server, name, make, says):
    for id in ("worker", "bound"):
        answer = dpop.ask(server.issuer, make(HOLDER, endpoint(server)), id)
        description = refused(answer, "use_dpop_nonce" if "nonce" in name else "invalid_dpop_proof")
        assert re.search(says, description), description


def test_a_wrong_clock_is_told_by_how_much_and_the_nonce_makes_it_good(server):
    """danielfett/draft-dpop#67: phones are minutes off."""
    for off in (-3600, 3600):
        made, before = int(time.time()) + off, int(time.time())
        answer = dpop.ask(server.issuer, [HOLDER.proof(endpoint(server), iat=made)])
        description = refused(answer)
        here = [int(word) for word in description.replace(",", " ").split() if word.isdigit() and int(word) > 1_000_000]
        assert here[0] == made and before <= here[1] <= int(time.time()) and "60 s" in description, description
        again = dpop.ask(server.issuer, [HOLDER.proof(endpoint(server), iat=made, nonce=answer.headers["DPoP-Nonce"])])
        assert again.status == 200, again


def test_the_name_of_a_proof_is_kept_for_the_longest_window_whatever_the_window_is(authority):
    server = authority(configuration(client("worker", more=WORKER)) + '\n[dpop]\nwindow = "1s"\n')
    nonce = dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))]).headers["DPoP-Nonce"]
    for _ in range(20):
        made = int(time.time())
        if dpop.ask(server.issuer, [HOLDER.proof(endpoint(server), iat=made)]).status == 200:
            break
    else:
        pytest.fail("no proof was in time")
    ends = [at for key, _, at in stores.documents(server.folder / "countersign/countersign.db") if key.startswith("dpop/")]
    assert max(ends) > made + 600, "a window that has grown would take it again"
    assert dpop.ask(server.issuer, [HOLDER.proof(endpoint(server), nonce=nonce)]).status == 200


def test_a_nonce_is_demanded_where_the_configuration_says_so(demanding):
    answer = dpop.ask(demanding.issuer, [HOLDER.proof(endpoint(demanding))])
    refused(answer, "use_dpop_nonce")
    nonce = answer.headers["DPoP-Nonce"]
    for _ in range(2):
        # One nonce is good for several proofs, each with a name of its own.
        answer = dpop.ask(demanding.issuer, [HOLDER.proof(endpoint(demanding), nonce=nonce)])
        assert answer.status == 200 and answer.headers["DPoP-Nonce"], answer
    data = base64.urlsafe_b64decode(nonce)
    assert abs(int.from_bytes(data[:8], "big") - time.time()) < 120, "it carries the server's time"
    for changed in (data[:7] + bytes([data[7] ^ 1]) + data[8:], data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"\0"):
        refused(dpop.ask(demanding.issuer, [HOLDER.proof(endpoint(demanding), nonce=dpop.b64(changed))]), "use_dpop_nonce")
    # Without a proof there is no nonce to demand.
    assert dpop.ask(demanding.issuer, []).json()["token_type"] == "Bearer"


def test_a_proof_is_taken_once(server):
    proof = HOLDER.proof(endpoint(server))
    assert dpop.ask(server.issuer, [proof]).status == 200
    for id in ("worker", "bound"):
        assert "used before" in refused(dpop.ask(server.issuer, [proof], id))
    # The same name by another key is another proof.
    name = "the-same-name"
    for holder in (HOLDER, Holder()):
        assert dpop.ask(server.issuer, [holder.proof(endpoint(server), jti=name)]).status == 200
    assert "used before" in refused(dpop.ask(server.issuer, [HOLDER.proof(endpoint(server), jti=name)]))


def test_what_a_proof_cannot_do_it_is_not_asked_to(server):
    proof = HOLDER.proof(endpoint(server))
    for secret, status in (("wrong", 401), (SECRET, 200)):
        answer = dpop.ask(server.issuer, [proof], secret=secret)
        assert answer.status == status, "a client that is nobody spends no proof"
    # A refusal spends nothing else: the assertion that came with a bad proof is good for the next one.
    form = {"grant_type": JWT_BEARER, "assertion": sign(server), "scope": "read"}
    refused(dpop.ask(server.issuer, ["x"], "app", form))
    answer = dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))], "app", form)
    assert answer.status == 200 and answer.json()["token_type"] == "DPoP", answer


def test_an_assertion_that_is_bound_to_a_key_is_worth_something_with_a_proof_of_it_alone(server):
    form = {"grant_type": JWT_BEARER, "assertion": sign(server, cnf={"jkt": HOLDER.jkt}), "scope": "read"}
    for proofs in ([], [Holder().proof(endpoint(server))]):
        answer = dpop.ask(server.issuer, proofs, "app", form)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), answer
        assert "bound to a key" in answer.json()["error_description"], answer
    # Nobody has spent it.
    assert dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))], "app", form).status == 200
    other = form | {"assertion": sign(server, cnf={"x5t#S256": HOLDER.jkt})}
    assert dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))], "app", other).json()["error"] == "invalid_grant"


def test_a_confidential_clients_refresh_token_takes_the_key_of_each_proof(server):
    form = {"grant_type": JWT_BEARER, "assertion": sign(server), "scope": "read"}
    first = dpop.ask(server.issuer, [HOLDER.proof(endpoint(server))], "app", form).json()
    other = Holder()
    form = {"grant_type": REFRESH, "refresh_token": first["refresh_token"]}
    second = dpop.ask(server.issuer, [other.proof(endpoint(server))], "app", form).json()
    assert second["token_type"] == "DPoP" and claims(second["access_token"])["cnf"] == {"jkt": other.jkt}


def test_a_public_clients_refresh_token_is_worth_something_to_the_holder_of_its_key_alone(lasting_authority):
    server = lasting_authority(configuration(public_clients.public("spa"), public_clients.own("spa")))
    thief, form = Holder(), {"client_id": "spa", "scope": "read"}

    def shown(form, *proofs):
        headers = [("Content-Type", wire.FORM), *(("DPoP", proof) for proof in proofs)]
        return wire.ask(server.issuer, "POST", "/token", headers, urlencode(form).encode())

    begin = form | {"grant_type": JWT_BEARER, "assertion": public_clients.assertion(server)}
    answer = shown(begin, HOLDER.proof(endpoint(server)))
    assert answer.status == 200 and answer.json()["token_type"] == "DPoP", answer
    refresh = form | {"grant_type": REFRESH, "refresh_token": answer.json()["refresh_token"]}
    for proofs in ([], [thief.proof(endpoint(server))]):
        answer = shown(refresh, *proofs)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), answer
        assert "bound to a key" in answer.json()["error_description"], answer
    for _ in range(2):
        answer = shown(refresh, HOLDER.proof(endpoint(server)))
        assert answer.status == 200 and claims(answer.json()["access_token"])["cnf"] == {"jkt": HOLDER.jkt}, answer
        refresh["refresh_token"] = answer.json()["refresh_token"]


def test_nobody_sets_the_claim_that_binds(server):
    headers = {"Authorization": wire.basic("signer", SECRET), "Content-Type": "application/json"}
    body = json.dumps({"data": {"sub": "alice", "cnf": {"jkt": HOLDER.jkt}}}).encode()
    answer = wire.ask(server.issuer, "POST", "/sign", headers, body)
    assert answer.status == 400 and "`cnf` is set by the issuer" in answer.json()["error_description"], answer


def test_settings_that_do_nothing_or_never_let_anybody_in_do_not_start(world):
    for text, says in [
        (client("tests", more='audiences = ["a"]\ndpop_bound_access_tokens = true'), "dpop_bound_access_tokens: has no effect without `grants`"),
        (client("worker", more=WORKER) + '\n[dpop]\nwindow = "0s"', "dpop.window"),
        (client("worker", more=WORKER) + '\n[dpop]\nwindow = "11m"', "dpop.window"),
    ]:
        world.configure(CONFIG + text)
        world.fails(78, says, "config", "check")


def test_the_url_of_a_proof_is_the_public_one_wherever_the_request_arrives(world):
    """Below a path that a proxy takes away, and below one that it leaves."""
    public, holder = "https://tokens.example/prod/auth/token", Holder()
    text = CONFIG.replace("http://127.0.0.1:@PORT@", public.removesuffix("/token"), 1)
    port = world.configure(text + client("worker", more=WORKER))
    world.serve()
    here = f"http://127.0.0.1:{port}"
    until(lambda: wire.get(here, "/healthz").status == 200, "healthy")

    def shown(path, url):
        headers = [("Content-Type", wire.FORM), ("Authorization", wire.basic("worker", SECRET)), ("DPoP", holder.proof(url))]
        return wire.ask(here, "POST", path, headers, b"grant_type=client_credentials")

    for path in ("/token", "/prod/auth/token"):
        for spelling in (public, "HTTPS://Tokens.Example:443/prod/%61uth/./token?x#y"):
            answer = shown(path, spelling)
            assert answer.status == 200, answer
        for other in (here + path, "https://tokens.example/token", public + "/"):
            assert public in refused(shown(path, other))


PROGRAMS = ["dpop_openid_client.mjs", "dpop_oauth4webapi.mjs"]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_clients_in_node_prove_to_hold_their_key(server, demanding, program, algorithm):
    for one in (server, demanding):
        answer = node(program, one, client="bound", secret=SECRET, algorithm=algorithm)
        first, second = answer["tokens"]
        assert first["token_type"] == second["token_type"] == "dpop"
        assert claims(first["access_token"])["cnf"] == claims(second["access_token"])["cnf"] == {"jkt": answer["jkt"]}


def test_a_proof_is_taken_once_by_whichever_server_on_one_file(world):
    stores.a_proof_is_taken_once_by_whichever_server(world, "sqlite:countersign.db")
