"""AWS as moto plays it, on loopback: DynamoDB and S3 for programs that look for them where every AWS tool does.

Tests keep out of each other's way by names of tables and buckets. Moto keeps everything in memory, so none stops it: for an
outage there is a `Gate` in front. Credentials and endpoint go to the program by `AWS_…` variables alone; nothing that this
machine may have of its own is looked at.
"""

import select
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import boto3
from e2e.program import free_port, until

KEY_ID, SECRET, TOKEN = "AKIANEVERSHOWN", "SECRET-never-shown", "TOKEN-never-shown"
REGION = "eu-central-1"
#: How often a gate looks whether it is shut, in seconds.
LOOK = 0.05


def variables(endpoint):
    """What a program needs to find it. No profile, no container and no instance is asked besides."""
    return {
        "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN, "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint, **nowhere(),
    }


def nowhere():
    """Variables with which nothing is found that this machine may have."""
    return {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials", "AWS_EC2_METADATA_DISABLED": "true"}


class Moto:
    def __init__(self):
        self.port, self.clients = free_port(), {}
        self.log = tempfile.NamedTemporaryFile(prefix="moto-", suffix=".log")
        program = Path(sys.executable).with_name("moto_server")
        command = [program, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        until(self.listens, f"moto listens; {self.log.name}", within=60)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def listens(self):
        assert self.process.poll() is None, Path(self.log.name).read_text(encoding="utf-8")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self, service):
        """boto3's, for a look from outside."""
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
            )
        return self.clients[service]

    def end(self):
        for client in self.clients.values():
            client.close()
        self.process.kill()
        self.process.wait()
        self.log.close()


class Gate:
    """A port that leads to another until it is shut; shut, it cuts what is open and what comes."""

    def __init__(self, port):
        self.target, self.open, self.ended = port, True, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LOOK)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def accept(self):
        while not self.ended:
            try:
                client, _ = self.listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self.connection, args=(client,))
            self.threads.append(thread)
            thread.start()

    def connection(self, client):
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            client.settimeout(60)
            while self.open and not self.ended:
                for one in select.select([client, server], [], [], LOOK)[0]:
                    try:
                        piece = one.recv(65536)
                        (server if one is client else client).sendall(piece)
                    except OSError:
                        return
                    if not piece:
                        return

    def shut(self):
        self.open = False

    def unshut(self):
        self.open = True

    def end(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        self.listener.close()
