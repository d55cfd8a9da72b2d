"""The Terraform modules and their examples, applied to MiniStack with IAM in force, and called.

Clients are PyJWT, httpx, websockets and curl; API Gateway's own authorizer is the emulator's. Where the emulator differs from
AWS, that stands beside the assertion.
"""

import base64
import json
import re
import subprocess
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import boto3
import httpx
import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from deploy.terraform import REPOSITORY, Deployment, Terraform, copy, lines_of, loosen
from e2e.aws import Relay
from e2e.program import SECRET, secret_hash, until
from servers.ministack import REGION, TOOLS
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

EXAMPLES = ["terraform-static-issuer", "terraform-websocket"]
MODULES = ["keys", "issuer", "static-issuer", "authorizer"]
#: What a turn of the rotation is asked by; it is that of the schedules.
TURN = json.dumps({"source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}})
#: What the emulator does not give back as it was set, so that a second plan would set it again. None of it is so on AWS.
NOT_KEPT = {
    "aws_cloudwatch_metric_alarm": {"actions_enabled", "alarm_description", "dimensions", "period", "statistic", "treat_missing_data"},
    "aws_apigatewayv2_authorizer": {"authorizer_payload_format_version", "jwt_configuration"},
    "aws_api_gateway_stage": {"access_log_settings"},
}


@pytest.fixture(scope="module")
def terraform(tmp_path_factory):
    """None where it cannot be had, which is said aloud."""
    one = Terraform(tmp_path_factory.mktemp("terraform"))
    if one.why_not:
        warnings.warn(f"NOT TESTED: the Terraform modules and examples, because {one.why_not}", stacklevel=2)
        return None
    return one


class Deployments:
    """Everything that is deployed, all at once, because most of the time is waiting."""

    def __init__(self, terraform, aws, packages, folder):
        # Without the relay, which asks the emulator on a connection of its own each time, a request was now and then carried out
        # and asked for again by Terraform, which was then told that it exists. Why is not known.
        self.viewer, self.relay = viewer(aws), Relay(aws.port)
        copy(folder)
        loosen(folder / "deploy/terraform/modules")
        zipped(REPOSITORY / "tests/deploy/modules/backend/index.py", folder / "backend.zip")
        zipped(REPOSITORY / "examples/terraform-static-issuer/backend/index.py", folder / "examples/terraform-static-issuer/backend.zip")
        own = terraform.at(folder)
        self.modules = Deployment(own, "tests/deploy/modules", aws, self.relay.url, {
            "apis": aws.api("").rstrip("/"), "secret_hash": secret_hash(),
            "packages": {
                "issuer": str(packages.issuer), "authorizer": str(packages.authorizer), "backend": str(folder / "backend.zip"),
                "architecture": packages.architecture,
            },
        })
        self.static = Deployment(own, "examples/terraform-static-issuer", aws, self.relay.url, {
            "name": "cs-static", "package": str(packages.issuer), "architecture": packages.architecture, "issuer": self.viewer.url,
            "deletion_protection": False, "rotation_schedule": "rate(1 minute)", "rotation": 'propagation = "1s"\n[jwks]\nmax_age = "10s"\n[rotation]\nskew = "1s"\n',
        })
        # Two at a time, on two emulators. One that unpacks functions answers nobody meanwhile, for many seconds on a busy machine.
        self.pool, self.applied, self.examples = ThreadPoolExecutor(2), {}, {}
        for one, name in zip((self.modules, self.static), EXAMPLES, strict=True):
            self.applied[one] = self.pool.submit(one.apply)
            self.examples[name] = self.pool.submit(second_way, terraform, packages, name, folder / name)

    def ready(self, one):
        self.applied[one].result(timeout=900)
        return one

    def end(self):
        self.pool.shutdown()
        # Those that are there, if only in part.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Deployment.destroy, self.applied))
        self.viewer.end()
        self.relay.end()


@pytest.fixture(scope="module")
def deployments(terraform, strict, packages, tmp_path_factory):
    if not terraform:
        yield None
        return
    before = everything(strict)
    all_of_them = Deployments(terraform, strict, packages, tmp_path_factory.mktemp("deployments"))
    try:
        yield all_of_them
    finally:
        all_of_them.end()
    # Keys in KMS are never gone at once, and rotated ones stay on purpose: nothing that was signed with them is to become unknown.
    assert everything(strict) == before, "terraform destroy has left something"


def everything(aws):
    """What is there, by its kind."""
    listed = {
        "functions": [one["FunctionName"] for one in aws.client("lambda").list_functions()["Functions"]],
        "tables": aws.client("dynamodb").list_tables()["TableNames"],
        "roles": [one["RoleName"] for one in aws.client("iam").list_roles()["Roles"]],
        "log groups": [one["logGroupName"] for one in aws.client("logs").describe_log_groups()["logGroups"]],
        "parameters": [one["Name"] for one in aws.client("ssm").describe_parameters()["Parameters"]],
        "HTTP and WebSocket APIs": [one["ApiId"] for one in aws.client("apigatewayv2").get_apis()["Items"]],
        "REST APIs": [one["id"] for one in aws.client("apigateway").get_rest_apis()["items"]],
        "schedules": [one["Name"] for one in aws.client("scheduler").list_schedules()["Schedules"]],
        "alarms": [one["AlarmName"] for one in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "buckets": [one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]],
        "distributions": aws.client("cloudfront").list_distributions()["DistributionList"].get("Items", []),
        "aliases": [one["AliasName"] for one in aws.client("kms").list_aliases()["Aliases"]],
        "stacks": [one["StackName"] for one in aws.client("cloudformation").list_stacks()["StackSummaries"] if one["StackStatus"] != "DELETE_COMPLETE"],
    }
    return {kind: sorted(names) for kind, names in listed.items()}


def zipped(file, path):
    with zipfile.ZipFile(path, "w") as package:
        package.write(file, file.name)


def viewer(aws):
    """The port that stands for the domain of the distribution: the one of examples/with-ministack."""
    loader = SourceFileLoader("with_ministack", str(REPOSITORY / "examples/with-ministack"))
    module = module_from_spec(spec_from_loader("with_ministack", loader))
    loader.exec_module(module)

    def domain(_):
        # With IAM in force it has to be asked as AWS is, which the script, without boto3, cannot.
        found = aws.client("cloudfront").list_distributions()["DistributionList"].get("Items", [])
        return found[0]["DomainName"] if found else None

    return module.Viewers(aws.port, domain)


# Without AWS.


def test_everything_is_formatted(terraform):
    if not terraform:
        return
    formatted = terraform.run("fmt", "-check", "-recursive", "-diff", at=".", check=False)
    assert formatted.returncode == 0, formatted.stdout


def test_each_module_is_valid_and_its_own_tests_pass(terraform):
    if not terraform:
        return

    def tried(module):
        at = f"deploy/terraform/modules/{module}"
        terraform.run("init", "-backend=false", "-input=false", at=at)
        # That validates the module first.
        done = terraform.run("test", at=at)
        assert re.search(r"[1-9]\d* passed, 0 failed", done.stdout), f"{module}: {done.stdout}"

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tried, MODULES))


#: What uses a key, or lets somebody use it without a change of its policy.
USES_OF_A_KEY = [
    "Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext", "Sign", "GenerateMac", "DeriveSharedSecret", "CreateGrant", "ReplicateKey", "ImportKeyMaterial",
]


def test_no_wildcard_in_a_policy_is_a_use_of_a_key_and_nobody_may_grant_one():
    """Policies of keys and of roles. What a key policy gives to whom is in modules/keys/tests."""
    files = [*REPOSITORY.glob("deploy/terraform/modules/*/*.tf"), *REPOSITORY.glob("examples/*/*.tf")]
    found = [(path, action) for path in files for action in re.findall(r'"kms:([A-Za-z*?]+)"', path.read_text(encoding="utf-8"))]
    assert len({action for _, action in found}) > 10, "the policies were read"
    for path, action in found:
        uses = [use for use in USES_OF_A_KEY if fnmatchcase(use.lower(), action.lower())]
        assert uses == ([action] if uses else []) and "CreateGrant" not in uses, f"{path}: kms:{action} is {', '.join(uses)}"
    keys = {path.relative_to(REPOSITORY) for path in files if re.search(r'resource "aws_kms_(replica_|external_)?key', path.read_text())}
    assert keys == {Path("deploy/terraform/modules/keys/sealing.tf")}, "a key whose policy no test reads"


def test_the_tables_of_the_readme_files_are_those_of_the_variables(tmp_path):
    modules = REPOSITORY / "deploy/terraform/modules"
    for name in MODULES:
        (tmp_path / name).mkdir()
        for file in ("README.md", "variables.tf", "outputs.tf"):
            (tmp_path / name / file).write_bytes((modules / name / file).read_bytes())
    subprocess.run([REPOSITORY / "scripts/terraform-tables", tmp_path], check=True, timeout=60)
    for name in MODULES:
        written = (tmp_path / name / "README.md").read_text()
        assert written == (modules / name / "README.md").read_text(), f"run scripts/terraform-tables: {name}/README.md is out of date"
        assert written.count("\n| `") >= 4


# Issuers of three kinds, and APIs of three kinds.


@pytest.fixture(scope="module")
def deployed(deployments):
    return deployments and deployments.ready(deployments.modules)


@pytest.fixture(scope="module")
def static(deployments):
    return deployments and deployments.ready(deployments.static)


def sign(issuer, audience="api://orders", lifetime=30, **claims):
    asked = {"data": {"sub": "alice", **claims}, "metadata": {"audience": audience, "duration": lifetime}}
    answer = httpx.post(f"{issuer}/sign", auth=("tests", SECRET), json=asked, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def forged(token):
    """The same with another subject, and the old signature."""
    head, _, signature = token.split(".")
    claims = claims_of(token) | {"sub": "mallory"}
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("="), signature])


def by_another_key(token):
    """Its claims under a key of somebody else, and its kid."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims_of(token), key, "RS256", headers={"kid": kid(token)})


def keys_of(url):
    answer = httpx.get(f"{url}/.well-known/jwks.json", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["keys"]


def asked(url, token=None, method="GET"):
    return httpx.request(method, url, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=60)


def test_each_issuer_signs_what_its_published_keys_verify(deployed):
    if not deployed:
        return
    issuers = deployed.outputs["issuers"]
    served = {"http": issuers["http"], "rest": issuers["rest"], "url": deployed.aws.function_url(issuers["url"])}
    for name, at in served.items():
        discovery = httpx.get(f"{at}/.well-known/openid-configuration", timeout=60).json()
        assert discovery["issuer"] == issuers[name]
        token = sign(at, scope="orders:read")
        key = jwt.PyJWKSet.from_dict({"keys": keys_of(at)})[kid(token)]
        algorithm = "ES256" if name == "url" else "RS256"
        assert jwt.decode(token, key, algorithms=[algorithm], issuer=issuers[name], audience="api://orders")["sub"] == "alice"
    # Those of the second one are in KMS, made and signed with by the rights that the module gives.
    kms = deployed.aws.client("kms")
    made = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys()["Keys"]]
    assert any(one["KeyUsage"] == "SIGN_VERIFY" for one in made), made
    assert httpx.post(f"{issuers['http']}/sign", auth=("tests", "wrong"), json={"data": {}}, timeout=60).status_code == 401


def test_tokens_open_what_they_should_before_and_after_a_rotation_by_the_scheduled_event(deployed):
    if not deployed:
        return
    aws, issuer, ids = deployed.aws, deployed.outputs["issuers"]["http"], deployed.outputs["ids"]
    native, ours, rest, chat = aws.api(ids["native"]), aws.api(ids["ours"]), aws.api(ids["rest"], "prod"), aws.api(ids["chat"], "prod")
    expired = sign(issuer, lifetime=3, scope="orders:read")

    def turn():
        return turned(aws, deployed.outputs["rotate_function_name"])

    def calls():
        good, write = sign(issuer, scope="orders:read"), sign(issuer, scope="orders:write")
        other = sign(issuer, "api://other", scope="orders:read")
        # Refused by the gateway's own authorizer, and by ours.
        for url, bad in ((f"{native}/orders", 401), (f"{ours}/orders", 403)):
            answer = asked(url, good)
            assert answer.status_code == 200 and "alice" in answer.text, answer.text
            assert asked(url).status_code == 401
            for token in (other, forged(good), by_another_key(good)):
                assert asked(url, token).status_code == bad
            assert asked(url, write).status_code == 403, "the scope is missing"
        assert asked(f"{ours}/orders", write, "POST").status_code == 200, "what is remembered says what the caller may do everywhere"
        assert asked(f"{ours}/orders", good, "POST").status_code == 403

        assert conversation(chat, good) == "alice"
        assert refused(chat, None) == 401
        for token in (other, forged(good), by_another_key(good)):
            # On AWS 401. The emulator does not know the error "Unauthorized" of a WebSocket API's authorizer.
            assert refused(chat, token) in (401, 500)
        return kid(good)

    # Tokens that KMS has signed, at the REST API.
    by_kms = deployed.outputs["issuers"]["rest"]
    signed = sign(by_kms)
    assert asked(f"{rest}/orders", signed).status_code == 200
    assert asked(f"{rest}/orders").status_code == 401
    for token in (forged(signed), by_another_key(signed), sign(by_kms, "api://other"), sign(issuer)):
        assert asked(f"{rest}/orders", token).status_code == 401

    # A next key is in public before it signs. So the gateway's own authorizer, which keeps keys for two hours, knows it in time.
    until(lambda: turn() and len(keys_of(issuer)) > 1, "the next key is in public", within=120)
    first = calls()
    # By now it is past the leeway of ours (10 s), and its key still in public.
    until(lambda: time.time() > claims_of(expired)["exp"] + 11, "a token has expired", within=60)
    assert kid(expired) in [key["kid"] for key in keys_of(issuer)]
    assert asked(f"{native}/orders", expired).status_code == 401
    assert asked(f"{ours}/orders", expired).status_code == 403
    assert refused(chat, expired) in (401, 500)  # 401 on AWS, as above
    until(lambda: turn() and kid(sign(issuer)) != first, "another key signs", within=150)
    assert calls() != first


def turned(aws, function):
    done = aws.client("lambda").invoke(FunctionName=function, Payload=TURN)
    answer = json.loads(done["Payload"].read())
    assert "FunctionError" not in done and answer["look_failed"] is None, answer
    return answer


def conversation(url, token):
    """Who the API thinks is talking."""
    with connect(f"{url.replace('http', 'ws', 1)}?authorization={token}", open_timeout=60) as socket:
        socket.send(json.dumps({"action": "hello"}))
        return json.loads(socket.recv(timeout=60))["authorizer"]["sub"]


def refused(url, token):
    with pytest.raises(InvalidStatus) as why:
        connect(url.replace("http", "ws", 1) + (f"?authorization={token}" if token else ""), open_timeout=60).close()
    return why.value.response.status_code


# An issuer without a server.


def test_a_static_issuer_is_what_cloudfront_serves_and_its_tokens_open_the_api_through_a_rotation(static, packages, deployments, tmp_path):
    if not static:
        return
    aws, issuer, api = static.aws, static.outputs["issuer"], static.aws.api(static.outputs["api_id"])
    assert issuer == deployments.viewer.url, "on AWS it is the domain of the distribution"
    with zipfile.ZipFile(packages.issuer) as package:
        program = Path(package.extract("bootstrap", tmp_path))
    program.chmod(0o700)

    def ran(*arguments, **credentials):
        environment = aws.variables | credentials | {"COUNTERSIGN_CONFIG": f"ssm:{static.outputs['config_parameter']}", "PATH": "/usr/bin:/bin"}
        return subprocess.run([program, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    def countersign(*arguments):
        done = ran(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def minted(scope, audience="api://orders"):
        return countersign("sign", "--audience", audience, "--claims", json.dumps({"sub": "alice", "scope": scope}))

    # The documents, and how long they may be kept.
    for path, kind in (("/.well-known/openid-configuration", "application/json"), ("/.well-known/jwks.json", "application/jwk-set+json")):
        told = httpx.get(issuer + path, timeout=60)
        assert told.status_code == 200 and told.headers["content-type"] == kind, told
        age = re.fullmatch(r"public, max-age=(\d+)", told.headers["cache-control"])
        assert age and 8 <= int(age[1]) <= 10, told.headers
        again = httpx.get(issuer + path, headers={"If-None-Match": told.headers["etag"]}, timeout=60)
        # CloudFront answers 304 from its cache. The emulator has none and asks the bucket without the condition.
        assert again.status_code in (200, 304)
        # The bucket itself answers nobody but the distribution.
        bucket = httpx.get(f"{aws.url}/cs-static-000000000000{path}", timeout=60)
        assert bucket.status_code == 403, bucket
    assert httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=60).json()["issuer"] == issuer
    parameters = aws.client("ssm").get_parameters(Names=[f"/cs-static/{name}" for name in ("issuer", "jwks_uri", "audience", "key_id")])
    parameters = {one["Name"].split("/")[-1]: one["Value"] for one in parameters["Parameters"]}
    token = minted("USER")
    assert parameters == {
        "issuer": issuer, "jwks_uri": f"{issuer}/.well-known/jwks.json", "audience": "api://orders", "key_id": kid(token)
    }
    jwt.decode(token, jwt.PyJWKClient(parameters["jwks_uri"]).get_signing_key_from_jwt(token), algorithms=["RS256"], issuer=issuer, audience="api://orders")

    def calls():
        user, admin = minted("USER"), minted("ADMIN")
        assert asked(f"{api}/public").status_code == 200
        assert asked(f"{api}/user").status_code == 401
        answer = asked(f"{api}/user", user)
        assert answer.status_code == 200 and answer.json()["claims"]["sub"] == "alice"
        assert asked(f"{api}/admin", user).status_code == 403
        assert asked(f"{api}/admin", admin).status_code == 200
        for bad in (minted("USER", "api://other"), forged(user), by_another_key(user)):
            assert asked(f"{api}/user", bad).status_code == 401
        return kid(user)

    # Somebody who may read the configuration and all of the table, but not use the sealing key, signs
    # nothing; and the key's policy lets nobody grant themselves its use, whatever IAM allows.
    readings = ["kms:Describe*", "kms:Get*", "kms:List*"]
    with bystander(aws, ["ssm:*", "dynamodb:*", *readings, "kms:CreateGrant"]) as credentials:
        done = ran("sign", "--audience", "api://orders", "--claims", "{}", **credentials)
        assert done.returncode == 78 and "KMS refuses access" in done.stderr and not done.stdout, done
        own = {name.lower(): value for name, value in credentials.items()}
        kms = boto3.client("kms", endpoint_url=aws.url, region_name=REGION, **own)
        key = kms.describe_key(KeyId="alias/cs-static")["KeyMetadata"]["Arn"]
        with pytest.raises(ClientError, match="AccessDenied"):
            kms.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::000000000000:user/bystander", Operations=["Decrypt"])

    # The schedule, which nobody here invokes, brings the next key to CloudFront.
    countersign("keys", "prepare")
    waiting = [key["kid"] for key in json.loads(countersign("keys", "list", "--json"))["keys"] if key["kid"] != kid(token)]
    countersign("keys", "publish", waiting[0])
    until(lambda: waiting[0] in [key["kid"] for key in keys_of(issuer)], "the schedule has published it", within=120)
    assert calls() == kid(token)

    def activated():
        turned(aws, static.outputs["rotate_function_name"])
        try:
            return countersign("keys", "activate", waiting[0])
        except AssertionError as why:
            assert "may not be known to all verifiers" in str(why), why
            return None

    until(activated, "it was seen for long enough", within=60)
    turned(aws, static.outputs["rotate_function_name"])
    assert calls() == waiting[0]
    assert aws.client("ssm").get_parameter(Name="/cs-static/key_id")["Parameter"]["Value"] == waiting[0]


@contextmanager
def bystander(aws, actions):
    """Credentials of a user who may do these things to everything."""
    iam, name = aws.client("iam"), "bystander"
    iam.create_user(UserName=name)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="some")
        iam.delete_user(UserName=name)


# All of them.


def test_a_second_plan_changes_nothing_of_ours(deployments):
    if not deployments:
        return
    for one in (deployments.ready(deployments.modules), deployments.ready(deployments.static)):
        changes = one.changes()
        # Something is found, so that it would be found.
        assert changes
        for address, names in changes.items():
            kind = re.sub(r"\[.*?\]$", "", address).split(".")[-2]
            assert set(names) <= NOT_KEPT.get(kind, set()), f"{address}: {names}"


# As people try them.


def second_way(terraform, packages, example, folder):
    """What the commands of a README say that need no account."""
    copy(folder)
    install, run = lines_of(folder / "examples" / example / "README.md", "ministack")
    assert install.startswith("pip install ministack==")
    environment = terraform.environment | {
        "MINISTACK": str(TOOLS / "ministack/bin/ministack"), "TF_VAR_package": str(packages.issuer),
        "TF_VAR_issuer_package": str(packages.issuer), "TF_VAR_authorizer_package": str(packages.authorizer),
        "TF_VAR_architecture": packages.architecture,
    }

    def once():
        return subprocess.run(run, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)

    done = once()
    # The same as in `Deployments`, without a relay: Terraform is told that what it has made exists. Each run has an emulator of its
    # own, in which nothing was before.
    return once() if done.returncode and "already exists" in done.stdout + done.stderr else done


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_second_way_of_each_readme_runs_to_its_end(deployments, example):
    if not deployments:
        return
    done = deployments.examples[example].result(timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shown = [line for line in done.stdout.splitlines() if re.match(r"\d{3}  ", line)]
    assert len(shown) >= 4, done.stdout
