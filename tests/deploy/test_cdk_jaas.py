"""examples/cdk-jaas: the second way of its README, as it stands there, and what AWS has after it."""

import base64
import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import jwt
import pytest
from authority import until
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from deploy.cdk import ROOT, remains
from e2e.blocks import blocks, environment, missing
from e2e.program import free_port
from servers.ministack import TOOLS, Client

EXAMPLE = ROOT / "examples" / "cdk-jaas"
APP_ID = "vpaas-magic-cookie-1fc542a3e4414a44b2611668195e2bfe"
KID = f"{APP_ID}/4f4910"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example as a clone has it, after `npm ci`, which scripts/test has run; and the emulator's script beside it."""
    assert (EXAMPLE / "node_modules").exists(), "scripts/test runs `npm ci` in examples/cdk-jaas"
    clone = tmp_path_factory.mktemp("clone")
    left = shutil.ignore_patterns("node_modules", "cdk.out", "client.hash", "client.secret", "outputs.json", "*.js", ".env")
    copy = shutil.copytree(EXAMPLE, clone / "examples" / "cdk-jaas", ignore=left)
    (copy / "node_modules").symlink_to(EXAMPLE / "node_modules")
    shutil.copy(ROOT / "examples" / "emulator", clone / "examples" / "emulator")
    # What the script would install is there.
    (clone / "cache" / "countersign").mkdir(parents=True)
    (clone / "cache" / "countersign" / "ministack").symlink_to(TOOLS.resolve() / "ministack")
    return copy


@pytest.fixture(scope="module")
def tried(folder, packages, binary, tmp_path_factory):
    """What `npm run try` printed, and the emulator that it was tried on."""
    port = free_port()
    emulator, attempt = blocks((EXAMPLE / "README.md").read_text(encoding="utf-8").replace("127.0.0.1:4566", f"127.0.0.1:{port}"))
    assert [emulator.name, attempt.name] == ["emulator", "try"]
    own = {
        "GATEWAY_PORT": str(port), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "ISSUER_ZIP": str(packages.issuer),
        "XDG_CACHE_HOME": str(folder.parents[1] / "cache"), "HOME": str(folder.parents[1]), "CI": "1",
    }
    around = {name: value for name, value in environment(binary, tmp_path_factory.mktemp("path")).items() if not name.startswith("AWS_")} | own
    start = lambda block, **rest: subprocess.Popen(  # noqa: E731
        ["bash", "-euo", "pipefail", "-c", block.text], cwd=folder, env=around, stdin=subprocess.DEVNULL, **rest
    )
    with open(folder.parent / "emulator.log", "wb") as log:
        server = start(emulator, stdout=log, stderr=log, start_new_session=True)
    aws = Client(port)
    try:
        until(lambda: server.poll() is not None or aws.healthy(), "the emulator is healthy")
        assert server.poll() is None, Path(log.name).read_text(encoding="utf-8")
        process = start(attempt, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and not missing(attempt, output), output[-6000:]
        yield output, aws, around
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        aws.close()


def tokens(output):
    """The tokens that it printed: by the REST API, and by the function URL."""
    return [line.split("?jwt=")[1].strip() for line in output.splitlines() if "?jwt=" in line]


def addresses(output):
    """The two ways in."""
    return [line.strip().removesuffix("/sign") for line in output.splitlines() if line.startswith("http") and line.endswith("/sign")]


def test_both_ways_in_give_a_token_of_the_imported_key_as_8x8_documents_it(tried):
    output, aws, _ = tried
    stored = aws.client("ssm").get_parameter(Name="/countersign-jaas/private-key", WithDecryption=True)["Parameter"]
    assert stored["Type"] == "SecureString"
    key = load_pem_private_key(stored["Value"].encode(), None).public_key()
    rest, url = tokens(output)
    for token in (rest, url):
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": KID, "typ": "JWT"}
        claims = jwt.decode(token, key, algorithms=["RS256"], audience="jitsi", issuer="chat")
        assert (claims["sub"], claims["room"], claims["context"]["user"]["moderator"]) == (APP_ID, "standup", "true")


def test_who_has_no_secret_gets_no_token(tried):
    output, _, _ = tried
    asked = {"profile": "jaas", "data": {"room": "standup", "user": {"name": "Mallory"}, "moderator": True}}
    for address in addresses(output):
        for credentials in (None, ("meetings", "cssec_guessed")):
            assert httpx.post(f"{address}/sign", json=asked, auth=credentials, timeout=60).status_code == 401


def test_the_private_key_is_nowhere_but_in_parameter_store(tried, folder):
    _, aws, _ = tried
    stored = aws.client("ssm").get_parameter(Name="/countersign-jaas/private-key", WithDecryption=True)["Parameter"]["Value"]
    lines = [line for line in stored.splitlines() if "-----" not in line]
    template = aws.client("cloudformation").get_template(StackName="CountersignJaas")["TemplateBody"]
    functions = str([one["Environment"] for one in aws.client("lambda").list_functions()["Functions"] if "Environment" in one])
    for place in (str(template), functions, *(file.read_text(encoding="utf-8") for file in folder.glob("client.[hs]*"))):
        assert lines[0] not in place and base64.b64encode(lines[0].encode()).decode() not in place
    assert (folder / "client.secret").stat().st_mode & 0o77 == 0


def test_destroy_leaves_the_parameter_alone(tried, folder):
    """The last test of this file."""
    _, aws, around = tried
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "JAAS_APP_ID": APP_ID, "JAAS_API_KID": KID}
    command = ["npx", "cdk", "destroy", "--force", "--no-notices", "-c", f"countersign:emulator={around['AWS_ENDPOINT_URL']}"]
    done = subprocess.run(command, cwd=folder, env=around | credentials, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    left = {kind: found for kind, found in remains(aws).items() if kind not in ("roles", "buckets")}
    # The roles and the bucket are those of `cdk bootstrap`, as its version parameter is.
    names = {one["Name"] for one in left.pop("parameters")}
    assert names == {"/countersign-jaas/private-key", "/cdk-bootstrap/hnb659fds/version"} and left == {}
    assert all("cdk-hnb659fds" in one["RoleName"] for one in aws.client("iam").list_roles()["Roles"])
