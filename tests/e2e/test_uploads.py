"""Trusted uploads: what `POST /uploads` gives, to whom, and that a bucket takes from it what it says and nothing else.

The bucket is versitygw's, which checks signatures and enforces policies (tests/servers/versitygw.py); signatures are compared with
botocore's; tokens are verified with PyJWT and jose. `CASES` is the table of forms that are tampered with.
"""

import base64
import copy
import filecmp
import hashlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import boto3
import jwt as pyjwt
import pytest
from authority import authorities
from botocore.config import Config
from e2e import wire
from e2e.program import client
from e2e.test_token_clients import node
from e2e.uploading import (
    CLAIMS, PAGE, PAGES, PNG, PROFILE, ask, configuration, destination, envelope, permitted, policy, post, signature, signed, uploader,
)
from e2e.wire import FORM
from servers.versitygw import VersityGW

SHA256 = base64.b64encode(hashlib.sha256(PNG).digest()).decode()
OTHER_SHA256 = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
CREDENTIALS = 'access_key_id = "{0.key_id}"\nsecret_access_key = "env:BUCKET_SECRET"\n'


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.bucket()


@pytest.fixture(scope="module")
def start(full_binary, tmp_path_factory):
    with authorities(full_binary, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def server(start, s3, bucket):
    keys = CREDENTIALS.format(s3)
    return start(configuration(
        destination("photos", bucket, s3.url, more=keys),
        destination("papers", bucket, s3.url, "in/{tenant}/{sub}/{jti}.pdf", ("application/pdf", "text/plain"), 5000, keys + 'lifetime = "1h"\n'),
        destination("hashed", bucket, s3.url, more=keys + "require_sha256 = true\n"),
        # Credentials of AWS's chain: here of the environment, with a session token.
        destination("session", bucket, s3.url),
        uploader("web", "photos"), uploader("papers", "papers"), uploader("hashed", "hashed"), uploader("session", "session"),
        uploader("any", "*"), uploader("both", "photos", "papers"),
        uploader("fixed", "papers", more=PAGES + 'claims = { allow = ["sub"], fixed = { tenant = "acme" } }\nmax_lifetime = "2m"\n'),
        client("signer", more=PAGES + CLAIMS),
        client("granted", more='audiences = ["api://default"]\ngrants = ["client_credentials"]\nprofiles = ["access_token"]\nintrospect = ["*"]\n'),
        server=False,
    ), env={
        "BUCKET_SECRET": s3.secret, "AWS_ACCESS_KEY_ID": s3.key_id, "AWS_SECRET_ACCESS_KEY": s3.secret, "AWS_SESSION_TOKEN": "a/session+token==",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    })


# What is given.

def test_the_answer_and_the_token_have_their_form(server, s3, bucket):
    asked = {"data": {"sub": "alice"}, "upload": {"to": "photos", "content_type": "image/png", "sha256": SHA256}}
    answer = ask(server, asked)
    body = answer.json()
    assert set(body) == {"upload_token", "expires_in", "kid", "jti", "bucket", "key"} and body["expires_in"] == 295
    assert answer.headers["cache-control"] == "no-store" and answer.headers["content-type"] == "application/json"
    token = body["upload_token"]
    assert wire.header(token) == {"alg": "ES256", "kid": body["kid"], "typ": "upload+jwt"}
    claims = permitted(answer)
    assert set(claims) == {"iss", "aud", "iat", "nbf", "exp", "jti", "sub", "upload"}
    assert (claims["aud"], claims["sub"], claims["jti"]) == (PAGE, "alice", body["jti"])
    upload, fields = claims["upload"], claims["upload"]["fields"]
    assert upload == {
        "to": "photos", "method": "POST", "url": f"{s3.url}/{bucket}", "fields": fields, "key_prefix": "uploads/alice/",
        "content_types": ["image/png"], "min_bytes": 1, "max_bytes": 1000, "expires": claims["exp"], "sha256": SHA256,
    }
    assert list(fields) == [
        "key", "Content-Type", "x-amz-meta-jti", "success_action_status", "x-amz-checksum-sha256", "x-amz-algorithm",
        "x-amz-credential", "x-amz-date", "policy", "x-amz-signature"]
    assert fields["key"] == body["key"] and fields["key"].startswith("uploads/alice/") and body["bucket"] == bucket
    assert fields["x-amz-meta-jti"] == claims["jti"] and claims["exp"] - claims["iat"] == 300
    assert s3.secret not in answer.body.decode()


def test_libraries_verify_the_token_by_its_type(server):
    token = ask(server, {"data": {"sub": "alice"}}).json()["upload_token"]
    key = pyjwt.PyJWKClient(f"{server.issuer}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = pyjwt.decode(
        token, key, algorithms=["ES256"], issuer=server.issuer, audience=PAGE, options={"require": ["exp", "jti", "sub", "upload"]})
    found = node("upload_envelope.mjs", server, audience=PAGE, token=token)
    assert found["payload"] == claims and found["protectedHeader"]["typ"] == "upload+jwt"
    assert found["other"] == "ERR_JWT_CLAIM_VALIDATION_FAILED", "it is taken for an access token"
    with pytest.raises(pyjwt.InvalidAudienceError):
        pyjwt.decode(token, key, algorithms=["ES256"], issuer=server.issuer, audience="https://evil.example.com")


@pytest.mark.parametrize("id, upload", [
    ("web", {}), ("web", {"bytes": 100, "sha256": SHA256}), ("papers", {"content_type": "text/plain"}), ("session", {}),
])
def test_the_policy_is_what_the_token_says_and_signed_as_botocore_signs(server, s3, bucket, id, upload):
    given = envelope(server, id=id, claims={"tenant": "acme"}, **upload)
    fields = given["fields"]
    assert fields["x-amz-signature"] == signature(fields, s3.secret)
    found = policy(fields)
    ends = datetime.strptime(found["expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert int(ends.timestamp()) == given["expires"]
    named = {name: value for name, value in fields.items() if name not in ("policy", "x-amz-signature")}
    exact = [condition for condition in found["conditions"] if isinstance(condition, dict)]
    assert exact == [{"bucket": bucket}, *({name: value} for name, value in named.items())]
    ranges = [condition for condition in found["conditions"] if not isinstance(condition, dict)]
    assert ranges == [["content-length-range", given["min_bytes"], given["max_bytes"]]]
    assert ("x-amz-security-token" in named) == (id == "session")


def test_two_forms_have_two_keys_and_two_names(server):
    given = [permitted(ask(server, {"data": {"sub": "alice"}})) for _ in range(10)]
    assert len({claims["upload"]["fields"]["key"] for claims in given}) == len({claims["jti"] for claims in given}) == 10


def test_lifetimes_are_those_of_destination_and_client_whichever_is_less(server):
    for id, seconds in [("web", 300), ("papers", 3600), ("fixed", 120)]:
        claims = permitted(ask(server, {"data": {"sub": "a"} | ({"tenant": "t"} if id == "papers" else {}), "upload": {"content_type": "text/plain"}}
                               if id != "web" else {"data": {"sub": "a"}}, id))
        assert claims["exp"] - claims["iat"] == seconds and claims["upload"]["expires"] == claims["exp"], id
    claims = permitted(ask(server, {"data": {"sub": "a"}, "metadata": {"duration": 61, "audience": "https://other.example.com"}}))
    assert claims["exp"] - claims["iat"] == 61 and claims["aud"] == "https://other.example.com"


def test_sign_and_the_command_line_give_the_same(server):
    signed_at_sign = ask(server, {"data": {"sub": "a"}, "profile": "upload"}, path="/sign").json()
    assert signed_at_sign["token_type"] == "N_A", "it is no access token"
    claims = json.loads(wire.claims(signed_at_sign["access_token"]))
    assert claims["upload"]["key_prefix"] == "uploads/a/"
    upload = json.dumps({"to": "hashed", "sha256": SHA256})
    token = server.run("sign", "--profile", "upload", "--claims", '{"sub":"b"}', "--upload", upload).stdout.strip()
    assert json.loads(wire.claims(token))["upload"]["sha256"] == SHA256 and wire.header(token)["typ"] == "upload+jwt"
    refused = server.run("sign", "--profile", "upload", "--claims", '{"sub":"b"}', "--upload", '{"bytes":"7"}', check=False)
    assert refused.returncode == 2 and "--upload: `upload.bytes`" in refused.stderr


def test_a_form_body_carries_the_same_members(server):
    form = urlencode({"data": '{"sub":"bob"}', "upload": json.dumps({"bytes": 7, "sha256": SHA256}), "metadata": '{"duration":60}'})
    upload = permitted(ask(server, form, **{"Content-Type": FORM}))["upload"]
    assert (upload["min_bytes"], upload["max_bytes"], upload["sha256"]) == (7, 7, SHA256)


# Who gets it, and what is refused.

BAD = {
    "no subject": ("web", {"data": {}}, 400, "`data.sub` is missing or empty"),
    "an empty subject": ("web", {"data": {"sub": ""}}, 400, "`data.sub` is missing or empty"),
    "a subject that is a number": ("web", {"data": {"sub": 7}}, 400, "sub"),
    "a huge subject": ("web", {"data": {"sub": "x" * 300}}, 400, "longer than 255 bytes"),
    "a subject that grows": ("web", {"data": {"sub": "/" * 90}}, 400, "longer than 255 bytes"),
    "no claim for the key": ("papers", {"data": {"sub": "a"}, "upload": {"content_type": "text/plain"}}, 400, "the claim `tenant` is missing"),
    "an empty claim": ("papers", {"data": {"sub": "a", "tenant": ""}, "upload": {"content_type": "text/plain"}}, 400, "`tenant` is empty"),
    "a list as a claim": ("papers", {"data": {"sub": "a", "tenant": ["t"]}, "upload": {"content_type": "text/plain"}}, 400, "not a string"),
    "a claim of another": ("fixed", {"data": {"sub": "a", "tenant": "other"}, "upload": {"content_type": "text/plain"}}, 403, "claims.fixed"),
    "the form as a claim": ("web", {"data": {"sub": "a", "upload": {}}}, 403, "claims.allow"),
    "a claim that is not allowed": ("web", {"data": {"sub": "a", "admin": True}}, 403, "claims.allow"),
    "a time of one's own": ("web", {"data": {"sub": "a", "exp": 9}}, 400, "set by the issuer"),
    "a jti of one's own": ("web", {"data": {"sub": "a", "jti": "x"}}, 400, "set by the issuer"),
    "no destination where there are two": ("both", {"data": {"sub": "a"}}, 400, "`upload.to` is missing"),
    "another's destination": ("web", {"data": {"sub": "a"}, "upload": {"to": "papers"}}, 403, "rule: uploads"),
    "no such destination": ("web", {"data": {"sub": "a"}, "upload": {"to": "nowhere"}}, 403, "rule: uploads"),
    "no such destination for one that may all": ("any", {"data": {"sub": "a"}, "upload": {"to": "nowhere"}}, 400, "configured are: hashed, papers"),
    "no type where there are two": ("papers", {"data": {"sub": "a", "tenant": "t"}}, 400, "`upload.content_type` must be one of"),
    "another type": ("web", {"data": {"sub": "a"}, "upload": {"content_type": "text/html"}}, 400, "`upload.content_type` must be one of"),
    "two types in one": ("web", {"data": {"sub": "a"}, "upload": {"content_type": "image/png,text/html"}}, 400, "`upload.content_type` must be"),
    "a type with a parameter": ("web", {"data": {"sub": "a"}, "upload": {"content_type": "image/png; a=b"}}, 400, "`upload.content_type` must be"),
    "the type in capitals": ("web", {"data": {"sub": "a"}, "upload": {"content_type": "IMAGE/PNG"}}, 400, "`upload.content_type` must be"),
    "too many bytes": ("web", {"data": {"sub": "a"}, "upload": {"bytes": 1001}}, 400, "`upload.bytes`: 1001 are not the 1 to 1000 bytes"),
    "no bytes": ("web", {"data": {"sub": "a"}, "upload": {"bytes": 0}}, 400, "`upload.bytes`: 0 are not"),
    "bytes as text": ("web", {"data": {"sub": "a"}, "upload": {"bytes": "7"}}, 400, "`upload.bytes` must be"),
    "no hash where one is needed": ("hashed", {"data": {"sub": "a"}}, 400, "`upload.sha256` is missing"),
    "a hash in hexadecimal": ("hashed", {"data": {"sub": "a"}, "upload": {"sha256": hashlib.sha256(PNG).hexdigest()}}, 400, "`upload.sha256` must be"),
    "a key of one's own": ("web", {"data": {"sub": "a"}, "upload": {"key": "uploads/bob/x"}}, 400, "unknown member 'key' in `upload`"),
    "a url of one's own": ("web", {"data": {"sub": "a"}, "upload": {"url": "https://evil.example"}}, 400, "unknown member 'url' in `upload`"),
    "an upload that is a list": ("web", {"data": {"sub": "a"}, "upload": []}, 400, "`upload` must be a JSON object"),
    "another profile": ("web", {"data": {"sub": "a"}, "profile": "jwt"}, 400, "`profile` has no place at this path"),
    "longer than the destination": ("web", {"data": {"sub": "a"}, "metadata": {"duration": 301}}, 400, "live 300 s at most"),
    "longer than the client": ("fixed", {"data": {"sub": "a"}, "metadata": {"duration": 121}}, 403, "rule: max_lifetime"),
    "another page": ("web", {"data": {"sub": "a"}, "metadata": {"audience": "https://evil.example"}}, 403, "rule: audiences"),
    "two pages": ("web", {"data": {"sub": "a"}, "metadata": {"audience": [PAGE, "https://other.example.com"]}}, 400, "is for one page"),
    "a client without the profile": ("signer", {"data": {"sub": "a"}}, 403, "rule: profiles"),
    "a client of the grants": ("granted", {"data": {"sub": "a"}}, 403, "rule: profiles"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused_by_its_name(server, case):
    id, body, status, says = BAD[case]
    answer = ask(server, body, id)
    assert answer.status == status and says in answer.json()["error_description"], answer
    assert answer.json()["error"] == ("access_denied" if status == 403 else "invalid_request"), answer


def test_nobody_gets_one_without_proof_of_who_asks(server):
    for body, secret, status in [({"data": {"sub": "a"}}, "wrong", 401), ("[]", "wrong", 400), ("{", "wrong", 400)]:
        answer = ask(server, body, secret=secret)
        assert answer.status == status and "upload_token" not in answer.body.decode(), answer
    assert ask(server, {"data": {"sub": "a"}}, Authorization=None).status == 401
    assert ask(server, {"data": {"sub": "a"}}, **{"Content-Type": "text/plain"}).status == 415
    assert wire.get(server.issuer, "/uploads").status == 405
    assert ask(server, '{"data":{"sub":"' + "a" * 70_000 + '"}}').status == 413


def test_an_upload_has_no_place_in_another_profile(server):
    answer = ask(server, {"data": {"sub": "a"}, "upload": {"to": "photos"}}, "signer", "/sign")
    assert answer.status == 400 and "`upload` has no place in profile jwt" in answer.json()["error_description"]


def test_without_destinations_there_is_no_such_path(start):
    plain = start(configuration(client("web"), server=False))
    assert ask(plain, {"data": {"sub": "a"}}).status == 404


def test_it_is_no_access_token_to_introspection(server):
    token = ask(server, {"data": {"sub": "alice"}}).json()["upload_token"]
    form = urlencode({"token": token})
    answer = ask(server, form, "granted", "/introspect", **{"Content-Type": FORM})
    assert answer.status == 200 and answer.json() == {"active": False}


def test_it_opens_no_gate_and_is_worth_nothing_in_an_exchange(server, start):
    """At another authority, which trusts this one for the same audience."""
    token = ask(server, {"data": {"sub": "alice"}}).json()["upload_token"]
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    trust = f'issuer = "{server.issuer}", audiences = ["{PAGE}"], algorithms = ["ES256"]'
    other = start(configuration(
        client("app", more=f'profiles = ["access_token"]\n{PAGES}grants = ["{exchange}"]\n'),
        f'\n[[exchange]]\nclients = ["app"]\nprovider = "peer"\ngrants = ["{exchange}"]\nimpersonate = true\nonce = false\ntrust = {{ {trust} }}\n',
        '\n[[trust]]\n' + trust.replace(", ", "\n") + '\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1"]\n', server=False))
    form = {"grant_type": exchange, "subject_token": token, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
    answer = ask(other, urlencode(form), "app", "/token", **{"Content-Type": FORM})
    assert answer.status == 400 and answer.json()["error"] == "invalid_request", answer
    headers = {"X-Original-URI": "/", "X-Original-Method": "GET"}
    assert wire.get(other.issuer, "/gate", headers | {"Authorization": f"Bearer {token}"}).status == 401
    allowed = ask(server, {"data": {"sub": "alice"}}, "signer", "/sign").json()["access_token"]
    assert wire.get(other.issuer, "/gate", headers | {"Authorization": f"Bearer {allowed}"}).status == 200, "the gate is open for others"


def test_the_record_ties_the_object_to_the_token_and_shows_no_form(server, s3, bucket):
    body = ask(server, {"data": {"sub": "audited"}}, "session").json()
    ask(server, {"data": {"sub": "audited"}, "upload": {"to": "papers"}}, "session")
    lines = [json.loads(line) for line in server.log.splitlines() if "audited" in line or '"uploads' in line or "rule: uploads" in line]
    [minted] = [line for line in lines if line.get("decision") == "minted" and line.get("jti") == body["jti"]]
    assert minted["object"] == f"s3://{bucket}/{body['key']}" and minted["profile"] == "upload"
    assert minted["client"] == "session" and minted["subject"] == "audited"
    assert any(line.get("decision") == "refused" and line.get("code") == "outside_policy" for line in lines)
    fields = permitted_fields(body)
    for secret in (s3.secret, fields["x-amz-signature"], fields["policy"], "a/session+token"):
        assert secret not in server.log


def permitted_fields(body):
    return json.loads(wire.claims(body["upload_token"]))["upload"]["fields"]


def test_a_client_has_one_rate_for_all_its_tokens(start, s3, bucket):
    server = start(configuration(
        '\n[limits]\nper_client = "3/h"\n', destination("photos", bucket, s3.url, more=CREDENTIALS.format(s3)),
        uploader("web", "photos", profile='profiles = ["upload", "jwt"]\n'), server=False), env={"BUCKET_SECRET": s3.secret})
    statuses = [ask(server, {"data": {"sub": "a"}}, path=path).status for path in ("/uploads", "/sign", "/uploads", "/uploads", "/sign")]
    assert statuses == [200, 200, 200, 429, 429]


# What a bucket makes of it.

def with_policy(change):
    """The form with a policy that its owner has signed, changed."""
    def tamper(fields, s3):
        document = copy.deepcopy(policy(fields))
        change(document)
        return signed(fields, document, s3.secret)
    return tamper


def past(document):
    document["expiration"] = "2026-01-01T00:00:00Z"


def larger(fields, _):
    document = policy(fields)
    document["conditions"] = [["content-length-range", 1, 10_000] if isinstance(c, list) else c for c in document["conditions"]]
    return fields | {"policy": base64.b64encode(json.dumps(document).encode()).decode()}


def put(**changes):
    return lambda fields, _: fields | {name.replace("__", "-"): value for name, value in changes.items()}


def drop(*names):
    return lambda fields, _: {name: value for name, value in fields.items() if name not in names}


#: Name → destination's client, what is asked, what is done to the form, what is sent as the file, and whether it is stored.
CASES = {
    "good": ("web", {}, None, PNG, True),
    "good, exact size and hash": ("web", {"bytes": len(PNG), "sha256": SHA256}, None, PNG, True),
    "good, another destination": ("papers", {"content_type": "text/plain"}, None, b"text", True),
    "one byte": ("web", {}, None, b"x", True),
    "the most": ("web", {}, None, b"x" * 1000, True),
    "too large": ("web", {}, None, b"x" * 1001, False),
    "much too large": ("web", {}, None, b"x" * 3_000_000, False),
    "empty": ("web", {}, None, b"", False),
    "one byte more than was said": ("web", {"bytes": len(PNG)}, None, PNG + b"x", False),
    "one byte less than was said": ("web", {"bytes": len(PNG)}, None, PNG[:-1], False),
    "another's prefix": ("web", {}, put(key="uploads/bob/x"), PNG, False),
    "one's own prefix, another name": ("web", {}, put(key="uploads/alice/x"), PNG, False),
    "no prefix": ("web", {}, put(key="x"), PNG, False),
    "dots": ("web", {}, put(key="uploads/alice/../bob/x"), PNG, False),
    "the name of the file": ("web", {}, put(key="uploads/alice/${filename}"), PNG, False),
    "no key": ("web", {}, drop("key"), PNG, False),
    "another type": ("web", {}, put(Content__Type="text/html"), PNG, False),
    "two types": ("web", {}, put(Content__Type="image/png,text/html"), PNG, False),
    "no type": ("web", {}, drop("Content-Type"), PNG, False),
    "expired": ("web", {}, with_policy(past), PNG, False),
    "signed by somebody else": ("web", {}, lambda fields, _: fields | {"x-amz-signature": signature(fields, "another secret")}, PNG, False),
    "a changed policy": ("web", {}, larger, b"x" * 1001, False),
    "a changed signature": ("web", {}, put(x__amz__signature="0" * 64), PNG, False),
    "no signature": ("web", {}, drop("x-amz-signature"), PNG, False),
    "no policy": ("web", {}, drop("policy"), PNG, False),
    "another user's key id": ("web", {}, lambda fields, _: fields | {
        "x-amz-credential": "AKIASOMEBODYELSE" + fields["x-amz-credential"][len("AKIANEVERSHOWN"):]}, PNG, False),
    "another date": ("web", {}, put(x__amz__date="20260101T000000Z"), PNG, False),
    "another algorithm": ("web", {}, put(x__amz__algorithm="AWS4-HMAC-SHA1"), PNG, False),
    "metadata of one's own": ("web", {}, put(x__amz__meta__a="b"), PNG, False),
    "an acl": ("web", {}, put(acl="public-read"), PNG, False),
    "a redirect": ("web", {}, put(success_action_redirect="https://evil.example"), PNG, False),
    "another jti": ("web", {}, put(x__amz__meta__jti="another"), PNG, False),
    "no jti": ("web", {}, drop("x-amz-meta-jti"), PNG, False),
    "other bytes than the hash": ("web", {"sha256": SHA256}, None, PNG[:-1] + b"x", False),
    "another hash": ("web", {"sha256": SHA256}, put(x__amz__checksum__sha256=OTHER_SHA256), b"other", False),
    "no hash": ("web", {"sha256": SHA256}, drop("x-amz-checksum-sha256"), b"other", False),
    "a session token that it knows nothing of": ("session", {}, None, PNG, False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bucket_takes_what_the_form_says_and_nothing_else(server, s3, bucket, case):
    if not isinstance(s3, VersityGW):
        return  # What stands in for it signs and checks nothing; the fixture has said NOT TESTED.
    id, asked, tamper, file, stored = CASES[case]
    given = envelope(server, id=id, claims={"tenant": "acme"}, **asked)
    fields = tamper(given["fields"], s3) if tamper else given["fields"]
    before = set(s3.objects(bucket))
    answer = post(given["url"], fields, file)
    new = set(s3.objects(bucket)) - before
    shown = f"{answer.status_code} {answer.text[:300]}"
    if not stored:
        assert 400 <= answer.status_code < 500 and not new, shown
        return
    assert answer.status_code == 201 and "<Key>" in answer.text, shown
    assert new == {given["fields"]["key"]}, shown
    found = s3.client("s3").get_object(Bucket=bucket, Key=given["fields"]["key"])
    with found["Body"] as body:
        assert body.read() == file
    assert found["Metadata"] == {"jti": given["fields"]["x-amz-meta-jti"]} and found["ContentType"] == given["content_types"][0]


HOSTILE = ["../bob", "..", "a/b", "${filename}", "a\\..\\b", "\x00\r\n", "~2F", "%2e%2e%2fbob", "bob/", "é", "\u202ebob", "*", "A" * 255]


def test_a_hostile_subject_writes_below_its_own_prefix(server, s3, bucket):
    prefixes = set()
    for sub in HOSTILE:
        given = envelope(server, sub=sub)
        key = given["fields"]["key"]
        folders = key.split("/")
        assert len(folders) == 3 and folders[0] == "uploads" and key.startswith(given["key_prefix"]), key
        assert given["key_prefix"] not in prefixes
        prefixes.add(given["key_prefix"])
        if isinstance(s3, VersityGW):
            assert post(given["url"], given["fields"]).status_code == 201, key
            assert key in s3.objects(bucket)
            moved = post(given["url"], given["fields"] | {"key": f"uploads/bob/{folders[2]}"})
            assert moved.status_code >= 400
    assert not any(key.startswith("uploads/bob/") for key in s3.objects(bucket))


# With whose credentials.

class Vending:
    """A place that gives credentials as a container's does, and can fail."""

    def __init__(self):
        self.lasts, self.asked, self.number = 3600, 0, 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked += 1
                ends = datetime.fromtimestamp(time.time() + (owner.lasts or 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                body = json.dumps({
                    "AccessKeyId": f"ASIA{owner.number}", "SecretAccessKey": "a-secret-of-a-session", "Token": f"token-{owner.number}",
                    "Expiration": ends}).encode()
                self.send_response(200 if owner.lasts is not None else 500)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    @property
    def variables(self):
        return self.of(self.http.server_address[1])

    @staticmethod
    def of(port):
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }


def test_a_form_with_a_session_is_the_one_that_botocore_makes_and_is_taken(server, ministack, bucket):
    """versitygw knows no sessions. MiniStack takes such a form; that its condition is right botocore says."""
    # The form names its bucket. Where MiniStack is the S3 of all these tests it is there already, which us-east-1 takes.
    ministack.client("s3").create_bucket(Bucket=bucket)
    given = envelope(server, id="session")
    fields = given["fields"]
    token = {"x-amz-security-token": fields["x-amz-security-token"]}
    session = boto3.session.Session(fields["x-amz-credential"].split("/")[0], "a-secret", token["x-amz-security-token"], "us-east-1")
    own = {"Content-Type": "image/png", "x-amz-meta-jti": fields["x-amz-meta-jti"], "success_action_status": "201"}
    s3 = session.client("s3", endpoint_url=ministack.url, config=Config(signature_version="s3v4"))
    conditions = [["content-length-range", 1, 1000], *({name: value} for name, value in own.items())]
    theirs = s3.generate_presigned_post("a-bucket", fields["key"], own, conditions, 300)["fields"]
    s3.close()
    assert set(theirs) == set(fields) and token.items() <= theirs.items()
    names = [{name for condition in policy(form)["conditions"] if isinstance(condition, dict) for name in condition} for form in (theirs, fields)]
    assert names[0] == names[1] and token in policy(fields)["conditions"] and token in policy(theirs)["conditions"]

    answer = post(f"{ministack.url}/{bucket}", fields)
    assert answer.status_code == 201 and fields["key"] in ministack.objects(bucket), answer.text


def test_a_form_ends_with_the_session_that_signs_it(start, s3):
    config = configuration(destination("photos", "a-bucket", None, more='lifetime = "1h"\n'), uploader("web", "photos"), server=False)
    with Vending() as vending:
        server = start(config, vending.variables)
        assert vending.asked == 0, "nothing is asked before it is needed"
        vending.lasts = 100
        claims = permitted(ask(server, {"data": {"sub": "a"}}))
        fields = claims["upload"]["fields"]
        assert claims["upload"]["url"] == "https://a-bucket.s3.us-east-1.amazonaws.com/"
        assert fields["x-amz-security-token"] == "token-0" and fields["x-amz-credential"].startswith("ASIA0/")
        assert {"x-amz-security-token": "token-0"} in policy(fields)["conditions"]
        assert 85 <= claims["exp"] - time.time() <= 100, "the session ends in 100 s"
        assert vending.asked == 1
        assert permitted(ask(server, {"data": {"sub": "a"}})) and vending.asked == 1, "not each request asks again"

    with Vending() as vending:
        server = start(config, vending.variables)
        assert [permitted(ask(server, {"data": {"sub": "a"}}))["upload"]["fields"]["x-amz-security-token"] for _ in range(3)] == ["token-0"] * 3
        assert vending.asked == 1
    with Vending() as vending:
        vending.lasts = 10
        answer = ask(start(config, vending.variables), {"data": {"sub": "a"}})
        assert answer.status == 503 and answer.json()["error"] == "temporarily_unavailable", "they end too soon to be of use"
        assert "a-secret" not in answer.body.decode()


def test_without_credentials_the_answer_is_503_and_the_log_says_why(start):
    config = configuration(destination("photos", "a-bucket", None), uploader("web", "photos", profile='profiles = ["upload", "jwt"]\n'), server=False)
    with Vending() as vending:
        vending.lasts = None
        server = start(config, vending.variables)
        answer = ask(server, {"data": {"sub": "a"}})
        assert answer.status == 503 and answer.json()["error"] == "temporarily_unavailable" and answer.headers["retry-after"] == "5"
        assert "credentials" not in answer.json()["error_description"], "that is the operator's business"
        assert ask(server, {"data": {"sub": "a"}}, path="/sign").status == 200, "other tokens need none"
        assert "there are no AWS credentials to sign with: the AWS credentials could not be had" in server.log and "a-secret" not in server.log


def test_a_chain_that_does_not_answer_stops_nobody_else(start, s3, bucket):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        variables = Vending.of(silent.getsockname()[1]) | {"BUCKET_SECRET": s3.secret}
        server = start(configuration(
            destination("photos", bucket, s3.url, more=CREDENTIALS.format(s3)), destination("aws", "a-bucket", None, key="aws/{sub}/{uuid}"),
            uploader("web", "photos"), uploader("aws", "aws"), server=False), variables)
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(ask, server, {"data": {"sub": "a"}}, "aws")
            with silent.accept()[0]:
                assert ask(server, {"data": {"sub": "a"}}).status == 200 and not waits.done()
                answer = waits.result()
        assert answer.status == 503 and answer.json()["error"] == "temporarily_unavailable"
        assert "no answer in time" in server.log


# What is not configured.

GOOD = {"bucket": '"photos"', "region": '"eu-west-1"', "key": '"uploads/{sub}/{uuid}"', "content_types": '["image/png"]', "max_bytes": "1000"}
DANGEROUS = [
    ("key", '"{sub}/{uuid}"', "the first segment must be fixed text"),
    ("key", '"uploads/{sub}/{sub}"', "must have {uuid} or {jti}"),
    ("key", '"uploads/{sub}/${filename}"', "must have {uuid} or {jti}"),
    ("key", '"uploads/{sub}/"', "empty segment"),
    ("key", '""', "empty segment"),
    ("key", '"uploads/../{uuid}"', "`.` or `..`"),
    ("key", '"uploads/x-{sub}/{uuid}"', "must be a whole segment"),
    ("content_types", "[]", "what may the files be?"),
    ("content_types", '["*/*"]', "one exact type"),
    ("content_types", '["image/*"]', "one exact type"),
    ("content_types", '["image/png,text/html"]', "one exact type"),
    ("content_types", '[""]', "one exact type"),
    ("max_bytes", "0", "at least 1 byte"),
    ("max_bytes", "5368709121", "5 GiB"),
    ("min_bytes", "1001", "is more than the most"),
    ("lifetime", '"31s"', "30s more than tokens.backdate"),
    ("lifetime", '"2h"', "is longer than"),
    ("lifetime", '"10s"', "is shorter than"),
    ("lifetime", '"soon"', "lifetime"),
    ("endpoint", '"http://s3.example.com"', "an endpoint is https://HOST"),
    ("endpoint", '"https://s3.example.com/path"', "an endpoint is https://HOST"),
    ("endpoint", '""', "an endpoint is https://HOST"),
    ("bucket", '"Photos"', "a bucket's name"),
    ("bucket", '"photos/../other"', "a bucket's name"),
    ("region", '"Eu"', "a region is a name"),
    ("path_style", "false\nendpoint = 'https://192.0.2.1'", "the endpoint is an address"),
    ("access_key_id", '"AKIA"', "it belongs to access_key_id"),
    ("secret_access_key", '"env:PATH"', "it belongs to secret_access_key"),
    ("secret_access_key", '"a-secret-in-clear"\naccess_key_id = "AKIA"', "write env:NAME"),
    ("secret_access_key", '"env:NOT_SET"\naccess_key_id = "AKIA"', "NOT_SET is not set"),
    ("max_size", "7", "unknown field `max_size`"),
]


def written(**changes):
    settings = GOOD | changes
    return "\n[uploads.photos]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items() if value)


@pytest.mark.parametrize("setting, value, says", DANGEROUS)
def test_a_dangerous_destination_does_not_start(full_world, setting, value, says):
    full_world.configure(configuration(written(**{setting: value}), uploader("web", "photos")))
    complaint = full_world.run("config", "check")
    assert complaint.returncode == 78 and says in complaint.stderr, complaint.stderr
    assert "a-secret-in-clear" not in complaint.stderr + complaint.stdout


def test_settings_that_must_be_there_are_named(full_world):
    for setting in ("bucket", "region", "key", "content_types", "max_bytes"):
        full_world.configure(configuration(written(**{setting: None}), uploader("web", "photos")))
        assert f"missing field `{setting}`" in full_world.run("config", "check").stderr


def test_a_client_that_could_not_upload_does_not_start(full_world):
    for entry, says in [
        (uploader("web", "nowhere"), "clients.web.uploads: there is no `uploads.nowhere`"),
        (uploader("web"), "clients.web.uploads: profile upload needs one"),
        (uploader("web", "photos", profile='profiles = ["jwt"]\n'), "clients.web.uploads: has no effect without profile upload"),
        (uploader("web", "photos", more=CLAIMS), "clients.web.audiences: a token for an upload is for one page"),
        (uploader("web", "photos", more=PAGES), "clients.web.uploads: it may not set the claim \"sub\""),
        (uploader("web", "photos", more=PAGES + 'claims = { allow = ["sub"], fixed = { upload = 1 } }\n'), "clients.web.claims.fixed: the claim `upload`"),
        ("", None),
    ]:
        full_world.configure(configuration(written(), entry or uploader("web", "photos")))
        checked = full_world.run("config", "check")
        assert (checked.returncode, says is None or says in checked.stderr) == (0 if says is None else 78, True), checked.stderr


def test_files_that_browsers_run_are_warned_of(full_world):
    full_world.configure(configuration(written(content_types='["image/svg+xml", "image/png"]'), uploader("web", "photos")))
    checked = full_world.run("config", "check")
    assert checked.returncode == 0 and "browsers run scripts in files of type image/svg+xml" in checked.stderr


def test_destinations_that_could_meet_in_a_bucket_are_warned_of(full_world):
    other = destination("admin", "photos", None, "uploads/admin/{uuid}", region="eu-west-1")
    full_world.configure(configuration(written(), other, uploader("web", "photos")))
    checked = full_world.run("config", "check")
    assert checked.returncode == 0 and "may lie in the same places of the bucket" in checked.stderr


def test_the_profile_needs_destinations_and_the_feature(world, full_world):
    full_world.configure(configuration(client("web", more=PROFILE + PAGES)))
    assert "clients.web.uploads: profile upload needs one" in full_world.run("config", "check").stderr
    if not filecmp.cmp(world.binary, full_world.binary, shallow=False):
        world.configure(configuration(written(), uploader("web", "photos")))
        checked = world.run("config", "check")
        assert checked.returncode == 78 and "built without uploads" in checked.stderr
