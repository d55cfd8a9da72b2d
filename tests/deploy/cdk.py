"""The AWS CDK's own command, with everything it deploys to in an emulator, and what a client sees of what it deployed."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import httpx
from e2e.program import SECRET
from servers.ministack import ACCOUNT, REGION

ROOT = Path(__file__).parents[2]
CONSTRUCTS = ROOT / "deploy" / "cdk"
AUDIENCE = "api://orders"
#: `mallory` where `alice` was, under alice's signature.
FORGED = ("sub", "mallory")


class Cdk:
    """folder: with the app and node_modules; app: the command that synthesizes it; None: that of its cdk.json."""

    def __init__(self, aws, folder, output, app=None, environment=None):
        self.aws, self.folder, self.output = aws, Path(folder), Path(output)
        self.always = ["--no-notices", "--no-version-reporting", "--output", str(output), "-c", f"countersign:emulator={aws.url}"]
        self.always += ["--app", app] if app else []
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COUNTERSIGN_", "JAAS_", "CDK_"))}
        self.environment = clean | aws.variables | {"CI": "1", "HOME": str(output.parent)} | (environment or {})

    def __call__(self, *arguments):
        command = self.folder / "node_modules" / ".bin" / "cdk"
        done = subprocess.run(
            [command, *arguments, *self.always], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"cdk {' '.join(arguments)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}\n{self.aws.log[-3000:]}"
        return done.stdout

    def bootstrap(self):
        """Once an account and region; it stays when stacks go."""
        self("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self):
        """Deploys all stacks; gives their outputs by name."""
        outputs = self.output.with_name(f"{self.output.name}.json")
        self("deploy", "--all", "--require-approval", "never", "--outputs-file", str(outputs))
        return {name: value for stack in json.loads(outputs.read_text()).values() for name, value in stack.items()}

    def destroy(self):
        self("destroy", "--all", "--force")


def sign(issuer, *, audience=AUDIENCE, seconds=None, **claims):
    metadata = {"audience": audience} | ({"duration": seconds} if seconds else {})
    asked = {"data": {"sub": "alice", "scope": "orders:read", **claims}, "metadata": metadata}
    answer = httpx.post(f"{issuer}/sign", auth=("tests", SECRET), json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def header(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def forged(token):
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | dict([FORGED])
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"


def expired(issuer):
    """A token that was good until a moment ago."""
    token = sign(issuer, seconds=1)
    time.sleep(2.1)
    return token


def bad_tokens(issuer):
    """Tokens that must not open `orders`, by what is wrong with them."""
    return {
        "none": None,
        "expired": expired(issuer),
        "forged": forged(sign(issuer)),
        "audience": sign(issuer, audience="api://other"),
        "scope": sign(issuer, scope="orders:write"),
    }


def get(url, token=None):
    """What a GET gives: the body of a 200, else the status."""
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=60)
    return answer.text if answer.status_code == 200 else answer.status_code


def remains(aws):
    """What is left in an account, by kind; KMS keys only if they are not about to be deleted."""
    client = aws.client
    kms = client("kms")
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    found = {
        "functions": client("lambda").list_functions()["Functions"],
        "tables": client("dynamodb").list_tables()["TableNames"],
        "http apis": client("apigatewayv2").get_apis()["Items"],
        "rest apis": client("apigateway").get_rest_apis()["items"],
        "rules": client("events").list_rules()["Rules"],
        "log groups": client("logs").describe_log_groups()["logGroups"],
        "alarms": client("cloudwatch").describe_alarms()["MetricAlarms"],
        "parameters": client("ssm").describe_parameters()["Parameters"],
        "buckets": client("s3").list_buckets()["Buckets"],
        "distributions": client("cloudfront").list_distributions()["DistributionList"].get("Items", []),
        "roles": client("iam").list_roles()["Roles"],
        "keys": [key for key in keys if key["KeyState"] != "PendingDeletion" and key.get("KeyManager") == "CUSTOMER"],
    }
    return {kind: left for kind, left in found.items() if left}
