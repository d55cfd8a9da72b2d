"""The fixtures themselves: the issuer's package behind an HTTP API, its keys in DynamoDB, and what its tokens open at a gateway.

Deployed by hand with boto3, as in docs/lambda.md; the constructs, modules and examples have their own tests.
"""

import base64
import io
import json
import time
import zipfile

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from e2e.program import SECRET, secret_hash, until
from e2e.provided import CODE, ENVIRONMENT, GRANT, PLACES, SCOPES, VERIFIER, served
from servers.providers import APPLICATION, REDIRECT, User

AUDIENCE = "api://orders"
SECRETS = f'secret_hashes = ["{secret_hash()}"]'
EXCHANGES = (
    f'{SECRETS}, grants = ["{GRANT}"], profiles = ["access_token"], audiences = ["{AUDIENCE}"], '
    'scopes = ["orders:read"], claims = { allow = ["name", "id", "username"] }'
)
#: A variable has the value as TOML would have it behind the `=`. Tokens of `brief` expire a second after they are made.
CLIENTS = (
    f'[{{ id = "tests", {SECRETS}, audiences = ["{AUDIENCE}", "api://other"], '
    'scopes = ["orders:read", "orders:write"], claims = { allow = ["*"] } }, '
    f'{{ id = "app", {EXCHANGES} }}, {{ id = "brief", {EXCHANGES}, max_lifetime = "6s" }}]'
)
#: Codes of logins with X; `@X@` is where X is.
EXCHANGE = (
    f'[{{ provider = "x", clients = ["app", "brief"], grants = ["{GRANT}"], impersonate = true, '
    'scopes = ["orders:read"], max_lifetime = "10m", '
    'claims = { name = "claims.name", id = "claims.id", username = "claims.username" }, '
    f'upstream = {{ preset = "x", client_id = "{APPLICATION}", client_secret = "env:PROVIDER_SECRET", '
    f'redirect_uris = ["{REDIRECT}"]'
    + "".join(f', {name} = "@X@{path}"' for name, path in PLACES["x"].items())
    + " } }]"
)
WHOAMI = """
def handler(event, context):
    return event["requestContext"]["authorizer"]["jwt"]["claims"]
"""


def zipped(name, text):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr(name, text)
    return package.getvalue()


@pytest.fixture(scope="module")
def x():
    """X, as a stand-in plays it."""
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def issuer(ministack, packages, x):
    """Its URL. The issuer is where the emulator serves the API; on AWS it is `https://ID.execute-api.REGION.amazonaws.com`."""
    gateway, functions = ministack.client("apigatewayv2"), ministack.client("lambda")
    api = gateway.create_api(Name="by-hand", ProtocolType="HTTP")["ApiId"]
    url = ministack.api(api)
    ministack.client("dynamodb").create_table(
        TableName="by-hand", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
    )
    function = functions.create_function(
        FunctionName="by-hand", Runtime="provided.al2023", Handler="bootstrap", Timeout=30, MemorySize=512,
        Role="arn:aws:iam::000000000000:role/by-hand", Code={"ZipFile": packages.issuer.read_bytes()},
        Architectures=[packages.architecture],
        Environment={"Variables": {
            "COUNTERSIGN_ISSUER": url, "COUNTERSIGN_STORE__URL": "dynamodb://by-hand", "COUNTERSIGN_STORE__FIRST_KEYS": "create",
            "COUNTERSIGN_SEALING__KEY": "env:SEALING", "SEALING": base64.b64encode(bytes(range(32))).decode(),
            "COUNTERSIGN_CLIENTS": CLIENTS, "COUNTERSIGN_EXCHANGE": EXCHANGE.replace("@X@", x.url), **ENVIRONMENT,
        }},
    )["FunctionArn"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    functions.add_permission(FunctionName="by-hand", StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    yield url
    gateway.delete_api(ApiId=api)
    functions.delete_function(FunctionName="by-hand")
    ministack.client("dynamodb").delete_table(TableName="by-hand")


@pytest.fixture(scope="module")
def protected(ministack, issuer):
    """A route of an HTTP API with the gateway's own JWT authorizer and a scope; the service behind tells the claims."""
    gateway, functions = ministack.client("apigatewayv2"), ministack.client("lambda")
    function = functions.create_function(
        FunctionName="whoami", Runtime="python3.13", Handler="index.handler", Role="arn:aws:iam::000000000000:role/whoami",
        Code={"ZipFile": zipped("index.py", WHOAMI)},
    )["FunctionArn"]
    functions.add_permission(FunctionName="whoami", StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    api = gateway.create_api(Name="protected", ProtocolType="HTTP")["ApiId"]
    authorizer = gateway.create_authorizer(
        ApiId=api, Name="jwt", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer, "Audience": [AUDIENCE]},
    )["AuthorizerId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(
        ApiId=api, RouteKey="GET /orders", Target=f"integrations/{integration}", AuthorizationType="JWT", AuthorizerId=authorizer,
        AuthorizationScopes=["orders:read"],
    )
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    yield f"{ministack.api(api)}/orders"
    gateway.delete_api(ApiId=api)
    functions.delete_function(FunctionName="whoami")


def sign(issuer, audience=AUDIENCE, **claims):
    asked = {"data": {"sub": "alice", **claims}, "metadata": {"audience": audience}}
    answer = httpx.post(f"{issuer}/sign", auth=("tests", SECRET), json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def called(protected, token=None):
    """The claims that the service is given, or the status of a refusal."""
    answer = httpx.get(protected, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=60)
    return answer.status_code if answer.status_code != 200 else answer.json()


def test_it_publishes_discovery_and_one_key(issuer):
    answer = httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=60)
    assert answer.status_code == 200, answer.text
    discovery = answer.json()
    assert discovery["issuer"] == issuer
    (key,) = httpx.get(discovery["jwks_uri"], timeout=60).json()["keys"]
    assert key["kty"] == "RSA" and not {"d", "p", "q"} & set(key)


def test_its_tokens_open_an_api_with_the_gateways_own_authorizer(issuer, protected):
    good = sign(issuer, scope="orders:read")
    head, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==")) | {"sub": "mallory"}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert called(protected, good)["sub"] == "alice"
    assert called(protected) == 401
    assert called(protected, sign(issuer, scope="orders:write")) == 403, "a scope the route does not take"
    assert called(protected, sign(issuer, scope="orders:read", audience="api://other")) == 401
    assert called(protected, f"{head}.{forged}.{signature}") == 401


def exchange(issuer, x, user, client="app"):
    """Our token for a code that X has given when this user logged in."""
    code = x.code(VERIFIER, user=user, scopes=SCOPES["x"])
    form = {"grant_type": GRANT, "subject_token": code, "subject_token_type": CODE, "code_verifier": VERIFIER,
            "redirect_uri": REDIRECT, "audience": AUDIENCE, "scope": "orders:read"}
    answer = httpx.post(f"{issuer}/token", auth=(client, SECRET), data=form, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def test_a_login_is_exchanged_once_and_the_gateway_passes_its_claims_on_with_every_request(issuer, protected, x):
    user = User(id="12345678901234567890123", name="Ada Byron", username="ada")
    token, brief = exchange(issuer, x, user), exchange(issuer, x, user, "brief")
    asked = len(x.asked())
    wanted = {"iss": issuer, "sub": f"x:{user.id}", "client_id": "app",
              "name": "Ada Byron", "id": user.id, "username": "ada"}
    for _ in range(3):
        claims = called(protected, token)
        assert {name: claims.get(name) for name in wanted} == wanted
    assert len(x.asked()) == asked, "X is asked for the exchange alone"

    # The same claims under another key that goes by the name of ours.
    claims, header = jwt.decode(token, options={"verify_signature": False}), jwt.get_unverified_header(token)
    foreign = jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256", header)
    assert called(protected, foreign) == 401
    assert called(protected, x.token(user=user)) == 401, "what X itself has given"
    end = jwt.decode(brief, options={"verify_signature": False})["exp"]
    until(lambda: time.time() > end, "it has expired", within=10)
    assert called(protected, brief) == 401
    assert called(protected, token)["username"] == "ada"
