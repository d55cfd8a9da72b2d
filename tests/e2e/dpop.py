"""DPoP proofs (RFC 9449), made with PyJWT and cryptography, right and wrong in any way."""

import base64
import hashlib
import json
import time
import uuid
from urllib.parse import urlencode

import jwt
from e2e import wire
from e2e.assertions import MAKE
from e2e.program import SECRET

GRANT = {"grant_type": "client_credentials"}


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Holder:
    """Who holds a key."""

    def __init__(self, algorithm="ES256"):
        self.algorithm, self.private = algorithm, MAKE[algorithm]()
        to_jwk = jwt.get_algorithm_by_name(algorithm).to_jwk
        public, private = (json.loads(to_jwk(key)) for key in (self.private.public_key(), self.private))
        self.jwk = {name: public[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in public}
        self.whole_jwk = self.jwk | {name: private[name] for name in ("d",)}

    @property
    def jkt(self):
        """The thumbprint of RFC 7638."""
        return b64(hashlib.sha256(json.dumps(self.jwk, separators=(",", ":"), sort_keys=True).encode()).digest())

    def proof(self, url, method="POST", token=None, header=None, without=(), **claims):
        """A proof; `claims` and `header` add and replace, `without` leaves out."""
        all = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            all["ath"] = b64(hashlib.sha256(token.encode()).digest())
        all = {name: value for name, value in (all | claims).items() if name not in without}
        head = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk} | (header or {})
        head = {name: value for name, value in head.items() if name not in without}
        # PyJWT would not write all that a mistaken client does.
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(all).encode())
        return text + "." + b64(jwt.get_algorithm_by_name(self.algorithm).sign(text.encode(), self.private))


def ask(issuer, proofs, id="worker", form=GRANT, secret=SECRET):
    """A request for a token with these values of the header `DPoP`."""
    headers = [("Content-Type", wire.FORM), ("Authorization", wire.basic(id, secret)), *(("DPoP", proof) for proof in proofs)]
    return wire.ask(issuer, "POST", "/token", headers, urlencode(form).encode())
