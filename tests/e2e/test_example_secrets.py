"""What examples make for one person, secrets and what belongs to them, is in no commit; and none is made by halves."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "examples/cdk-jaas/client.mjs"
#: What setups and servers of the examples leave in their folders.
MADE = ("client.hash", "client.secret", ".env", "sealing.key", "countersign.db", "countersign.db-wal")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_what_examples_make_is_ignored_in_every_one_and_committed_in_none():
    committed = git("ls-files", "-z", "examples", "deploy").stdout.split("\0")
    assert "examples/cdk-jaas/client.mjs" in committed
    assert [path for path in committed if Path(path).name in MADE or path.endswith((".secret", ".hash"))] == []
    folders = sorted({Path(path).parts[1] for path in committed if path.startswith("examples/") and path.count("/") > 1})
    made = [f"examples/{folder}/{name}" for folder in folders for name in MADE]
    assert len(folders) > 10 and git("check-ignore", "--no-index", *made).stdout.splitlines() == made
    secrets = re.compile(rb"cssec_[A-Za-z0-9_-]{43}|-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{60}")
    assert [path for path in committed if path.startswith("examples/") and secrets.search((ROOT / path).read_bytes())] == []


def client(folder, what):
    script = f"import {{ hasClient, makeClient }} from './client.mjs';\n{what}"
    return subprocess.run(["node", "--input-type=module", "-e", script], cwd=folder, capture_output=True, text=True)


def test_a_hash_of_a_client_counts_only_with_its_secret(tmp_path):
    shutil.copy(CLIENT, tmp_path)
    assert client(tmp_path, "console.log(hasClient())").stdout == "false\n"
    assert "commit neither" in client(tmp_path, "makeClient()").stdout
    assert client(tmp_path, "console.log(hasClient())").stdout == "true\n"
    secret = tmp_path / "client.secret"
    assert secret.stat().st_mode & 0o77 == 0
    for spoil, message in [
        (lambda: secret.write_text("cssec_another\n"), "client.hash is not the hash of the secret in client.secret"),
        (secret.unlink, "client.hash is here, and client.secret is not"),
    ]:
        spoil()
        refused = client(tmp_path, "hasClient()")
        assert refused.returncode != 0 and message in refused.stderr and "delete client.hash" in refused.stderr


def test_setup_looks_at_the_client_before_it_sends_the_key_anywhere():
    text = (ROOT / "examples/cdk-jaas/setup.mjs").read_text(encoding="utf-8")
    assert 0 < text.index("hasClient()") < text.index("ssm.send(") < text.index("makeClient()")
