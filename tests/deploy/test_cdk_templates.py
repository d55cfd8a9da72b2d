"""The templates of the constructs as an account would get them, under cfn-lint with its rules for IAM policies."""

import json
import os
import shutil
import subprocess

import pytest
from deploy.cdk import CONSTRUCTS, ROOT
from e2e.program import secret_hash
from servers.ministack import TOOLS

#: E3510, E3512 and E3530 read policies as IAM would; W3037 and I3510 know every action and the resources it takes.
LINT = ["--regions", "us-east-1", "--include-checks", "I3510", "--ignore-checks", "W3005", "--format", "json", "--template"]


def lint(template):
    """What cfn-lint finds. W3005 is CDK's own habit: it names dependencies that a reference implies."""
    done = subprocess.run(
        [TOOLS / "sam/bin/cfn-lint", *LINT, template], capture_output=True, text=True, timeout=300
    )
    return [f"{found['Rule']['Id']} {found['Message']}" for found in json.loads(done.stdout or "[]")]


def synthesized(folder, out, *app, **environment):
    """The template of an app's one stack, for an account that nobody knows yet."""
    cdk = folder / "node_modules" / ".bin" / "cdk"
    assert cdk.exists(), f"scripts/test runs `npm ci` in {folder}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_", "JAAS_"))}
    done = subprocess.run(
        [cdk, "synth", "--quiet", "--no-notices", "--no-version-reporting", "--output", out, *app],
        cwd=folder, env=kept | environment, capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (template,) = out.glob("*.template.json")
    return template


@pytest.fixture(scope="module")
def template(packages, tmp_path_factory):
    """That of all constructs."""
    return synthesized(
        CONSTRUCTS, tmp_path_factory.mktemp("synth") / "out", "--app", "node test/deployed/app.cjs", ISSUER_ZIP=str(packages.issuer),
        AUTHORIZER_ZIP=str(packages.authorizer), ARCHITECTURE=packages.architecture, SECRET_HASH=secret_hash(),
    )


@pytest.fixture(scope="module")
def example(packages, tmp_path_factory):
    """That of examples/cdk-jaas, with the `.env` of its README."""
    source, folder = ROOT / "examples" / "cdk-jaas", tmp_path_factory.mktemp("example") / "cdk-jaas"
    folder.mkdir()
    for name in ("app.ts", "cdk.json", "package.json", "tsconfig.json"):
        shutil.copy(source / name, folder / name)
    (folder / "node_modules").symlink_to(source / "node_modules")
    shutil.copy(source / ".env.example", folder / ".env")
    (folder / "client.hash").write_text(secret_hash(), encoding="utf-8")
    return synthesized(folder, folder / "out", ISSUER_ZIP=str(packages.issuer))


def test_cfn_lint_finds_nothing(template, example):
    assert lint(template) == [] and lint(example) == []


def test_it_would_find_an_action_that_does_not_exist_and_a_resource_that_does_not_fit(template, tmp_path):
    wrong = json.loads(template.read_text(encoding="utf-8"))
    policy = next(one for one in wrong["Resources"].values() if one["Type"] == "AWS::IAM::Policy")
    first, second, *_ = policy["Properties"]["PolicyDocument"]["Statement"]
    first["Action"], second["Resource"] = "logs:Write", "arn:aws:s3:::bucket"
    (tmp_path / "wrong.json").write_text(json.dumps(wrong), encoding="utf-8")
    found = " ".join(lint(tmp_path / "wrong.json"))
    assert "W3037" in found and "I3510" in found, found


def test_no_template_has_a_secret_or_an_address_of_an_emulator(template, example):
    for text in (template.read_text(encoding="utf-8"), example.read_text(encoding="utf-8")):
        assert not [word for word in ("PRIVATE KEY", "cssec_", "127.0.0.1", "_aws/") if word in text]
    assert "vpaas-magic-cookie-1fc542a3e4414a44b2611668195e2bfe" in text and "ssm:/countersign-jaas/private-key" in text
