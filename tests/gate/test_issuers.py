"""Tokens of the issuers that have a preset, made by real libraries: let in when good, and refused for the right reason."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from authority import AUDIENCE, configuration as authority_configuration
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from gate import issuers, keyserver
from gate.issuers import ABSENT, ALL, AUTH0, ENTRA_ONE, FIREBASE, GOOGLE, MAKERS, OKTA
from gate.one_shot import OneShot, configuration
from libraries import b64url, part

TENANTS = ["entra-organizations", "entra-common"]
REFUSED = [(name, what) for name, issuer in ALL.items() for what in issuer.refused]


@pytest.fixture(scope="session")
def tokens():
    """(issuer, maker) → a good token."""
    made = {(name, maker): i.token(maker=maker) for name, i in ALL.items() for maker in issuers.PYTHON}
    pairs = [(name, maker) for name in ALL for maker in issuers.NODE]
    wanted = [(maker, ALL[name].key, ALL[name].header, ALL[name].payload()) for name, maker in pairs]
    return made | dict(zip(pairs, issuers.signed_by_node(wanted), strict=True))


@pytest.fixture
def server():
    with keyserver.key_server() as one:
        yield one


@pytest.fixture
def gate(binary, tmp_path):
    return OneShot(binary, tmp_path)


@pytest.fixture
def judge(gate, server):
    """Judges a token by the rules of one issuer or several, whose keys are on the key server."""

    def publish(issuer):
        url = server.serve(f"/{issuer.name}", keyserver.answer(issuer.document(), max_age=19204))
        return issuer.trust | {"keys_url": url}

    def run(token, *trusted, **rest):
        context = {"sub": "sub", "iss": "iss", "exp": "exp"}
        context |= {name: claim for one in trusted for name, (claim, _) in one.context.items()}
        return gate.authorize(token, configuration(*map(publish, trusted), gate={"context": context}), **rest)

    return run


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", ALL)
def test_lets_a_good_token_in_as_whom_it_is_about(name, maker, tokens, judge, server):
    issuer, token = ALL[name], tokens[name, maker]
    claims = json.loads(part(token, 1))
    verdict = judge(token, issuer)
    assert verdict.exit == 0, verdict
    expected = {key: value for key, (_, value) in issuer.context.items()}
    stage, policy = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test", verdict.reply.pop("policyDocument")
    allow, deny = policy.pop("Statement")
    assert policy == {"Version": "2012-10-17"}
    assert allow == {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": [f"{stage}/*/*"]}
    # Spellings that are refused for everybody.
    assert deny["Effect"] == "Deny" and all(text.startswith(f"{stage}/*") for text in deny["Resource"])
    assert {f"{stage}/*//*", f"{stage}/*%2F*"} < {*deny["Resource"]}
    multi_tenant = "{tenantid}" in issuer.trust.get("issuer", "") or issuer.trust.get("id") in ("common", "organizations")
    assert verdict.reply == {
        "principalId": f"{claims['iss']}#{claims['sub']}" if multi_tenant else claims["sub"],
        "context": {"sub": claims["sub"], "iss": claims["iss"], "exp": claims["exp"]} | expected,
    }
    assert server.asked == [f"/{name}"]


@pytest.mark.parametrize(("name", "what"), REFUSED)
def test_refuses_what_is_not_meant_for_it(name, what, judge):
    changes, code = ALL[name].refused[what]
    assert judge(ALL[name].token(changes), ALL[name]).refused == code


@pytest.mark.parametrize("name", ALL)
def test_refuses_tokens_out_of_their_time_and_of_other_keys(name, judge):
    issuer, now = ALL[name], int(time.time())
    impostor = issuers.Key(issuer.key.kid, issuer.algorithm)
    stranger = issuers.Key("stranger", issuer.algorithm)
    for token, code in [
        (issuer.token({"iat": now - 700, "exp": now - 60}), "token_expired"),
        (issuer.token({"exp": ABSENT}), "claim_missing"),
        (issuer.token({"nbf": now + 300}), "token_not_yet_valid"),
        (issuer.token({"iat": now + 300}), "token_issued_in_the_future"),
        (issuer.token(by=impostor), "token_bad_signature"),
        (issuer.token(by=stranger), "token_no_key"),
    ]:
        assert judge(token, issuer).refused == code


def test_takes_the_longest_subject_and_every_audience_that_is_meant(judge):
    assert judge(FIREBASE.token({"sub": "u" * 128}), FIREBASE).exit == 0
    assert judge(AUTH0.token({"aud": "https://api.example"}), AUTH0).exit == 0
    for tenant in (issuers.TENANT, issuers.SECOND):
        for name in TENANTS:
            token = ALL[name].token({"tid": tenant, "iss": issuers.ENTRA.format(tenant)})
            assert judge(token, ALL[name]).exit == 0


def test_takes_the_longest_subject_in_any_script(judge):
    assert judge(FIREBASE.token({"sub": "ü" * 128}), FIREBASE).exit == 0


@pytest.mark.parametrize("name", TENANTS)
def test_a_key_of_one_entra_tenant_verifies_no_other_tenants_tokens(name, gate, server):
    issuer, personal, document = ALL[name], issuers.Key("personal"), ALL[name].document()
    document["keys"].append(personal.jwk(alg=None, issuer=issuers.ENTRA.format(issuers.PERSONAL)))
    tenants = {"tenants": [issuers.TENANT, issuers.SECOND, issuers.PERSONAL]}
    config = configuration(issuer.trust | tenants | {"keys_url": server.serve("/keys", keyserver.answer(document))})
    own = {"tid": issuers.PERSONAL, "iss": issuers.ENTRA.format(issuers.PERSONAL)}
    assert gate.authorize(issuer.token(own, by=personal), config).exit == 0
    assert gate.authorize(issuer.token(), config).exit == 0
    assert gate.authorize(issuer.token(by=personal), config).refused == "key_of_another_issuer"


@pytest.mark.parametrize("maker", MAKERS)
def test_keys_of_one_issuer_verify_no_token_of_another_even_under_the_same_kid(maker, gate, server):
    """Four issuers trusted at once, one of them with certificates; a fifth kid is in one set only."""
    trusted, entries, alone = [FIREBASE, AUTH0, OKTA, GOOGLE], [], issuers.key("alone")
    keys = {issuer.name: issuers.twin(issuer.name) for issuer in trusted}
    for issuer in trusted:
        published = [keys[issuer.name]] + ([alone] if issuer is OKTA else [])
        document = {key.kid: key.certificate for key in published}
        if not issuer.certificates:
            document = {"keys": [key.jwk() for key in published]}
        entries.append(issuer.trust | {"keys_url": server.serve(f"/{issuer.name}", keyserver.answer(document))})
    config = configuration(*entries)
    wanted = [(issuer, key) for issuer in trusted for key in [*keys.values(), alone]]
    if maker in issuers.PYTHON:
        made = [issuer.token(maker=maker, by=key) for issuer, key in wanted]
    else:
        made = issuers.signed_by_node([(maker, key, issuer.header, issuer.payload()) for issuer, key in wanted])
    for (issuer, key), token in zip(wanted, made, strict=True):
        verdict = gate.authorize(token, config)
        if key is keys[issuer.name] or (issuer is OKTA and key is alone):
            assert verdict.exit == 0, (issuer.name, verdict)
        else:
            expected = "token_no_key" if key is alone else "token_bad_signature"
            assert verdict.refused == expected, (issuer.name, key.kid)


def compact(header, claims, secret=None):
    """A token as an attacker writes it: with an HMAC, or with nothing in place of the signature."""
    text = ".".join(b64url(json.dumps(member).encode()) for member in (header, claims))
    return f"{text}.{b64url(hmac.digest(secret, text.encode(), hashlib.sha256)) if secret else ''}"


@pytest.mark.parametrize("issuer", [AUTH0, ENTRA_ONE, FIREBASE], ids=lambda issuer: issuer.name)
def test_refuses_an_hmac_with_a_public_key_as_secret(issuer, judge):
    key, document = issuer.key, issuer.document()
    pem = key.public()
    secrets = {
        "PEM": pem,
        "PEM without the last line end": pem.rstrip(b"\n"),
        "PEM PKCS#1": key.public(form=PublicFormat.PKCS1),
        "DER": key.public(Encoding.DER),
        "modulus": base64.urlsafe_b64decode(key.jwk()["n"] + "=="),
        "document": json.dumps(document).encode(),
    }
    if issuer.certificates:
        secrets |= {"certificate": key.certificate.encode(), "certificate, stripped": key.certificate.strip().encode()}
    else:
        jwk = document["keys"][0]
        secrets |= {"JWK": json.dumps(jwk).encode(), "JWK, no spaces": json.dumps(jwk, separators=(",", ":")).encode()}
    for form, secret in secrets.items():
        for header in [{"alg": "HS256", "kid": key.kid, "typ": "JWT"}, {"alg": "HS256"}]:
            verdict = judge(compact(header, issuer.payload(), secret), issuer)
            assert verdict.refused == "algorithm_not_allowed", (form, header)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "none ", ""])
def test_refuses_a_token_without_signature(name, judge):
    good = AUTH0.token().split(".")
    for signature in ["", "eA", good[2]]:
        token = compact({"alg": name, "kid": AUTH0.key.kid}, AUTH0.payload()) + signature
        codes = {"token_unsigned", "token_unsupported_algorithm"}
        assert judge(token, AUTH0).refused in codes, signature
    stripped = judge(f"{good[0]}.{good[1]}.", AUTH0)
    assert stripped.refused == "token_unsigned"
    assert judge(f"{good[0]}.{good[1]}", AUTH0).refused == "token_not_compact"


def test_never_uses_nor_fetches_keys_that_a_token_brings_along(judge):
    """The trap is a key server that would make the token a good one; nobody asks it."""
    for kid, code in [(AUTH0.key.kid, "token_bad_signature"), ("mallory", "token_no_key")]:
        own = issuers.Key(kid)
        with keyserver.key_server() as trap:
            url = trap.serve("/keys", keyserver.answer({"keys": [own.jwk()]}))
            chain = ["".join(own.certificate.splitlines()[1:-1])]
            brought = {"jwk": own.jwk(), "jku": url, "x5u": url, "x5c": chain}
            for header in [{name: value} for name, value in brought.items()] + [brought]:
                token = issuers.raw(own, json.dumps(AUTH0.payload()), header)
                assert json.loads(part(token, 0)) | header == json.loads(part(token, 0))
                assert judge(token, AUTH0).refused == code, list(header)
            assert trap.asked == []


def test_never_asks_an_issuer_of_the_tokens_choice(judge):
    own = issuers.Key("own")
    with keyserver.key_server() as trap:
        for path in ["", "/", "/tenant.eu.auth0.com/", "/.well-known/openid-configuration", "/v2.0?x=#"]:
            issuer = trap.url(path)
            discovery = {"issuer": issuer, "jwks_uri": trap.serve("/keys", keyserver.answer({"keys": [own.jwk()]}))}
            trap.serve(f"{path.rstrip('/')}/.well-known/openid-configuration", keyserver.answer(discovery))
            token = AUTH0.token({"iss": issuer}, by=own)
            assert judge(token, AUTH0, ALL["entra-common"]).refused == "issuer_unknown"
        for kid in [trap.url("/keys"), "../../keys", "' OR 1=1 --", '{"$ne":null}', "/etc/passwd", "x" * 4000]:
            named = issuers.raw(own, json.dumps(AUTH0.payload()), {"kid": kid})
            assert judge(named, AUTH0).refused in {"token_no_key", "token_header_wrong_type"}, kid[:20]
        assert trap.asked == []


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_refuses_times_that_are_no_whole_numbers(claim, judge):
    now = int(time.time())
    future = now + 600 if claim == "exp" else now - 5
    values = [f'"{future}"', f"{future}.5", f"{future}.0", f"{future}e0", "-1", f"-{future}", "null", "true", "[]", "{}"]
    values += ["253402300800", "99999999999999999999", '"never"', "1e400"]
    for value in values:
        claims = json.dumps(AUTH0.payload({claim: ABSENT}))
        token = issuers.raw(AUTH0.key, f'{claims[:-1]}, "{claim}": {value}}}')
        expected = "token_claims_malformed" if value == "1e400" else "claim_wrong_type"
        assert judge(token, AUTH0).refused == expected, value


def test_refuses_issuers_and_audiences_of_other_types(judge):
    good = AUTH0.payload()
    for claim, value, code in [
        ("iss", [good["iss"]], "token_claims_wrong_type"),
        ("iss", {"0": good["iss"]}, "token_claims_wrong_type"),
        ("iss", None, "token_claims_wrong_type"),
        ("iss", 1, "token_claims_wrong_type"),
        ("iss", "", "issuer_unknown"),
        ("iss", ABSENT, "issuer_missing"),
        ("aud", ABSENT, "claim_missing"),
        ("aud", [], "claim_missing"),
        ("aud", "", "claim_mismatch"),
        ("aud", [""], "claim_mismatch"),
        ("aud", "*", "claim_mismatch"),
        ("aud", "https://api.example.evil.example", "claim_mismatch"),
        ("aud", "HTTPS://API.EXAMPLE", "claim_mismatch"),
        ("aud", "https://api.example https://b.example", "claim_mismatch"),
        ("aud", None, "claim_wrong_type"),
        ("aud", 1, "claim_wrong_type"),
        ("aud", ["https://api.example", 1], "claim_wrong_type"),
        ("aud", [["https://api.example"]], "claim_wrong_type"),
        ("aud", {"https://api.example": 1}, "claim_wrong_type"),
        ("sub", ["auth0|1"], "claim_wrong_type"),
        ("sub", 7, "claim_wrong_type"),
    ]:
        claims = {name: member for name, member in (good | {claim: value}).items() if member is not ABSENT}
        assert judge(issuers.raw(AUTH0.key, json.dumps(claims)), AUTH0).refused == code, (claim, value)


def test_refuses_a_claim_that_is_there_twice(judge):
    for claim in ["iss", "aud", "exp", "sub"]:
        payload = json.dumps(AUTH0.payload())
        twice = f'{payload[:-1]}, "{claim}": {json.dumps(AUTH0.payload()[claim])}}}'
        assert judge(issuers.raw(AUTH0.key, twice), AUTH0).refused == "token_claims_malformed", claim


def test_takes_tokens_of_another_countersign_by_discovery(lasting_authority, gate):
    ours, other = (lasting_authority(authority_configuration(algorithm)) for algorithm in ("ES256", "EdDSA"))
    config = configuration({"preset": "countersign", "id": ours.issuer, "audiences": [AUDIENCE]})
    verdict = gate.authorize(ours.sign({"sub": "alice", "scope": "a b"}), config)
    assert verdict.exit == 0
    assert (verdict.reply["principalId"], verdict.reply["context"]["scope"]) == ("alice", "a b")
    elsewhere = ours.sign({"sub": "alice"}, {"audience": "api://other"})
    assert gate.authorize(elsewhere, config).refused == "claim_mismatch"
    assert gate.authorize(other.sign({"sub": "alice"}), config).refused == "issuer_unknown"
    both = configuration(*({"preset": "countersign", "id": a.issuer, "audiences": [AUDIENCE]} for a in (ours, other)))
    for authority in (ours, other):
        verdict = gate.authorize(authority.sign({"sub": "bob"}), both)
        assert verdict.reply["principalId"] == f"{authority.issuer}#bob"
