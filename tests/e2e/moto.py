"""AWS as moto plays it, in a process of its own, and a relay in front of it that writes down and spoils requests."""

import http.client
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
from e2e.program import free_port, until

REGION = "us-east-1"
KEY_ID, SECRET_KEY = "AKIDTESTS", "SECRET-KEY-never-shown"
#: What a program finds its way and its rights by.
ENVIRONMENT = {
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class Moto:
    """A server that is there until `end`."""

    def __init__(self):
        self.port, self.buckets = free_port(), 0
        program = Path(sys.executable).with_name("moto_server")
        self.process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: is_open(self.port) or self.process.poll() is not None, "moto listens", within=60)
        assert self.process.poll() is None, "moto does not start"

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, service):
        keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET_KEY}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

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
        self.process.terminate()
        self.process.wait(30)


def is_open(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


class Relay:
    """A port in front of moto. `asked` has every request as (method, path, headers); `spoil` may answer one instead, with a
    status and a body, or cut its connection by returning `"away"`. With `reader` it asks in its own name, as CloudFront does
    for those who ask it, and may read what they may not."""

    def __init__(self, server, reader=False):
        relay = self
        # moto looks at whom a request is for and not at what proves it.
        own = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/{REGION}/s3/aws4_request, Signature=x"} if reader else {}
        self.asked, self.spoil = [], lambda method, path: None

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                relay.asked.append((self.command, self.path, dict(self.headers)))
                spoiled = relay.spoil(self.command, self.path)
                if spoiled == "away":
                    self.close_connection = True
                    return
                if spoiled:
                    status, headers, content = spoiled[0], [], spoiled[1]
                else:
                    onward = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
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

    def end(self):
        self.server.shutdown()
        self.server.server_close()
