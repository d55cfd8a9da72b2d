"""Issuers as they are: the exact form of their tokens and keys, and which of their tokens must be refused.

Each is described by its manual (Firebase "Verify ID tokens", Cognito "Verifying JSON web tokens", Auth0 "Validate JSON
Web Tokens", Okta "Validate access tokens", Entra "Access tokens" and "ID tokens", Google "Verify the Google ID token",
GitHub "OpenID Connect reference", STS `GetWebIdentityToken`, Kubernetes "Service account issuer discovery"). The tokens
are signed by libraries that people use, the keys are made here.
"""

import json
import subprocess
import time
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache, cached_property
from pathlib import Path

import joserfc.jwk
import joserfc.jwt
import jwt as pyjwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from libraries import authlib

ABSENT = object()
PYTHON, NODE = ["PyJWT", "joserfc", "Authlib"], ["jose", "jsonwebtoken"]
MAKERS = PYTHON + NODE


class Key:
    """A signing key with its public forms."""

    def __init__(self, kid, algorithm="RS256"):
        self.kid, self.algorithm, self.kty = kid, algorithm, "RSA" if algorithm[0] == "R" else "EC"
        curves = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1}
        if algorithm in curves:
            self.private = ec.generate_private_key(curves[algorithm]())
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def pem(self):
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def public(self, encoding=Encoding.PEM, form=PublicFormat.SubjectPublicKeyInfo):
        return self.private.public_key().public_bytes(encoding, form)

    def jwk(self, **members):
        """The public JWK; a member that is None is left out."""
        jwk = joserfc.jwk.import_key(self.public(), self.kty).as_dict(private=False)
        jwk |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"} | members
        return {name: value for name, value in jwk.items() if value is not None}

    @cached_property
    def certificate(self):
        """A certificate as Google makes them: self-signed, for about two weeks."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securetoken.system.gserviceaccount.com")])
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.private.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        signed = builder.not_valid_after(now + timedelta(days=16)).sign(self.private, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM).decode()


@cache
def key(kid, algorithm="RS256"):
    """The same key for the same name, as long as the tests run."""
    return Key(kid, algorithm)


@cache
def twin(of):
    """The key of an issuer that has named it as all its twins are named."""
    return Key("the same kid")


def sign(maker, key, header, claims):
    """A token by one of the Python libraries."""
    header = {"alg": key.algorithm, "kid": key.kid} | header
    if maker == "joserfc":
        private = joserfc.jwk.import_key(key.pem, key.kty)
        return joserfc.jwt.encode(header, claims, private, algorithms=[key.algorithm])
    if maker == "Authlib":
        with warnings.catch_warnings():
            # Its notice that this part of it moves to joserfc.
            warnings.simplefilter("ignore")
            return authlib.jose.JsonWebToken([key.algorithm]).encode(header, claims, key.pem).decode()
    return pyjwt.encode(claims, key.private, algorithm=key.algorithm, headers={"typ": None} | header)


def signed_by_node(wanted):
    """Tokens by the libraries of Node: `wanted` is a list of (maker, key, header, claims)."""
    jobs = [
        {"maker": maker, "key": key.pem, "header": {"alg": key.algorithm, "kid": key.kid} | header, "claims": claims}
        for maker, key, header, claims in wanted
    ]
    script = Path(__file__).with_name("node") / "sign.mjs"
    made = subprocess.run(["node", script], input=json.dumps(jobs), capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def raw(key, payload, header=None):
    """A token around any text at all, which libraries would not sign."""
    header = {"alg": key.algorithm, "kid": key.kid} | (header or {})
    return pyjwt.PyJWS().encode(payload.encode(), key.private, algorithm=key.algorithm, headers=header)


@dataclass
class Issuer:
    """One issuer.

    trust:    its entry in the configuration, without its keys.
    claims:   those of a good token, without its times.
    header:   what its tokens have beside `alg` and `kid`.
    members:  what its keys have beside the usual, or instead of it; None takes one away.
    context:  gate.context and what comes of it, beside `sub`, `iss` and `exp`: key → (claim, value).
    refused:  what it is → (changes of the claims, the code of the refusal).
    """

    name: str
    trust: dict
    claims: dict
    header: dict = field(default_factory=lambda: {"typ": "JWT"})
    algorithm: str = "RS256"
    members: dict = field(default_factory=dict)
    certificates: bool = False
    context: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)

    @property
    def key(self):
        return key(f"{self.name}-2026", self.algorithm)

    def document(self, *others):
        """Its keys as it publishes them."""
        keys = [self.key, *others]
        if self.certificates:
            return {one.kid: one.certificate for one in keys}
        return {"keys": [one.jwk(**self.members) for one in keys]}

    def payload(self, changes=None):
        now = int(time.time())
        claims = self.claims | {"iat": now - 5, "exp": now + 600} | (changes or {})
        return {name: value for name, value in claims.items() if value is not ABSENT}

    def token(self, changes=None, maker="PyJWT", by=None):
        return sign(maker, by or self.key, self.header, self.payload(changes))


GOOGLE_KEYS = {"max_age": 19204}
POOL = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEf123"
APP, OTHER_APP = "1example23456789", "9other8765432100"
TENANT, SECOND, STRANGER = (f"{digit * 8}-4444-4ccc-8ddd-{digit * 12}" for digit in "abc")
#: The tenant of personal accounts, which has keys of its own in the shared set.
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
ENTRA, ENTRA_V1 = "https://login.microsoftonline.com/{}/v2.0", "https://sts.windows.net/{}/"
ENTRA_APP = "6e74172b-be56-4843-9ff4-e66a39bb12e3"
GRAPH = "00000003-0000-0000-c000-000000000000"
GOOGLE_APP = "1234567890-abc123def456.apps.googleusercontent.com"
STS = "https://0a1b2c3d-1111-2222-3333-444455556666.tokens.sts.global.api.aws"
CLUSTER = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"

FIREBASE = Issuer(
    "firebase",
    {"preset": "firebase", "id": "demo-project-1"},
    {
        "name": "Ada", "iss": "https://securetoken.google.com/demo-project-1", "aud": "demo-project-1",
        "auth_time": 1700000000, "user_id": "kR9xFq2bS6VvNf0aT1uWc3yZ4eE2", "sub": "kR9xFq2bS6VvNf0aT1uWc3yZ4eE2",
        "email": "ada@example.com", "email_verified": True,
        "firebase": {"identities": {"email": ["ada@example.com"]}, "sign_in_provider": "password"},
    },
    certificates=True,
    context={"provider": ("/firebase/sign_in_provider", "password")},
    refused={
        "another project's audience": ({"aud": "demo-project-2"}, "claim_mismatch"),
        "another project": (
            {"aud": "demo-project-2", "iss": "https://securetoken.google.com/demo-project-2"}, "issuer_unknown",
        ),
        "a session cookie": ({"iss": "https://session.firebase.google.com/demo-project-1"}, "issuer_unknown"),
        "a custom token": (
            {
                "iss": "firebase-adminsdk@demo-project-1.iam.gserviceaccount.com", "uid": "u",
                "sub": "firebase-adminsdk@demo-project-1.iam.gserviceaccount.com",
                "aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
            },
            "issuer_unknown",
        ),
        "an empty subject": ({"sub": ""}, "subject_unacceptable"),
        "a subject of 129 characters": ({"sub": "u" * 129}, "subject_unacceptable"),
        "no subject": ({"sub": ABSENT}, "subject_unacceptable"),
    },
)
ACCESS = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["admins", "staff"], "iss": POOL, "version": 2,
    "client_id": APP, "origin_jti": "bbbbbbbb-cccc-dddd-eeee-ffffffffffff", "token_use": "access",
    "scope": "phone openid profile email", "auth_time": 1700000000, "jti": "cccccccc-dddd-eeee-ffff-aaaaaaaaaaaa",
    "username": "ada",
}
ID = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["admins", "staff"], "email_verified": True,
    "cognito:preferred_role": "arn:aws:iam::111122223333:role/example", "iss": POOL, "cognito:username": "ada",
    "nonce": "abcdefg", "origin_jti": "bbbbbbbb-cccc-dddd-eeee-ffffffffffff", "aud": APP, "token_use": "id",
    "auth_time": 1700000000, "jti": "cccccccc-dddd-eeee-ffff-aaaaaaaaaaaa", "email": "ada@example.com",
}


def instead(good, other):
    """The changes that make another token of a good one."""
    return {name: ABSENT for name in good} | other


COGNITO_ACCESS = Issuer(
    "cognito-access",
    {"preset": "cognito", "id": "eu-west-1_AbCdEf123", "audiences": [APP]},
    ACCESS,
    header={},
    context={"client": ("client_id", APP), "groups": ("cognito:groups", '["admins","staff"]')},
    refused={
        "an ID token": (instead(ACCESS, ID), "claim_mismatch"),
        "another app": ({"client_id": OTHER_APP}, "claim_mismatch"),
        "an audience beside the client": ({"aud": "https://resource.example"}, "claim_mismatch"),
        "no client": ({"client_id": ABSENT}, "claim_missing"),
        "no token_use": ({"token_use": ABSENT}, "claim_missing"),
        "another pool": ({"iss": POOL.replace("AbCdEf123", "ZyXwVu987")}, "issuer_unknown"),
        "another region": ({"iss": POOL.replace("eu-west-1.", "us-east-1.")}, "issuer_unknown"),
    },
)
COGNITO_ID = Issuer(
    "cognito-id",
    {"preset": "cognito", "id": "eu-west-1_AbCdEf123", "audiences": [APP], "token_use": "id"},
    ID,
    header={},
    context={"user": ("cognito:username", "ada"), "verified": ("email_verified", True)},
    refused={
        "an access token": (instead(ID, ACCESS), "claim_mismatch"),
        "another app": ({"aud": OTHER_APP}, "claim_mismatch"),
        "another app beside this client": ({"aud": OTHER_APP, "client_id": APP}, "claim_mismatch"),
        "another pool": ({"iss": POOL.replace("AbCdEf123", "ZyXwVu987")}, "issuer_unknown"),
    },
)
AUTH0 = Issuer(
    "auth0",
    {"preset": "auth0", "id": "tenant.eu.auth0.com", "audiences": ["https://api.example"]},
    {
        "iss": "https://tenant.eu.auth0.com/", "sub": "auth0|62f1c0ffee", "scope": "openid profile read:orders",
        "aud": ["https://api.example", "https://tenant.eu.auth0.com/userinfo"], "azp": "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345",
    },
    context={"client": ("azp", "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345")},
    refused={
        "an ID token": ({"aud": "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345"}, "claim_mismatch"),
        "an audience of userinfo alone": ({"aud": ["https://tenant.eu.auth0.com/userinfo"]}, "claim_mismatch"),
        "another tenant": ({"iss": "https://other.eu.auth0.com/"}, "issuer_unknown"),
        "an issuer without the final slash": ({"iss": "https://tenant.eu.auth0.com"}, "issuer_unknown"),
        "an audience with a final slash": ({"aud": "https://api.example/"}, "claim_mismatch"),
    },
)
OKTA = Issuer(
    "okta",
    {"preset": "okta", "id": "https://dev-1.okta.com/oauth2/aus1abc", "audiences": ["api://default"]},
    {
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": "https://dev-1.okta.com/oauth2/aus1abc",
        "aud": "api://default", "sub": "ada@example.com", "cid": "0oa1app", "uid": "00u1ada",
        "scp": ["openid", "orders.read"], "auth_time": 1700000000,
    },
    header={},
    context={"user": ("uid", "00u1ada"), "scopes": ("scp", '["openid","orders.read"]')},
    refused={
        "an ID token": ({"aud": "0oa1app", "cid": ABSENT, "scp": ABSENT}, "claim_mismatch"),
        "another server": ({"iss": "https://dev-1.okta.com/oauth2/default"}, "issuer_unknown"),
        "the org server": ({"iss": "https://dev-1.okta.com", "aud": "https://dev-1.okta.com"}, "issuer_unknown"),
        "another org": ({"iss": "https://dev-2.okta.com/oauth2/aus1abc"}, "issuer_unknown"),
    },
)
ENTRA_V2_CLAIMS = {
    "aud": ENTRA_APP, "iss": ENTRA.format(TENANT), "azp": "d5a1a3ae-ef1b-4c0a-9a6c-fe31b1eab3b5", "azpacr": "1",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "rh": "0.AX0A", "scp": "access_as_user", "sub": "HKZpfaHyWadeOouY",
    "tid": TENANT, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0",
}
#: No `alg`, and whose it is.
ENTRA_KEY = {"alg": None, "issuer": ENTRA.format("{tenantid}")}
ENTRA_HEADER = {"typ": "JWT", "x5t": "T1St-dLTvyWRgxB_676u8krXS-I"}
ENTRA_CONTEXT = {"tenant": ("tid", TENANT), "object": ("oid", "690222be-ff1a-4d56-abd1-7e4f7d38e474")}
ENTRA_ONE = Issuer(
    "entra",
    {"preset": "entra", "id": TENANT, "audiences": [ENTRA_APP]},
    ENTRA_V2_CLAIMS | {"nbf": 1700000000},
    header=ENTRA_HEADER,
    members=ENTRA_KEY,
    context=ENTRA_CONTEXT,
    refused={
        "another tenant": ({"iss": ENTRA.format(SECOND), "tid": SECOND}, "issuer_unknown"),
        "another tenant under this issuer": ({"tid": SECOND}, "claim_mismatch"),
        "no tenant": ({"tid": ABSENT}, "claim_missing"),
        "a v1 token": ({"iss": ENTRA_V1.format(TENANT), "ver": "1.0"}, "issuer_unknown"),
        "a token for Graph": ({"aud": GRAPH}, "claim_mismatch"),
        "another app": ({"aud": "api://" + ENTRA_APP}, "claim_mismatch"),
    },
)


def entra_many(id):
    return Issuer(
        f"entra-{id}",
        {"preset": "entra", "id": id, "tenants": [TENANT, SECOND], "audiences": [ENTRA_APP]},
        ENTRA_V2_CLAIMS,
        header=ENTRA_HEADER,
        members=ENTRA_KEY,
        context=ENTRA_CONTEXT,
        refused={
            "a tenant that is not listed": ({"iss": ENTRA.format(STRANGER), "tid": STRANGER}, "issuer_unknown"),
            "a personal account": ({"iss": ENTRA.format(PERSONAL), "tid": PERSONAL}, "issuer_unknown"),
            "two listed tenants": ({"tid": SECOND}, "claim_mismatch"),
            "no tenant": ({"tid": ABSENT}, "claim_missing"),
            "the placeholder as issuer": ({"iss": ENTRA.format("{tenantid}"), "tid": "{tenantid}"}, "issuer_unknown"),
            "the alias as issuer": ({"iss": ENTRA.format(id)}, "issuer_unknown"),
            "a v1 token": ({"iss": ENTRA_V1.format(TENANT), "ver": "1.0"}, "issuer_unknown"),
            "a token for Graph": ({"aud": GRAPH}, "claim_mismatch"),
        },
    )


ENTRA_OLD = Issuer(
    "entra-v1",
    {"issuer": ENTRA_V1.format(TENANT), "audiences": ["api://" + ENTRA_APP], "claims": {"tid": TENANT}},
    {
        "aud": "api://" + ENTRA_APP, "iss": ENTRA_V1.format(TENANT), "acr": "1", "aio": "AXQAi", "amr": ["pwd"],
        "appid": "d5a1a3ae-ef1b-4c0a-9a6c-fe31b1eab3b5", "appidacr": "0", "ipaddr": "203.0.113.7",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "scp": "access_as_user", "sub": "l3_roISQU222bULS9yi2k0Xp",
        "tid": TENANT, "unique_name": "ada@example.com", "uti": "FVsGxYXI30-TuikuuUoFAA", "ver": "1.0",
    },
    header=ENTRA_HEADER,
    members=ENTRA_KEY,
    context=ENTRA_CONTEXT,
    refused={
        "a v2 token": ({"iss": ENTRA.format(TENANT), "aud": ENTRA_APP, "ver": "2.0"}, "issuer_unknown"),
        "another tenant": ({"iss": ENTRA_V1.format(SECOND), "tid": SECOND}, "issuer_unknown"),
        "another tenant under this issuer": ({"tid": SECOND}, "claim_mismatch"),
        "an issuer without the final slash": ({"iss": ENTRA_V1.format(TENANT)[:-1]}, "issuer_unknown"),
        "a token for Graph": ({"aud": GRAPH}, "claim_mismatch"),
    },
)
GOOGLE_CLAIMS = {
    "iss": "https://accounts.google.com", "azp": GOOGLE_APP, "aud": GOOGLE_APP, "sub": "10769150350006150715113082367",
    "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "hd": "example.com", "email": "ada@example.com", "email_verified": True,
}
GOOGLE = Issuer(
    "google",
    {"preset": "google", "id": GOOGLE_APP},
    GOOGLE_CLAIMS,
    context={"domain": ("hd", "example.com"), "verified": ("email_verified", True)},
    refused={
        "another app": ({"aud": "987-zzz.apps.googleusercontent.com"}, "claim_mismatch"),
        "an app of the same maker that asked for this one": (
            {"aud": "987-zzz.apps.googleusercontent.com", "azp": GOOGLE_APP}, "claim_mismatch",
        ),
        "no subject": ({"sub": ABSENT}, "claim_missing"),
        "an issuer with another scheme": ({"iss": "http://accounts.google.com"}, "issuer_unknown"),
        "an issuer with a final slash": ({"iss": "https://accounts.google.com/"}, "issuer_unknown"),
    },
)
GOOGLE_SHORT = Issuer("google-short", GOOGLE.trust, GOOGLE_CLAIMS | {"iss": "accounts.google.com"}, context=GOOGLE.context)
GITHUB = Issuer(
    "github-actions",
    {"preset": "github-actions", "id": "583231", "audiences": ["https://deploy.example"]},
    {
        "jti": "example-id", "sub": "repo:octocat@583231/my-repo@456789:ref:refs/heads/main",
        "aud": "https://deploy.example", "iss": "https://token.actions.githubusercontent.com",
        "ref": "refs/heads/main", "ref_type": "branch", "sha": "cafebabe" * 5, "repository": "octocat/my-repo",
        "repository_id": "456789", "repository_owner": "octocat", "repository_owner_id": "583231",
        "repository_visibility": "private", "actor": "octocat", "actor_id": "12", "workflow": "deploy",
        "event_name": "push", "environment": "prod", "runner_environment": "github-hosted", "run_id": "30433642",
        "job_workflow_ref": "octocat/my-repo/.github/workflows/deploy.yml@refs/heads/main",
    },
    header={"typ": "JWT", "x5t": "ykNaY4qM_ta4k2TgZOCEYLkcYlA"},
    context={"repository": ("repository_id", "456789"), "environment": ("environment", "prod")},
    refused={
        "another owner": (
            {
                "repository_owner_id": "666", "repository_owner": "mallory", "repository": "mallory/my-repo",
                "sub": "repo:mallory@666/my-repo@1:ref:refs/heads/main",
            },
            "claim_mismatch",
        ),
        "an owner who took over the name": ({"repository_owner_id": "666"}, "claim_mismatch"),
        "an owner's id as a number": ({"repository_owner_id": 583231}, "claim_mismatch"),
        "no owner's id": ({"repository_owner_id": ABSENT}, "claim_missing"),
        "the default audience": ({"aud": "https://github.com/octocat"}, "claim_mismatch"),
        "an issuer of an enterprise": (
            {"iss": "https://token.actions.githubusercontent.com/octocat-inc"}, "issuer_unknown",
        ),
    },
)


def aws_sts(algorithm):
    return Issuer(
        f"aws-sts-{algorithm.lower()}",
        {"preset": "aws-sts", "id": STS, "audiences": ["https://api.example"]},
        {
            "aud": "https://api.example", "sub": "arn:aws:iam::123456789012:role/DataProcessingRole", "iss": STS,
            "jti": "xyz123-def456-ghi789", "https://sts.amazonaws.com/": {
                "aws_account": "123456789012", "source_region": "us-east-1", "org_id": "o-abc1234567",
                "principal_tags": {"environment": "production"}, "request_tags": {"job-id": "job-2026"},
            },
        },
        algorithm=algorithm,
        context={"account": ("/https:~1~1sts.amazonaws.com~1/aws_account", "123456789012")},
        refused={
            "another account": ({"iss": STS.replace("0a1b2c3d", "ffffffff")}, "issuer_unknown"),
            "another audience among several": ({"aud": ["https://a.example", "https://b.example"]}, "claim_mismatch"),
            "no subject": ({"sub": ABSENT}, "claim_missing"),
        },
    )


KUBERNETES = Issuer(
    "kubernetes",
    {"preset": "kubernetes", "id": CLUSTER, "audiences": ["https://api.example"]},
    {
        "aud": ["https://api.example"], "iss": CLUSTER, "jti": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "ip-10-0-0-7", "uid": "1"}, "pod": {"name": "cart-0", "uid": "2"},
            "serviceaccount": {"name": "cart", "uid": "3"},
        },
        "nbf": 1700000000, "sub": "system:serviceaccount:shop:cart",
    },
    header={},
    context={"namespace": ("/kubernetes.io/namespace", "shop")},
    refused={
        "another cluster": ({"iss": CLUSTER.replace("EXAMPLE", "ANOTHER")}, "issuer_unknown"),
        "an audience of the API server": ({"aud": ["https://kubernetes.default.svc"]}, "claim_mismatch"),
        "no subject": ({"sub": ABSENT}, "claim_missing"),
    },
)
ALL = {
    issuer.name: issuer
    for issuer in [
        FIREBASE, COGNITO_ACCESS, COGNITO_ID, AUTH0, OKTA, ENTRA_ONE, entra_many("organizations"), entra_many("common"),
        ENTRA_OLD, GOOGLE, GOOGLE_SHORT, GITHUB, aws_sts("RS256"), aws_sts("ES384"), KUBERNETES,
    ]
}
