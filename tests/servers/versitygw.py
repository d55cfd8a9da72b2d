"""S3 by versitygw (Go, Apache-2.0), nobody's emulator: it checks every signature, keeps objects as files and heeds preconditions.

Built once with `toolchains.go` from the sources that the Go proxy has. It knows one user, `KEY_ID`; tests keep apart by buckets.
It has neither temporary credentials nor roles, and a session token is not looked at.

    with VersityGW(tmp_path) as s3:
        s3.client("s3").put_object(Bucket=s3.bucket(), Key="k", Body=b"x")
"""

import os
import subprocess
from pathlib import Path

import boto3
import toolchains
from authority import until
from e2e.program import free_port
from e2e.static_site import is_open
from servers.held import holding
from servers.ministack import KEY_ID, REGION, SECRET, Client


class VersityGW:
    """Its objects are files below `folder`, which is to be empty. `toolchains.Missing` where there is no Go."""

    def __init__(self, folder, key_id=KEY_ID, secret=SECRET):
        self.port, self.clients, self.buckets, self.process = free_port(), {}, 0, None
        self.folder, self.key_id, self.secret = Path(folder), key_id, secret
        self.command = toolchains.versitygw()
        (self.folder / "objects").mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self):
        """What a program finds it by, and nothing that this machine may have."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self):
        """On the same port and with the objects that are there."""
        # The secret is on no command line.
        own = {
            "ROOT_ACCESS_KEY": self.key_id, "ROOT_SECRET_KEY": self.secret, "VGW_PORT": f"127.0.0.1:{self.port}", "VGW_QUIET": "true",
            "VGW_KEEP_ALIVE": "true",
        }
        if not has_attributes(self.folder):
            own["VGW_META_SIDECAR"] = str(self.folder / "attributes")
            (self.folder / "attributes").mkdir(exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VGW_", "ROOT_"))}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                holding([*self.command, "posix", self.folder / "objects"]), env=clean | own, stdin=subprocess.PIPE, stdout=log, stderr=log)
        until(self.listens, f"versitygw listens; {self.folder}/log")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        return is_open(self.port)

    def client(self, service):
        """boto3's, for what a test does itself and for a look from outside."""
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=self.key_id, aws_secret_access_key=self.secret
            )
        return self.clients[service]

    bucket, objects = Client.bucket, Client.objects

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=30)
            self.process = None

    def end(self):
        for client in self.clients.values():
            client.close()
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def has_attributes(folder):
    """Whether files there can have the attributes in which it keeps an object's headers; on a tmpfs of older kernels they cannot."""
    try:
        os.setxattr(folder, "user.countersign", b"1")
        return True
    except OSError:
        return False
