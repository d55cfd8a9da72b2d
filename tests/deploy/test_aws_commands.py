"""The commands of docs/aws that need an account, with AWS's own command line and MiniStack in place of the account.

A ```sh block behind `<!-- aws: NAME -->` is run with the variables that the page leaves to its reader; then AWS is asked what has
become of it. What the gateways make of tokens is in the other tests of this folder.
"""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from deploy.conftest import ARCHITECTURE
from servers.ministack import ACCOUNT, TOOLS

PAGES = Path(__file__).parents[2] / "docs" / "aws"
BLOCK = re.compile(r"^<!-- aws: ([\w-]+) -->\n+```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A zip without any file.
EMPTY = base64.b64decode("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")


def blocks(page):
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    found = dict(BLOCK.findall(text))
    assert len(found) == text.count("<!-- aws: "), "a mark without a block right behind it, or a name twice"
    return found


@pytest.fixture(scope="module")
def function(ministack):
    """The ARN of a function."""
    made = ministack.client("lambda").create_function(
        FunctionName="pages", Runtime="python3.12", Handler="x.handler", Role=f"arn:aws:iam::{ACCOUNT}:role/pages", Code={"ZipFile": EMPTY}
    )
    return made["FunctionArn"]


@pytest.fixture
def run(ministack, function, tmp_path):
    """Runs a block of a page."""
    aws = TOOLS / "ministack/bin"
    assert (aws / "aws").exists(), f"{aws}/aws is not there; scripts/test installs it"

    def run(page, name, **variables):
        given = {"FUNCTION_ARN": function, "FUNCTION": "pages", "ACCOUNT": ACCOUNT, "AWS_PAGER": ""} | variables
        path = {"PATH": f"{aws}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", blocks(page)[name]], cwd=tmp_path, env=os.environ | ministack.variables | path | given,
            capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == 0, done
        return done.stdout

    return run


def http_api(ministack, kind, route):
    """The variables of an API with one route and an authorizer that is to be replaced."""
    gateway, websocket = ministack.client("apigatewayv2"), kind == "WEBSOCKET"
    more = {"RouteSelectionExpression": "$request.body.action"} if websocket else {}
    api = gateway.create_api(Name="pages", ProtocolType=kind, **more)["ApiId"]
    source = "route.request.querystring.x" if websocket else "$request.header.x"
    old = gateway.create_authorizer(ApiId=api, Name="old", AuthorizerType="REQUEST", AuthorizerUri="arn:x", IdentitySource=[source])
    made = gateway.create_route(ApiId=api, RouteKey=route)["RouteId"]
    return {"API_ID": api, "ROUTE_ID": made, "CONNECT_ROUTE_ID": made, "AUTHORIZER_ID": old["AuthorizerId"]}


def authorizer(ministack, variables):
    (made,) = [one for one in ministack.client("apigatewayv2").get_authorizers(ApiId=variables["API_ID"])["Items"] if one["Name"] == "countersign"]
    return made


def route(ministack, variables):
    return ministack.client("apigatewayv2").get_route(ApiId=variables["API_ID"], RouteId=variables["ROUTE_ID"])


def test_an_http_api_gets_its_own_authorizer_with_issuer_audience_and_a_scope(ministack, run):
    variables = http_api(ministack, "HTTP", "GET /orders")
    run("http-api", "native", **variables)
    made = authorizer(ministack, variables)
    assert made["AuthorizerType"] == "JWT" and made["IdentitySource"] == ["$request.header.Authorization"]
    assert made["JwtConfiguration"] == {"Issuer": "https://auth.example.com", "Audience": ["https://api.example.com"]}
    changed = route(ministack, variables)
    assert (changed["AuthorizationType"], changed["AuthorizationScopes"]) == ("JWT", ["orders:read"])


def test_an_http_api_gets_ours_with_method_and_path_among_its_identity_sources(ministack, run, function):
    variables = http_api(ministack, "HTTP", "GET /orders")
    run("http-api", "ours", **variables)
    made = authorizer(ministack, variables)
    assert (made["AuthorizerType"], made["AuthorizerPayloadFormatVersion"], made["EnableSimpleResponses"]) == ("REQUEST", "2.0", True)
    assert set(made["IdentitySource"]) == {"$request.header.Authorization", "$context.httpMethod", "$context.path"}
    assert function in made["AuthorizerUri"]


def test_a_rest_api_gets_ours_and_may_ask_it(ministack, run, function):
    gateway = ministack.client("apigateway")
    api = gateway.create_rest_api(name="pages")["id"]
    run("rest-api", "ours", API_ID=api, AUTHORIZER_ID="abc123")
    (made,) = gateway.get_authorizers(restApiId=api)["items"]
    assert (made["type"], made["identitySource"]) == ("TOKEN", "method.request.header.Authorization") and function in made["authorizerUri"]
    policy = json.loads(ministack.client("lambda").get_policy(FunctionName="pages")["Policy"])
    assert f"{api}/authorizers/abc123" in json.dumps(policy)


def test_a_websocket_api_asks_ours_when_a_client_connects(ministack, run):
    variables = http_api(ministack, "WEBSOCKET", "$connect")
    run("websocket-api", "ours", **variables)
    made = authorizer(ministack, variables)
    assert (made["AuthorizerType"], made["IdentitySource"]) == ("REQUEST", ["route.request.querystring.authorization"])
    assert route(ministack, variables)["AuthorizationType"] == "CUSTOM"


def test_a_role_is_assumed_with_a_token(ministack, run, tmp_path):
    iam = ministack.client("iam")
    run("iam", "provider")
    (made,) = [one["Arn"] for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] if "auth.example.com" in one["Arn"]]
    provider = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=made)
    assert provider["ClientIDList"] == ["sts.amazonaws.com"] and "auth.example.com" in provider["Url"]
    role = iam.create_role(RoleName="report", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    # This emulator looks neither at the token nor at the trust policy, so any text will do.
    (tmp_path / "token").write_text("a.b.c")
    assert json.loads(run("iam", "exchange", AWS_ROLE_ARN=role))["Credentials"]["SessionToken"]
    iam.delete_role(RoleName="report")


def test_appsync_gets_an_anchored_audience_or_our_function(ministack, run, function):
    native = json.loads(run("appsync", "openid"))["graphqlApi"]
    assert native["authenticationType"] == "OPENID_CONNECT"
    assert native["openIDConnectConfig"] == {"issuer": "https://auth.example.com", "clientId": r"^https://api\.example\.com$"}
    out = run("appsync", "lambda")
    assert '"AWS_LAMBDA"' in out
    assert "appsync.amazonaws.com" in ministack.client("lambda").get_policy(FunctionName="pages")["Policy"]


def test_the_python_authorizer_is_replaced_by_the_package(ministack, run, packages, tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/package").write_text("#!/bin/sh\n")
    (tmp_path / "scripts/package").chmod(0o755)
    (tmp_path / "dist").mkdir()
    shutil.copy(packages.authorizer, tmp_path / "dist" / f"authorizer-{os.uname().machine}.zip")
    functions = ministack.client("lambda")
    functions.create_function(
        FunctionName="python", Runtime="python3.12", Handler="app.handler", Role=f"arn:aws:iam::{ACCOUNT}:role/python",
        Code={"ZipFile": EMPTY}, Architectures=[ARCHITECTURE],
        Environment={"Variables": {"JWT_ISSUER_JWKS_URI": "https://keys.example/jwks", "JWT_AUTHORIZED_AUDIENCES": "my-project"}},
    )
    run("from-the-python-authorizer", "replace", FUNCTION="python")
    made = functions.get_function_configuration(FunctionName="python")
    assert (made["Runtime"], made["Handler"]) == ("provided.al2023", "bootstrap")
    assert set(made["Environment"]["Variables"]) == {"JWT_ISSUER_JWKS_URI", "JWT_AUTHORIZED_AUDIENCES"}, "it keeps its variables"
    event = json.dumps({"type": "TOKEN", "authorizationToken": "Bearer x", "methodArn": "arn:aws:execute-api:us-east-1:1:a/b/GET/"})
    answer = functions.invoke(FunctionName="python", Payload=event)
    assert json.loads(answer["Payload"].read())["errorMessage"] == "Unauthorized", "and is ours"
    functions.delete_function(FunctionName="python")
