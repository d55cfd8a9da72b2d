"""The constructs of deploy/cdk, deployed and called: an issuer by each entry, and an API of each kind that its tokens open.

One stack (deploy/cdk/test/deployed/app.cjs) on a MiniStack that decides by IAM policies: what a role lacks here is missing on
AWS as well. Where the emulator differs from AWS, it says so beside the assertion.
"""

import itertools
import json
import time

import boto3
import httpx
import pytest
import websockets.sync.client
from authority import until
from deploy.cdk import CONSTRUCTS, Cdk, bad_tokens, get, header, remains, sign
from e2e.function import documented
from e2e.program import secret_hash
from servers.ministack import REGION


@pytest.fixture(scope="module")
def aws(strict):
    return strict


@pytest.fixture(scope="module")
def cdk(aws, packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cdk")
    environment = {
        "ISSUER_ZIP": str(packages.issuer), "AUTHORIZER_ZIP": str(packages.authorizer), "ARCHITECTURE": packages.architecture,
        "SECRET_HASH": secret_hash(), "KEY_CACHE": str(folder / "key-cache"),
    }
    return Cdk(aws, CONSTRUCTS, folder / "out", "node test/deployed/app.cjs", environment)


@pytest.fixture(scope="module")
def deployed(cdk, aws):
    """The outputs of the stack; the addresses of its APIs and their routes besides."""
    cdk.bootstrap()
    before = remains(aws)
    out = cdk.deploy()
    yield out | {
        "Http": f"{aws.api(out['HttpApi'])}/orders", "Native": f"{aws.api(out['HttpApi'])}/native",
        "Rest": f"{aws.api(out['RestApi'], 'prod')}/orders", "FunctionUrl": aws.function_url(out["RestFunctionUrl"]),
        "WebSocket": f"{aws.api(out['WebSocketApi'], 'live')}".replace("http://", "ws://"), "Before": before,
    }


def opens(url, token=None):
    """Whether a WebSocket opens: True, or the status of the refusal."""
    try:
        with websockets.sync.client.connect(f"{url}?authorization={token}" if token else url, open_timeout=60):
            return True
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.status_code


def events_of(aws, function):
    """The stack's log of a function, as Logs has it."""
    group = aws.client("lambda").get_function_configuration(FunctionName=function)["LoggingConfig"]["LogGroup"]
    return [event["message"] for event in aws.client("logs").filter_log_events(logGroupName=group)["events"]]


@pytest.mark.parametrize("entry", ["HttpIssuer", "RestIssuer", "UrlIssuer"])
def test_an_issuer_answers_at_the_url_that_its_tokens_name(deployed, entry):
    issuer = deployed[entry]
    discovery = httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=60).json()
    assert discovery["issuer"] == issuer
    kids = [key["kid"] for key in httpx.get(discovery["jwks_uri"], timeout=60).json()["keys"]]
    assert header(sign(issuer))["kid"] in kids
    assert httpx.post(f"{issuer}/sign", json={"data": {}}, timeout=60).status_code == 401, "it has no clients but its own"


def test_a_function_url_beside_the_api_is_the_same_issuer(deployed):
    answer = httpx.get(f"{deployed['FunctionUrl']}/.well-known/openid-configuration", timeout=60)
    assert answer.json()["issuer"] == deployed["RestIssuer"]


@pytest.mark.parametrize("entry", ["HttpIssuer", "RestIssuer", "UrlIssuer"])
@pytest.mark.parametrize("api", ["Rest", "Http"])
def test_the_authorizer_lets_in_whom_an_issuer_names(deployed, api, entry):
    # With several issuers the context still has the bare `sub`; the principal has the issuer in front.
    assert get(deployed[api], sign(deployed[entry])) == "alice"


def test_the_authorizer_refuses_at_a_rest_api(deployed):
    bad = bad_tokens(deployed["HttpIssuer"])
    refused = {why: get(deployed["Rest"], token) for why, token in bad.items()}
    assert refused == {"none": 401, "expired": 401, "forged": 401, "audience": 401, "scope": 403}
    assert get(deployed["Rest"], sign(deployed["HttpIssuer"])) == "alice"


def test_the_authorizer_refuses_at_an_http_api(deployed):
    bad = bad_tokens(deployed["HttpIssuer"])
    refused = {why: get(deployed["Http"], token) for why, token in bad.items()}
    # Without a token API Gateway does not ask; what an authorizer refuses is 403 there, whatever it is.
    assert refused == {"none": 401, "expired": 403, "forged": 403, "audience": 403, "scope": 403}


@pytest.mark.parametrize("api", ["Rest", "Http"])
def test_a_remembered_answer_opens_what_the_rules_open_and_nothing_else(aws, deployed, api):
    """Both APIs have one route for all paths, and remember an answer for a minute."""
    asked = lambda: sum("countersign::gate" in line for line in events_of(aws, deployed["GateHandler"]))  # noqa: E731
    orders, admin = deployed[api], deployed[api].replace("/orders", "/admin")
    for first, second in ((orders, admin), (admin, orders)):
        token, before = sign(deployed["RestIssuer"]), asked()
        answers = {first: get(first, token), second: get(second, token)}
        assert answers == {orders: "alice", admin: 403}
        until(lambda: asked() > before, "the log of the first answer", within=20)
        assert asked() == before + 1, "the second answer was remembered"


def test_the_authorizer_decides_on_the_handshake_of_a_websocket(deployed):
    bad = bad_tokens(deployed["HttpIssuer"])
    assert opens(deployed["WebSocket"], sign(deployed["HttpIssuer"])) is True
    refused = {why: opens(deployed["WebSocket"], token) for why, token in bad.items()}
    # AWS answers 401 to an authorizer's error "Unauthorized"; this emulator says 500.
    assert refused == {"none": 401, "expired": 500, "forged": 500, "audience": 500, "scope": 403}


# The rotation.


class Rotation:
    """Turns of the rotation of the HTTP API's issuer, as its schedule asks for them."""

    def __init__(self, aws, function):
        self.aws, self.function, self.events = aws, function, itertools.cycle(["schedule-rule", "schedule-scheduler"])

    def turn(self):
        answer = self.aws.client("lambda").invoke(FunctionName=self.function, Payload=json.dumps(documented(next(self.events))))
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer and body["look_failed"] is None, body
        return [step["step"] for step in body["done"]]

    def until(self, condition, what):
        def turned():
            self.turn()
            time.sleep(0.3)
            return condition()

        return until(turned, what, within=90)


@pytest.fixture(scope="module")
def rotation(aws, deployed):
    """Once the rule has fired by itself it rests, so that the keys change when a test has them change."""
    done = lambda: [line for line in events_of(aws, deployed["HttpRotation"]) if "scheduled turn" in line]  # noqa: E731
    until(lambda: len(done()) > 1, "the rule has fired, a turn after that of the deployment", within=120)
    events = aws.client("events")
    for rule in events.list_rules()["Rules"]:
        events.disable_rule(Name=rule["Name"])
    return Rotation(aws, deployed["HttpRotation"])


def test_tokens_open_the_same_apis_after_the_keys_were_rotated_by_schedule(deployed, rotation):
    issuer = deployed["HttpIssuer"]
    jwks = lambda: {key["kid"] for key in httpx.get(f"{issuer}/.well-known/jwks.json", timeout=60).json()["keys"]}  # noqa: E731
    signing = lambda: header(sign(issuer))["kid"]  # noqa: E731
    first = signing()
    rotation.until(lambda: jwks() - {signing()} and signing() in jwks() and len(jwks()) > 1, "the next key is published")
    first = signing()
    # API Gateway reads the keys now and keeps them for two hours. AWS may look again for a kid that it does not know; this
    # emulator does not, which is the case that publishing a key before it signs is for.
    bad = bad_tokens(issuer)
    assert get(deployed["Native"], sign(issuer)) == "alice"
    assert {why: get(deployed["Native"], token) for why, token in bad.items()} == {
        "none": 401, "expired": 401, "forged": 401, "audience": 401, "scope": 403,
    }
    known = jwks()
    second = rotation.until(lambda: signing() != first and signing(), "another key signs")
    assert second in known, "it was published before"
    for api in ("Native", "Http", "Rest"):
        assert get(deployed[api], sign(issuer)) == "alice", api
    assert opens(deployed["WebSocket"], sign(issuer)) is True


def test_documents_are_published_to_s3_and_served_by_cloudfront(aws, deployed, rotation):
    rotation.turn()
    host = deployed["Distribution"].removeprefix("https://")
    # The emulator has no TLS and takes a viewer's word for it.
    https = {"Host": host, "X-Forwarded-Proto": "https"}
    answer = httpx.get(f"{aws.url}/.well-known/jwks.json", headers=https, timeout=60)
    assert answer.status_code == 200 and answer.headers["cache-control"].startswith("public, max-age="), answer.headers
    served = httpx.get(f"{deployed['HttpIssuer']}/.well-known/jwks.json", timeout=60).json()
    assert {key["kid"] for key in answer.json()["keys"]} == {key["kid"] for key in served["keys"]}
    # What the function answers is not looked for in the bucket, which has none of it. The CloudFront
    # of this emulator reaches no API: 502.
    for path in ("/.well-known/revoked.jwt", "/.well-known/oauth-protected-resource/v1", "/token"):
        assert httpx.get(f"{aws.url}{path}", headers=https, timeout=60).status_code == 502, path
    # On AWS CloudFront is the issuer's address; here its name leads nowhere, so that the issuer is the API's.
    assert httpx.get(f"{aws.url}/{deployed['Bucket']}/.well-known/jwks.json", timeout=60).status_code == 403, "the bucket is private"


# Who may do what.


def acting_as(aws, role):
    """boto3's clients with a role's rights."""
    credentials = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    keys = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey", "aws_session_token": "SessionToken"}
    session = boto3.session.Session(region_name=REGION, **{name: credentials[key] for name, key in keys.items()})
    return lambda service: session.client(service, endpoint_url=aws.url)


def refused(call, **arguments):
    with pytest.raises(Exception) as why:
        call(**arguments)
    return "AccessDenied" in str(why.value)


def test_only_the_issuers_roles_use_its_keys_and_its_table(aws, deployed):
    functions = aws.client("lambda").list_functions()["Functions"]
    roles = {name: next(f["Role"] for f in functions if name in f["FunctionName"]) for name in ("RestHandler", "RestRotation", "GateHandler")}
    kms = aws.client("kms")
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    (signer,) = [key["Arn"] for key in keys if key["KeyUsage"] == "SIGN_VERIFY"]
    handler, rotating, gate = (acting_as(aws, role) for role in roles.values())
    digest = {"KeyId": signer, "Message": b"\0" * 32, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert handler("kms").sign(**digest)["Signature"] and rotating("kms").sign(**digest)["Signature"]
    assert refused(gate("kms").sign, **digest)
    assert refused(handler("kms").create_key), "the function that answers the world makes no keys"
    assert refused(rotating("kms").create_key), "nor does the rotation, without the issuer's tag"
    (table,) = [name for name in aws.client("dynamodb").list_tables()["TableNames"] if "Rest" in name]
    item = {"TableName": table, "Key": {"key": {"S": "keyring"}}}
    assert handler("dynamodb").get_item(**item) and refused(gate("dynamodb").get_item, **item)
    (other,) = [name for name in aws.client("dynamodb").list_tables()["TableNames"] if "Url" in name]
    assert refused(handler("dynamodb").get_item, **item | {"TableName": other}), "nor the table of another issuer"


def test_destroy_leaves_nothing_but_the_signing_keys_in_kms(aws, cdk, deployed):
    """The last test of this file. A key that has signed stays, tagged with its issuer, until somebody deletes it."""
    s3 = aws.client("s3")
    for found in s3.list_objects_v2(Bucket=deployed["Bucket"]).get("Contents", []):
        s3.delete_object(Bucket=deployed["Bucket"], Key=found["Key"])
    cdk.destroy()
    left = remains(aws)
    (signer,) = left.pop("keys")
    tags = aws.client("kms").list_resource_tags(KeyId=signer["KeyId"])["Tags"]
    assert {"TagKey": "countersign-issuer", "TagValue": deployed["RestIssuer"]} in tags
    assert left == deployed["Before"]
