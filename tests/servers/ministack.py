"""AWS as MiniStack plays it, of the tests' own: one process on 127.0.0.1 that runs functions' real programs.

It runs from .tools/ministack (scripts/test installs it; TESTBED_TOOLS names another folder) on a free port and in a folder of
its own. A shell holds it and ends it, with the functions that it started, when its own standard input closes, which the
kernel does however this process ends.

    with MiniStack() as aws:
        aws.client("lambda").create_function(...)     # boto3
        subprocess.run(["cdk", "deploy"], env=os.environ | aws.variables)
        httpx.get(aws.api(api_id, "prod") + "/path")

Where it is known to differ from AWS, the tests say so beside what they assert.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import boto3
from e2e.program import free_port, until

TOOLS = Path(os.environ.get("TESTBED_TOOLS") or Path(__file__).parents[2] / ".tools")
#: The account is 000000000000 for every key id but one of twelve digits, which would be an account of its own.
ACCOUNT, REGION = "000000000000", "us-east-1"
#: What the tests' servers in AWS's place know callers by; a text that can be looked for in logs and answers.
KEY_ID, SECRET = "AKIANEVERSHOWN", "SECRET-never-shown"
SUPERVISE = """exec 3<&0
"$@" </dev/null & pid=$!
{
  cat >/dev/null
  kill -TERM "$pid" 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.3; done
  kill -KILL -- -$$
} <&3 &
wait "$pid"
"""


class Client:
    """What the tests know of a MiniStack on a port of this machine, however it was started."""

    # It reads an account out of a key id that looks like one of AWS.
    key_id, secret = "test", SECRET

    def __init__(self, port):
        self.port, self.clients, self.buckets = port, {}, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self):
        """What aws, boto3, cdk, terraform, sam and serverless find it by, and nothing that this machine may have."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        }

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def client(self, service):
        """boto3's, for what a test does itself and for a look from outside."""
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=self.key_id, aws_secret_access_key=self.secret
            )
        return self.clients[service]

    def bucket(self):
        """The name of a new bucket, which no other server here has: a form of one may be sent to another."""
        self.buckets += 1
        name = f"bucket-{self.port}-{self.buckets}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def objects(self, bucket):
        """Every object of a bucket by name."""
        s3 = self.client("s3")
        names = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

    def api(self, id, stage=None):
        """Where a REST, HTTP or WebSocket API answers, in place of `ID.execute-api.REGION.amazonaws.com/STAGE`."""
        return f"{self.url}/_aws/execute-api/{id}" + (f"/{stage}" if stage else "")

    def function_url(self, url):
        """Where a function URL answers, in place of `https://ID.lambda-url.REGION.on.aws/`."""
        return f"{self.url}/_aws/lambda-url/{url.split('//')[1].split('.')[0]}"

    def close(self):
        for client in self.clients.values():
            client.close()


class MiniStack(Client):
    """environment: settings of the emulator itself, beside those without which it listens on every address."""

    def __init__(self, environment=None):
        program = TOOLS / "ministack/bin/ministack"
        assert program.exists(), f"{program} is not there; scripts/test installs it"
        self.folder = Path(tempfile.mkdtemp(prefix="countersign-ministack"))
        for name in ("state", "tmp"):
            (self.folder / name).mkdir()
        super().__init__(free_port())
        settings = {
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
            "STATE_DIR": str(self.folder / "state"), "TMPDIR": str(self.folder / "tmp"), "AWS_ENDPOINT_URL": self.url,
            # Python functions find the interpreter that has boto3, as Lambda's do.
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        own = ("AWS_", "COUNTERSIGN_", "JAAS_", "JWT_", "PRIVATE_KEY", "MINISTACK_", "LAMBDA_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", SUPERVISE, "supervise", str(program)], cwd=self.folder, start_new_session=True,
                env=clean | settings | (environment or {}), stdin=subprocess.PIPE, stdout=log, stderr=log,
            )
        until(self.healthy, f"MiniStack is healthy; {self.folder}/log", within=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    @property
    def log(self):
        """What it and the functions that it ran have written."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def healthy(self):
        assert self.process.poll() is None, self.log
        return super().healthy()

    def end(self):
        self.close()
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
