"""Clients that authenticate with a JWT they sign (RFC 7523 section 2.2), made with PyJWT and cryptography."""

import json
import time
import uuid
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from e2e import wire

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAKE = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Key:
    """A client's key."""

    def __init__(self, client, algorithm="ES256", kid="k1"):
        self.client, self.algorithm, self.kid = client, algorithm, kid
        self.private = MAKE[algorithm]()

    @property
    def jwks(self):
        to_jwk = jwt.get_algorithm_by_name(self.algorithm).to_jwk
        public = json.loads(to_jwk(self.private.public_key()))
        return json.dumps({"keys": [public | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}]})

    @property
    def pem(self):
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, audience, header=None, without=(), **claims):
        """An assertion for `audience`; `claims` and `header` add and replace, `without` leaves out."""
        now = int(time.time())
        all = {"iss": self.client, "sub": self.client, "aud": audience, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
        all = {name: value for name, value in (all | claims).items() if name not in without}
        # PyJWT refuses to write what a mistaken client would: a number as `jti`, for example.
        return jwt.api_jws.encode(json.dumps(all).encode(), self.private, self.algorithm, {"kid": self.kid} | (header or {}))


MORE = 'grants = ["client_credentials"]\nprofiles = ["access_token"]\naudiences = ["api://default"]\n'


def entry(key, keys=None):
    """A client's entry; `keys` says where its keys are, if not right here."""
    keys = keys or f"jwks = {json.dumps(key.jwks)}"
    return f'\n[[clients]]\nid = "{key.client}"\nsecret_hashes = []\n{MORE}assertions = {{ {keys} }}\n'


def ask(server, assertion, headers=None, **parameters):
    """A request for a token with an assertion; a parameter that is None is left out."""
    form = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion} | parameters
    body = urlencode({name: value for name, value in form.items() if value is not None}).encode()
    return wire.ask(server, "POST", "/token", {"Content-Type": wire.FORM} | (headers or {}), body)
