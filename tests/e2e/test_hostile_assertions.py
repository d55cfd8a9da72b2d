"""JWTs that attackers make, shown at `POST /token` in the three places that take one: as a client's
assertion (RFC 7523 section 2.2), as the assertion of jwt-bearer (section 2.1), and as the
subject token of an exchange (RFC 8693).

Each is a case that broke a system like this one. All get the code of their place and nothing else;
nobody is asked for anything but the keys at the configured address; and between them good ones are
taken.
"""

import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest
from e2e import assertions, stores
from e2e.assertions import Key
from e2e.program import client
from e2e.test_jwt_bearer import ENTRY, GRANT as JWT_BEARER, LOGIN, rule
from e2e.test_token import basic, configuration, refused, send
from e2e.test_token_exchange import GRANT as EXCHANGE, ROUTES, TYPE
from gate import keyserver

GOOD, EVIL = Key("worker"), Key("worker", kid="evil")
RSA = Key("worker", "RS256", "r1")


def encoded(data):
    data = data if isinstance(data, bytes) else data.encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Place:
    """Where a JWT is shown: whom it is of, what it is for, and what a bad one is called."""

    def __init__(self, name, issuer, subject, audience, status, error):
        self.name, self.issuer, self.subject, self.audience, self.status, self.error = name, issuer, subject, audience, status, error

    def show(self, server, token):
        if self.name == "client":
            return assertions.ask(server.issuer, token)
        if self.name == "bearer":
            return send(server, {"grant_type": JWT_BEARER, "assertion": token}, basic("app"))
        form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TYPE + "jwt"}
        return send(server, form, basic("backend"))

    def claims(self, server):
        now = int(time.time())
        audience = self.audience or server.issuer
        return {"iss": self.issuer, "sub": self.subject, "aud": audience, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}


PLACES = [
    Place("client", "worker", "worker", None, 401, "invalid_client"),
    Place("bearer", LOGIN, "alice", None, 400, "invalid_grant"),
    Place("subject", LOGIN, "alice", "api://theirs", 400, "invalid_request"),
]


@pytest.fixture(scope="module")
def keys():
    """Serves the good keys at /keys, and at every other path those of the attacker, who would be believed if anybody asked."""
    with keyserver.key_server() as one:
        public = json.loads(GOOD.jwks)["keys"] + json.loads(RSA.jwks)["keys"]
        one.serve("/keys", keyserver.answer({"keys": public}, max_age=86400))
        for path in ("/evil", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
            one.serve(path, keyserver.answer({"keys": json.loads(EVIL.jwks)["keys"], "issuer": one.url("")[:-1], "jwks_uri": one.url("/evil")}))
        yield one


@pytest.fixture(scope="module")
def server(keys, lasting_authority):
    at = f'keys_url = "{keys.url()}"'
    trusted = f'trust = {{ issuer = "{LOGIN}", {at}, algorithms = ["ES256", "RS256"] }}\n'
    theirs = trusted.replace("algorithms", 'audiences = ["api://theirs"], algorithms')
    return lasting_authority(configuration(
        assertions.entry(GOOD, at), client("app", more=ENTRY), client("backend", more=ENTRY.replace(JWT_BEARER, EXCHANGE)),
        rule("app", "login", trusted=trusted), rule("backend", "login", ROUTES, theirs)))


def signed(key, header, payload):
    """A JWS over exactly this header and payload, as text or as what JSON has."""
    header, payload = (part if isinstance(part, str) else json.dumps(part) for part in (header, payload))
    text = f"{encoded(header)}.{encoded(payload)}"
    algorithm = assertions.jwt.get_algorithm_by_name(key.algorithm)
    return f"{text}.{encoded(algorithm.sign(text.encode(), key.private))}"


def with_secret(secret, header, payload):
    text = f"{encoded(json.dumps(header))}.{encoded(json.dumps(payload))}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def by(key, **header):
    """A JWT that is right but for its header; `key` signs it."""
    return lambda claims, keys: signed(key, {"alg": key.algorithm, "kid": key.kid} | header, claims)


def saying(**other):
    """A JWT that is right but for these claims; None leaves one out."""
    def make(claims, keys):
        changed = {name: value for name, value in (claims | other).items() if value is not None}
        return signed(GOOD, {"alg": "ES256", "kid": GOOD.kid}, changed)
    return make


def in_text(old, new):
    """The same for what JSON libraries do not write: a part of the payload's text is replaced."""
    def make(claims, keys):
        text = json.dumps(claims)
        assert old in text
        return signed(GOOD, {"alg": "ES256", "kid": GOOD.kid}, text.replace(old, new, 1))
    return make


def at(path, name, **more):
    """Names an address of the attacker's in the header."""
    return lambda claims, keys: signed(EVIL, {"alg": "ES256", "kid": EVIL.kid, name: keys.url(path)} | more, claims)


def unsigned(alg, signature=""):
    return lambda claims, keys: f"{encoded(json.dumps({'alg': alg, 'kid': GOOD.kid}))}.{encoded(json.dumps(claims))}.{signature}"


PUBLIC = json.loads(GOOD.jwks)["keys"][0]
CERTIFICATE = base64.b64encode(b"0" * 300).decode()
#: What is wrong, and how it is made of good claims and the key server.
HOSTILE = {
    # The algorithm comes from the key.
    **{f"alg {alg}": unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "")},
    "alg none with a signature": unsigned("none", "AAAA"),
    "HS256 with the public key as PEM": lambda c, k: with_secret(GOOD.pem.encode(), {"alg": "HS256", "kid": GOOD.kid}, c),
    "HS256 with the PEM of RSA": lambda c, k: with_secret(RSA.pem.encode(), {"alg": "HS256", "kid": RSA.kid}, c),
    "HS256 with the PEM without newline": lambda c, k: with_secret(RSA.pem.strip().encode(), {"alg": "HS256", "kid": RSA.kid}, c),
    "HS256 with the JWK": lambda c, k: with_secret(json.dumps(PUBLIC).encode(), {"alg": "HS256", "kid": GOOD.kid}, c),
    "HS256 with nothing": lambda c, k: with_secret(b"", {"alg": "HS256", "kid": GOOD.kid}, c),
    "the alg of another key": by(GOOD, alg="RS256"),
    "the kid of another key": by(GOOD, kid=RSA.kid),
    "an ECDSA signature of zeros": lambda c, k: by(GOOD)(c, k).rsplit(".", 1)[0] + "." + encoded(bytes(64)),
    "no signature": lambda c, k: by(GOOD)(c, k).rsplit(".", 1)[0] + ".",
    "padding": lambda c, k: by(GOOD)(c, k) + "==",
    # Keys that a token brings along or names.
    "its own jwk": by(EVIL, jwk=json.loads(EVIL.jwks)["keys"][0]),
    "its own x5c": by(EVIL, x5c=[CERTIFICATE]),
    "jku": at("/evil", "jku"), "x5u": at("/evil", "x5u"), "jku beside a good kid": at("/evil", "jku", kid=GOOD.kid),
    "kid as an address": at("/evil", "kid"),
    **{f"kid {kid[:12]!r}": by(EVIL, kid=kid) for kid in ("../../../etc/passwd", "k1' OR '1'='1", "refresh/x", "k1\0", "", "K1", "k" * 30000)},
    "kid as an operator": by(GOOD, kid={"$ne": ""}), "kid as a number": by(GOOD, kid=1),
    # Issuers.
    "iss as an address of the attacker's": lambda c, k: signed(EVIL, {"alg": "ES256", "kid": EVIL.kid}, c | {"iss": k.url("")[:-1]}),
    "iss as a list": lambda c, k: saying(iss=[c["iss"]])(c, k), "no iss": saying(iss=None), "iss with a slash": lambda c, k: saying(iss=c["iss"] + "/")(c, k),
    # Extensions nobody understands.
    "unknown crit": by(GOOD, crit=["x"], x=1), "empty crit": by(GOOD, crit=[]), "b64 false": by(GOOD, crit=["b64"], b64=False), "b64 without crit": by(GOOD, b64=False),
    "zip": by(GOOD, zip="DEF"), "a member twice": lambda c, k: signed(GOOD, '{"alg":"ES256","kid":"k1","alg":"ES256"}', c),
    "a list as header": lambda c, k: signed(GOOD, "[]", c), "a list as payload": lambda c, k: signed(GOOD, {"alg": "ES256", "kid": "k1"}, "[]"),
    # Types of claims.
    "exp as text": lambda c, k: saying(exp=str(c["exp"]))(c, k), "exp negative": saying(exp=-1), "exp true": saying(exp=True), "exp 1e400": in_text('"exp": ', '"exp": 1e400, "x": '),
    "exp beyond all": saying(exp=2**64), "exp null": in_text('"exp": ', '"exp": null, "x": '), "exp twice": in_text('"exp": ', '"exp": 4000000000, "exp": '),
    "nbf as text": saying(nbf="0"), "aud empty": saying(aud=[]), "no aud": saying(aud=None), "aud of numbers": saying(aud=[1]), "aud as an object": saying(aud={}),
    "aud that begins like it": lambda c, k: saying(aud=c["aud"] + ".example")(c, k), "aud that it begins like": lambda c, k: saying(aud=c["aud"][:-1])(c, k),
    "aud in capitals": lambda c, k: saying(aud=c["aud"].upper())(c, k), "aud as a pattern": saying(aud="*"),
    "sub as a list": saying(sub=["alice"]), "sub as an object": saying(sub={"$ne": ""}), "sub twice": in_text('"sub": ', '"sub": "admin", "sub": '),
    # Forms.
    "the JSON form": lambda c, k: json.dumps(dict(zip(("protected", "payload", "signature"), by(GOOD)(c, k).split(".")))),
    "five parts": lambda c, k: by(GOOD)(c, k) + "..", "a token within a token": lambda c, k: signed(GOOD, {"alg": "ES256", "kid": "k1", "cty": "JWT"}, by(GOOD)(c, k)),
}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_jwt_is_refused_and_nobody_is_asked_about_it(server, keys, place, name):
    refused(place.show(server, HOSTILE[name](place.claims(server), keys)), place.status, place.error)
    assert set(keys.asked) <= {"/keys"}, keys.asked


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
@pytest.mark.parametrize("key", [GOOD, RSA], ids=lambda key: key.algorithm)
def test_between_them_good_ones_are_taken(server, keys, place, key):
    assert place.show(server, by(key)(place.claims(server), keys)).status == 200
    assert set(keys.asked) == {"/keys"}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_a_flood_of_unknown_kids_costs_one_fetch_and_delays_no_good_one(keys, authority, place):
    trusted = f'trust = {{ issuer = "{LOGIN}", keys_url = "{keys.url()}", algorithms = ["ES256"] }}\n'
    theirs = trusted.replace("algorithms", 'audiences = ["api://theirs"], algorithms')
    server = authority(configuration(
        assertions.entry(GOOD, f'keys_url = "{keys.url()}"'), client("app", more=ENTRY), client("backend", more=ENTRY.replace(JWT_BEARER, EXCHANGE)),
        rule("app", "login", trusted=trusted), rule("backend", "login", ROUTES, theirs)))
    assert place.show(server, by(GOOD)(place.claims(server), keys)).status == 200
    before, began = len(keys.asked), time.monotonic()
    for number in range(120):
        refused(place.show(server, by(EVIL, kid=str(uuid.uuid4()))(place.claims(server), keys)), place.status, place.error)
        if number % 10 == 0:
            assert place.show(server, by(GOOD)(place.claims(server), keys)).status == 200
    windows = 1 + int((time.monotonic() - began) / 30)
    assert len(keys.asked) - before <= windows, "an unknown kid is looked for at most once in half a minute"


def test_what_was_taken_once_is_remembered_for_as_long_as_it_could_be_shown(authority):
    """Until it has expired by the clock of every server and the leeway of every rule, and no longer."""
    trusted = f'trust = {{ issuer = "{LOGIN}", jwks = {json.dumps(GOOD.jwks)}, algorithms = ["ES256"] }}\n'
    inline = f"jwks = {json.dumps(GOOD.jwks)}"
    server = authority(configuration(assertions.entry(GOOD, inline), client("app", more=ENTRY), rule("app", "login", trusted=trusted)) + '\n[rotation]\nskew = "2m"\n')
    for place in PLACES[:2]:
        known = {key for key, _, _ in documents(server)}
        claims = place.claims(server)
        ends = claims["exp"] = claims["iat"] + 1800
        token = by(GOOD)(claims, None)
        assert place.show(server, token).status == 200
        refused(place.show(server, token), place.status, place.error)
        [(key, expires)] = [(key, expires) for key, _, expires in documents(server) if key not in known and not key.startswith("refresh/")]
        assert ends + 120 <= expires <= ends + 120 + 600, (key, expires - ends)
        assert claims["jti"] not in key and "worker" not in key


def documents(server):
    return stores.documents(server.folder / "countersign/countersign.db")


GOOD_SET = json.loads(GOOD.jwks)["keys"]
#: What a key server says in place of its keys, and whether good tokens are taken all the same.
KEY_SETS = {
    "an error": (keyserver.answer("sorry", 500), False),
    "a page": (keyserver.answer("<html>ok</html>", Content_Type="text/html"), False),
    "no keys": (keyserver.answer({"keys": []}), False),
    "a redirect": (keyserver.redirect("/evil"), False),
    "a half": (keyserver.broken_off, False),
    "no end": (keyserver.endless, False),
    "bad keys among good": (keyserver.answer({"keys": [{"kty": "EC", "kid": "k0"}, {"kty": "x"}, *GOOD_SET, {}]}), True),
}


@pytest.mark.parametrize("name", KEY_SETS)
def test_without_keys_nobody_is_believed_and_a_bad_key_is_passed_over(authority, name):
    behaviour, taken = KEY_SETS[name]
    with keyserver.key_server() as keys:
        keys.serve("/keys", behaviour)
        keys.serve("/evil", keyserver.answer({"keys": json.loads(EVIL.jwks)["keys"]}))
        at = f'keys_url = "{keys.url()}"'
        trusted = f'trust = {{ issuer = "{LOGIN}", {at}, algorithms = ["ES256"] }}\n'
        theirs = trusted.replace("algorithms", 'audiences = ["api://theirs"], algorithms')
        server = authority(configuration(
            assertions.entry(GOOD, at), client("app", more=ENTRY), client("backend", more=ENTRY.replace(JWT_BEARER, EXCHANGE)),
            rule("app", "login", trusted=trusted), rule("backend", "login", ROUTES, theirs)))
        for place in PLACES:
            answer = place.show(server, by(GOOD)(place.claims(server), keys))
            if taken:
                assert answer.status == 200, (place.name, answer)
            elif answer.status == 503:
                refused(answer, 503, "temporarily_unavailable")
            else:
                # The set was had, and it is empty.
                assert name == "no keys", (place.name, answer)
                refused(answer, place.status, place.error)
            answer = place.show(server, by(EVIL)(place.claims(server), keys))
            assert answer.status in (503, place.status), (place.name, answer)
        assert "/evil" not in keys.asked
