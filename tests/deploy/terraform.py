"""Terraform as the tests run it: copies of our modules and examples, so that nothing is left in the repository.

The provider comes from the registry, once for all (.tools/terraform-plugins), or where that cannot be reached from a folder of
plugins on this machine, if it has one. A machine that has neither, or no Terraform, says so aloud at the end of the run.
"""

import json
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".tools" / "terraform-plugins"
#: Where a machine may keep plugins beside those that Terraform looks for by itself.
PLUGINS = ("/opt/*", "/usr/share/terraform/plugins", "/usr/local/share/terraform/plugins", "~/.terraform.d/plugins")
PROVIDER = "registry.terraform.io/hashicorp/aws"


class Terraform:
    """The program with a provider. `why_not` says what is missing."""

    def __init__(self, folder):
        self.folder, self.why_not, self.configuration = folder, None, folder / "terraformrc"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_", "MINISTACK_", "COUNTERSIGN_"))
        } | {
            "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": str(self.configuration),
            # It and its provider look for unused memory a quarter as often, which saves a quarter of their work.
            "GOGC": "400",
        }
        if not shutil.which("terraform"):
            self.why_not = "there is no terraform on this machine"
            return
        copy(folder)
        CACHE.mkdir(parents=True, exist_ok=True)
        self.configuration.write_text(f'plugin_cache_dir = "{CACHE}"\ndisable_checkpoint = true\n', encoding="utf-8")
        probe = self.run("init", "-backend=false", "-input=false", at="deploy/terraform/modules/keys", check=False)
        if probe.returncode == 0:
            return
        mirrors = [root for pattern in PLUGINS for root in expanded(pattern) if (root / PROVIDER).is_dir()]
        if not mirrors:
            self.why_not = f"its provider cannot be had: {probe.stdout}{probe.stderr}".strip().splitlines()[-1]
            return
        self.configuration.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirrors[0]}"\n  }}\n}}\ndisable_checkpoint = true\n',
            encoding="utf-8",
        )
        warnings.warn("NOT TESTED: a provider fetched from Terraform's registry, which was not reached; this machine has one", stacklevel=2)

    def at(self, folder):
        """The same program over other copies."""
        other = object.__new__(Terraform)
        other.folder, other.environment, other.why_not = folder, self.environment, None
        return other

    def run(self, *arguments, at, environment=None, check=True, within=300):
        done = subprocess.run(
            ["terraform", *arguments], cwd=self.folder / at, env=self.environment | (environment or {}), text=True,
            capture_output=True, timeout=within,
        )
        assert not check or done.returncode == 0, f"terraform {' '.join(arguments)} in {at}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done


def copy(folder):
    for name in ("deploy/terraform", "examples", "tests/deploy/modules"):
        ignore = shutil.ignore_patterns(".terraform", "*.tfstate*", "node_modules", "__pycache__", ".serverless", "dist")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)


def lines_of(readme, name):
    """The commands of the block behind `<!-- test: NAME -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", readme.read_text(encoding="utf-8"), re.S)
    return [line for line in found[1].splitlines() if line]


def loosen(modules):
    """The emulator's IAM does not know the encryption context and the tags of keys in KMS: conditions on them count where they are known."""
    condition = re.compile(r'test     = "StringEquals"(\n +variable = "(?:kms:EncryptionContext:purpose|aws:ResourceTag/countersign-issuer)")')
    count = 0
    for file in sorted((modules / "keys").glob("*.tf")):
        text, found = condition.subn(r'test     = "StringEqualsIfExists"\1', file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
        count += found
    assert count == 7, "other conditions than those that are known"


def expanded(pattern):
    path = Path(pattern).expanduser()
    return sorted(path.parent.glob(path.name))


class Deployment:
    """One root configuration, applied to an emulator of AWS, which is asked at `url`."""

    def __init__(self, terraform, at, aws, url, variables):
        self.terraform, self.at, self.aws, self.environment = terraform, at, aws, aws.variables | {"AWS_ENDPOINT_URL": url}
        (terraform.folder / at / "test.auto.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")

    def run(self, *arguments, check=True):
        done = self.terraform.run(*arguments, at=self.at, environment=self.environment, check=False)
        said = f"terraform {' '.join(arguments)} in {self.at}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        assert not check or done.returncode == 0, f"{said}\n{self.aws.log[-12000:]}"
        return done

    def apply(self):
        self.run("init", "-input=false")
        self.run("apply", "-auto-approve", "-input=false")
        self.outputs = {name: one["value"] for name, one in json.loads(self.run("output", "-json").stdout).items()}

    def changes(self):
        """What a second plan would change: by address, the names of the attributes that are different."""
        planned = self.run("plan", "-input=false", "-detailed-exitcode", "-out=second", check=False)
        assert planned.returncode in (0, 2), planned.stdout + planned.stderr
        plan = json.loads(self.run("show", "-json", "second").stdout)
        differ = {}
        for change in plan.get("resource_changes", []):
            if change["change"]["actions"] not in (["no-op"], ["read"]):
                before, after = (change["change"][side] or {} for side in ("before", "after"))
                differ[change["address"]] = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
        return differ

    def destroy(self):
        self.run("destroy", "-auto-approve", "-input=false", "-parallelism=20")
