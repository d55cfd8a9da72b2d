"""AWS as moto plays it, on loopback: DynamoDB and S3 for programs that look for them where every AWS tool does.

Tests keep out of each other's way by names of tables and buckets. Moto keeps everything in memory, so none stops it: for an
outage there is a `Relay` in front. Credentials and endpoint go to the program by `AWS_…` variables alone; nothing that this
machine may have of its own is looked at.
"""

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from e2e.program import free_port, until

KEY_ID, SECRET, TOKEN = "AKIANEVERSHOWN", "SECRET-never-shown", "TOKEN-never-shown"
REGION = "us-east-1"


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
        self.port, self.clients, self.buckets = free_port(), {}, 0
        self.log = tempfile.NamedTemporaryFile(prefix="moto-", suffix=".log")
        script = Path(__file__).parents[1] / "servers" / "amazon.py"
        command = [sys.executable, script, "--port", str(self.port)]
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

    def bucket(self):
        """The name of a new bucket."""
        self.buckets += 1
        name = f"bucket-{self.buckets}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def objects(self, bucket):
        """Every object by name."""
        s3 = self.client("s3")
        names = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

    def end(self):
        for client in self.clients.values():
            client.close()
        self.process.kill()
        self.process.wait()
        self.log.close()


class Relay:
    """A port in front of moto. `asked` has every request as (method, path, headers); `spoil` may answer one instead, with a
    status and a body, or cut its connection by returning `"away"`. With `reader` it asks in its own name, as CloudFront does
    for those who ask it, and may read what they may not."""

    def __init__(self, server, reader=False):
        relay = self
        # moto looks at whom a request is for and not at what proves it.
        own = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/{REGION}/s3/aws4_request, Signature=x"} if reader else {}
        self.asked, self.spoil, self.connections, self.silent = [], lambda method, path: None, set(), set()
        self.ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                relay.connections.add(self.connection)

            def finish(self):
                relay.connections.discard(self.connection)
                super().finish()

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.connection in relay.silent:
                    relay.ended.wait()
                    self.close_connection = True
                    return
                relay.asked.append((self.command, self.path, dict(self.headers)))
                spoiled = relay.spoil(self.command, self.path)
                if spoiled == "away":
                    self.close_connection = True
                    return
                if spoiled:
                    status, headers, content = spoiled[0], [], spoiled[1]
                else:
                    onward = http.client.HTTPConnection("127.0.0.1", server, timeout=120)
                    onward.request(self.command, self.path, body, dict(self.headers) | own)
                    answer = onward.getresponse()
                    status, headers, content = answer.status, answer.getheaders(), answer.read()
                    onward.close()
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cut(self):
        """Every connection that is open now ends; new ones are taken."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def silence(self):
        """No connection that is open now is answered any more; new ones are."""
        self.silent |= self.connections

    def shut(self):
        """From now on every connection is cut: the server is away."""
        self.spoil = lambda method, path: "away"

    def unshut(self):
        self.spoil = lambda method, path: None

    def end(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
