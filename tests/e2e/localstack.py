"""AWS's KMS as LocalStack plays it, of the tests' own, and a door in front of it that can be shut.

LocalStack runs in host mode from .tools/localstack (scripts/test installs it; TESTBED_TOOLS names another folder), on 127.0.0.1
and a free port, in a folder of its own. A shell holds it and ends it when its own standard input closes, which the kernel
does however this process ends.
"""

import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from pathlib import Path

import boto3
from e2e.program import free_port, until

TOOLS = Path(os.environ.get("TESTBED_TOOLS") or Path(__file__).parents[2] / ".tools")
SUPERVISE = """exec 3<&0
"$@" </dev/null & pid=$!
{ cat >/dev/null; kill -KILL "$pid" 2>/dev/null; } <&3 &
wait "$pid"
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class LocalStack:
    def __init__(self):
        python = TOOLS / "localstack/bin/python"
        assert python.exists(), f"{python} is not there; scripts/test installs it"
        self.folder = Path(tempfile.mkdtemp(prefix="countersign-localstack"))
        self.port = free_port()
        settings = {
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1",
            "EAGER_SERVICE_LOADING": "0", "DNS_ADDRESS": "0", "FILESYSTEM_ROOT": str(self.folder),
            "LOCALSTACK_VOLUME_DIR": str(self.folder),
        }
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", SUPERVISE, "supervise", str(python), "-m", "localstack.runtime.main"],
                cwd=self.folder, env=os.environ | settings, stdin=subprocess.PIPE, stdout=log, stderr=log,
            )
        until(self.healthy, "LocalStack", within=120)
        self.kms = boto3.client(
            "kms", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def healthy(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def key(self, **more):
        """The ARN of a new key."""
        return self.kms.create_key(**more)["KeyMetadata"]["Arn"]

    def end(self):
        self.kms.close()
        self.process.stdin.close()
        self.process.wait(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)


class Door:
    """A port that leads to another one while it is open."""

    def __init__(self, port):
        self.to, self.open, self.clients, self.threads = port, True, set(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.start(self.accept)

    def start(self, what, *arguments):
        self.threads.append(threading.Thread(target=what, args=arguments, daemon=True))
        self.threads[-1].start()

    @property
    def environment(self):
        """What the AWS SDK of a program reads."""
        return CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.listener.getsockname()[1]}"}

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            self.clients.add(client)
            self.start(self.connection, client)

    def connection(self, client):
        """Passes bytes in both directions until either side ends."""
        with client, socket.create_connection(("127.0.0.1", self.to)) as server:
            ways = {client: server, server: client}
            try:
                while True:
                    for one in select.select(list(ways), [], [])[0]:
                        data = one.recv(65536)
                        if not data:
                            return
                        ways[one].sendall(data)
            except OSError:
                pass
            finally:
                self.clients.discard(client)

    def shut(self):
        self.open = False
        for client in list(self.clients):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def end(self):
        self.shut()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()
