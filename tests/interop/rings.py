"""An issuer that has a ring for every algorithm, and whose private keys the test has too.

So its key set is one of all kinds mixed, and a token that is bad in one way alone can be made: expired,
or for another audience, and signed with the right key.
"""

import json
import time

import joserfc.jwk
import joserfc.jwt
from authority import AUDIENCE, CLIENT
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from libraries import ASYMMETRIC, b64url, b64url_decode

CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}


def new_key(algorithm, kid):
    """A private key made here."""
    kind = joserfc.jwk.RSAKey
    if algorithm in CURVES:
        kind = joserfc.jwk.ECKey if algorithm.startswith("ES") else joserfc.jwk.OKPKey
    options = {"kid": kid, "alg": algorithm, "use": "sig"}
    return kind.generate_key(CURVES.get(algorithm, 2048), options, private=True)


def configuration(issuer, jwks=""):
    rings = "".join(f'[rings.{a.lower()}]\nalgorithm = "{a}"\n' for a in ASYMMETRIC)
    return f'issuer = "{issuer}"\n{rings}[jwks]\n{jwks}\n{CLIENT}'


class Rings:
    """A running authority with these keys, one for each algorithm."""

    def __init__(self, start, keys, issuer="@ISSUER@", jwks=""):
        self.keys = keys
        self.authority = start(configuration(issuer, jwks), before=self.bring_in)
        self.issuer = self.authority.issuer

    def bring_in(self, new):
        for algorithm, key in self.keys.items():
            jwk = json.dumps(key.as_dict(private=True))
            new.run("keys", "import", "-", "--ring", algorithm.lower(), "--activate", input=jwk)

    def sign(self, algorithm, claims):
        """A token as Countersign signs it with the key of one ring."""
        ring = {"COUNTERSIGN_PROFILES__JWT__RING": algorithm.lower()}
        return self.authority.run("sign", "--claims", json.dumps(claims), env=ring).stdout.strip()

    def claims(self, **changes):
        """What a good token says; a change to None leaves the claim out."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": AUDIENCE, "sub": "alice"}
        claims |= {"iat": now - 5, "nbf": now - 5, "exp": now + 3600}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def forge(self, algorithm, claims=None, key=None, **header):
        """A token made here, with the ring's own key and name unless told otherwise."""
        key = key or self.keys[algorithm]
        named = {"alg": algorithm, "typ": "JWT", "kid": key.kid} | header
        named = {name: value for name, value in named.items() if value is not None}
        return joserfc.jwt.encode(named, claims or self.claims(), key, algorithms=[algorithm])

    def salted(self, algorithm, length):
        """A token with a PSS signature of the ring's own key whose salt has this many bytes."""
        signed = self.forge(algorithm).rpartition(".")[0]
        hash = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}[algorithm[2:]]()
        pss = padding.PSS(padding.MGF1(hash), length)
        return f"{signed}.{b64url(self.keys[algorithm].private_key.sign(signed.encode(), pss, hash))}"

    def bad_tokens(self, algorithm):
        """What is wrong → a token of which that alone is wrong."""
        good, now, hour = self.forge(algorithm), int(time.time()), 3600
        kid = self.keys[algorithm].kid
        stranger = new_key(algorithm, "stranger")
        return {
            "expired": self.forge(algorithm, self.claims(iat=now - 2 * hour, nbf=now - 2 * hour, exp=now - hour)),
            "from the future": self.forge(
                algorithm, self.claims(iat=now + hour, nbf=now + hour, exp=now + 2 * hour)),
            "another audience": self.forge(algorithm, self.claims(aud="api://other")),
            "another issuer": self.forge(algorithm, self.claims(iss="https://other.example")),
            "another key of the same name": self.forge(algorithm, key=stranger, kid=kid),
            "an unknown key": self.forge(algorithm, key=stranger),
            "an unknown key without a name": self.forge(algorithm, key=stranger, kid=None),
            "changed payload": tampered(good),
            "alg none": unsigned({"alg": "none", "typ": "JWT", "kid": kid}, self.claims()),
            "alg none without a name": unsigned({"alg": "none"}, self.claims()),
        }


def tampered(token, old=b'"sub":"alice"', new=b'"sub":"mallory"'):
    """The same header and signature around other claims."""
    header, payload, signature = token.split(".")
    claims = b64url_decode(payload)
    assert old in claims
    return ".".join([header, b64url(claims.replace(old, new)), signature])


def unsigned(header, claims):
    """A token with nothing in place of the signature."""
    return "".join(f"{b64url(json.dumps(part).encode())}." for part in (header, claims))
