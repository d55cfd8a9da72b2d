"""The examples of the Serverless Framework and of SAM: linted, packaged, deployed to MiniStack and called, by the commands of their READMEs.

What the emulator cannot deploy, an example's `run` says in a line, which is compared here: the WebSocket API of the framework
(AWS::ApiGatewayV2::Deployment), and the routes of SAM's HTTP API (the API's Body). On AWS `run` calls these too.
"""

import json
import os
import re
import subprocess

import pytest
from deploy.terraform import REPOSITORY, copy, lines_of
from servers.ministack import TOOLS

SAM = TOOLS / "sam/bin"
HTTP = ["200  no token, public", "401  no token", "200  scope USER", "403  scope USER, for admins", "200  scope ADMIN",
        "401  token of another audience", "401  token that was changed"]
#: AWS answers 401 where the emulator answers 500: it does not know the error "Unauthorized" of a WebSocket API's authorizer.
WEBSOCKET = ["101  a good token", "401  no token", "500  a token of another audience", "500  a token that was changed"]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Copies of them, with the packages of npm from where scripts/test has put them."""
    folder = tmp_path_factory.mktemp("examples")
    copy(folder)
    modules = REPOSITORY / "examples/serverless/node_modules"
    assert (modules / ".bin/osls").exists(), "`npm ci --prefix examples/serverless` first; scripts/test does it"
    (folder / "examples/serverless/node_modules").symlink_to(modules)
    return folder


def second_way(folder, packages, example):
    install, run = lines_of(folder / "examples" / example / "README.md", "ministack")
    assert install.startswith("pip install ministack==")
    own = {
        "MINISTACK": str(TOOLS / "ministack/bin/ministack"), "ISSUER_PACKAGE": str(packages.issuer),
        "AUTHORIZER_PACKAGE": str(packages.authorizer), "PATH": f"{os.environ['PATH']}:{SAM}",
    }
    done = subprocess.run(run, shell=True, cwd=folder, env=clean() | own, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def clean():
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COUNTERSIGN_", "MINISTACK", "SLS_"))}


def answers(stdout):
    return [re.sub(r"  +[{].*", "", line).strip() for line in stdout.splitlines() if re.match(r"\d{3}  ", line)]


def test_the_serverless_example_is_deployed_and_called(examples, packages):
    stdout = second_way(examples, packages, "serverless")
    assert answers(stdout) == HTTP, stdout
    assert "the WebSocket API is packaged, and not deployed: the emulator cannot" in stdout
    # What was packaged has the authorizer on $connect, with the token in the query.
    packaged = json.loads((examples / "examples/serverless/.serverless/cloudformation-template-update-stack.json").read_text())
    kinds = {name: one for name, one in packaged["Resources"].items() if one["Type"].startswith("AWS::ApiGatewayV2::")}
    (authorizer,) = [one for one in kinds.values() if one["Type"].endswith("::Authorizer")]
    assert authorizer["Properties"]["IdentitySource"] == ["route.request.querystring.authorization"]
    connect = [one for one in kinds.values() if one["Type"].endswith("::Route") and one["Properties"]["RouteKey"] == "$connect"]
    assert [one["Properties"]["AuthorizationType"] for one in connect] == ["CUSTOM"]
    template = examples / "websocket.json"
    template.write_text(json.dumps(packaged))
    linted([template])


def test_the_sam_example_is_valid_deployed_and_called(examples, packages):
    environment = clean() | {"SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    template = examples / "examples/sam/template.yaml"
    valid = subprocess.run([SAM / "sam", "validate", "--lint", "--template", template], env=environment, capture_output=True, text=True, timeout=120)
    assert valid.returncode == 0 and "is a valid SAM Template" in valid.stdout, valid.stdout + valid.stderr
    linted([template])
    stdout = second_way(examples, packages, "sam")
    assert answers(stdout) == WEBSOCKET, stdout
    assert "the HTTP API is deployed, and not called: the emulator leaves it without routes" in stdout


def linted(templates):
    """cfn-lint by itself; that of `sam validate` is the same program with other settings."""
    done = subprocess.run(
        [SAM / "cfn-lint", "--region", "us-east-1", "--non-zero-exit-code", "error", "--template", *templates],
        env=clean(), capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
