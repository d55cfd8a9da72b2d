"""s3s-fs, another implementation of S3's POST policies (Rust): the table of forms of tests/e2e/test_uploads.py once more.

    export COUNTERSIGN_BIN=target/debug/countersign-full PYTHONPATH=tests:tests/interop
    .tools/venv/bin/python tests/peers/s3s_fs.py

Installs it once through cargo into .tools (two minutes of processor time and more; Apache-2.0) and prints a table. It stores what it
may have in a folder, so a key is looked for there. Needs a build with every feature.
"""

import os
import shutil
import subprocess
from pathlib import Path

from authority import until
from e2e.program import free_port
from e2e.static_site import is_open
from e2e.test_uploads import CASES, CREDENTIALS
from e2e.uploading import configuration, destination, envelope, post, uploader
from peers.told import TOOLS, Folders, Table, binary, folder, tried_here
from authority import authorities
from servers.held import holding

VERSION = "0.14.1"
BUCKET = "uploads"
#: What it stores and S3 does not: it does not compare the hash that a form names with the file.
OTHERWISE = {"other bytes than the hash"}
#: It knows no sessions.
NOT_ASKED = {"a session token that it knows nothing of"}


def program():
    """Where it is; installed if it is not there."""
    root = TOOLS / f"s3s-fs-{VERSION}"
    if not (root / "bin/s3s-fs").exists():
        wanted = ["s3s-fs", "--version", VERSION, "--features", "binary", "--locked", "--root", root, "--target-dir", TOOLS / "rust/target"]
        subprocess.run(["cargo", "install", "--quiet", *wanted], check=True)
    return root / "bin/s3s-fs"


class S3s:
    """It keeps objects as files below `folder`."""

    key_id, secret = "AKIANEVERSHOWN", "SECRET-never-shown"

    def __init__(self, path):
        self.folder, port = Path(path), free_port()
        (self.folder / BUCKET).mkdir(parents=True)
        self.url = f"http://127.0.0.1:{port}"
        command = [program(), "--host", "127.0.0.1", "--port", str(port), "--access-key", self.key_id, "--secret-key", self.secret, self.folder]
        with open(self.folder.parent / "s3s.log", "wb") as log:
            self.process = subprocess.Popen(holding(command), stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ)
        until(lambda: is_open(port), "s3s-fs listens")

    def objects(self):
        below = self.folder / BUCKET
        return {str(path.relative_to(below)) for path in below.rglob("*") if path.is_file() and not path.name.startswith(".")}

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def main():
    table = Table("form")
    with folder() as root:
        s3 = S3s(root / "s3s" / "objects")
        try:
            keys = CREDENTIALS.format(s3)
            entries = [
                destination("photos", BUCKET, s3.url, more=keys), uploader("web", "photos"),
                destination("papers", BUCKET, s3.url, "in/{tenant}/{sub}/{jti}.pdf", ("application/pdf", "text/plain"), 5000, keys),
                uploader("papers", "papers"),
            ]
            with authorities(binary(), Folders(root)) as start:
                server = start(configuration(*entries, server=False), env={"BUCKET_SECRET": s3.secret})
                for name, (id, asked, tamper, file, stored) in CASES.items():
                    if name in NOT_ASKED:
                        continue
                    given = envelope(server, id=id, claims={"tenant": "acme"}, **asked)
                    before = s3.objects()
                    answer = post(given["url"], tamper(given["fields"], s3) if tamper else given["fields"], file)
                    new = s3.objects() - before
                    table.row(name, "stored" if stored or name in OTHERWISE else "refused", "stored" if new else "refused" if answer.status_code >= 400 else "lost")
                    shutil.rmtree(s3.folder / BUCKET / "uploads", ignore_errors=True)
        finally:
            s3.end()
    table.end()


if __name__ == "__main__":
    tried_here(main)
