"""Authorities that let people upload, and forms sent to a bucket as a browser sends them; botocore says what a signature has to be.

`post` sends the fields and the file last, as multipart/form-data. `signed` signs a policy of any kind again as botocore does.
"""

import base64
import json

import httpx
from botocore.auth import S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from e2e import wire
from e2e.program import CONFIG, SECRET, client

PAGE = "https://app.example.com"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 92
PROFILE = 'profiles = ["upload"]\n'
CLAIMS = 'claims = { allow = ["sub", "tenant"] }\n'
PAGES = f'audiences = ["{PAGE}", "https://other.example.com"]\n'


def destination(name, bucket, endpoint, key="uploads/{sub}/{uuid}", types=("image/png",), max_bytes=1000, more="", region="us-east-1"):
    """A table of [uploads]."""
    where = f'endpoint = "{endpoint}"\n' if endpoint else ""
    return (f'\n[uploads.{name}]\nbucket = "{bucket}"\nregion = "{region}"\n{where}key = "{key}"\n'
            f'content_types = {json.dumps(list(types))}\nmax_bytes = {max_bytes}\n{more}')


def uploader(id, *to, more=PAGES + CLAIMS, profile=PROFILE):
    return client(id, more=profile + f"uploads = {json.dumps(list(to))}\n" + more)


def configuration(*entries, server=True):
    """For the fixture `authority`, or with `server` for `World.configure`."""
    own = CONFIG if server else CONFIG.replace("http://127.0.0.1:@PORT@", "@ISSUER@").replace('\n[server]\nlisten = "127.0.0.1:@PORT@"\n', "")
    return own + "".join(entries)


def ask(server, body, id="web", path="/uploads", secret=SECRET, **headers):
    """A request as a backend sends it; a dict becomes JSON."""
    body = json.dumps(body) if isinstance(body, dict) else body
    sent = {"Content-Type": "application/json", "Authorization": wire.basic(id, secret)} | headers
    return wire.ask(server.issuer, "POST", path, {name: value for name, value in sent.items() if value}, body.encode())


def permitted(answer):
    """The claims of a token that was given; nothing is verified here."""
    assert answer.status == 200, answer
    return json.loads(wire.claims(answer.json()["upload_token"]))


def envelope(server, sub="alice", id="web", metadata=None, claims=None, **upload):
    """The claim `upload` of a token."""
    body = {"data": {"sub": sub} | (claims or {}), "upload": upload} | ({"metadata": metadata} if metadata else {})
    return permitted(ask(server, body, id))["upload"]


def policy(fields):
    return json.loads(base64.b64decode(fields["policy"], validate=True))


def signature(fields, secret, region="us-east-1"):
    """What botocore says it is, for a policy as it stands."""
    auth = S3SigV4PostAuth(Credentials(fields["x-amz-credential"].split("/")[0], secret), "s3", region)
    request = AWSRequest()
    request.context["timestamp"] = fields["x-amz-date"]
    return auth.signature(fields["policy"], request)


def signed(fields, document, secret):
    """The same form with another policy, signed as its owner would."""
    fields = fields | {"policy": base64.b64encode(json.dumps(document).encode()).decode()}
    return fields | {"x-amz-signature": signature(fields, secret)}


def post(url, fields, file=PNG, name="me.png", content_type="image/png"):
    """Sends a form. Field names may be repeated in a list of pairs."""
    parts = [(field, (None, value)) for field, value in (fields.items() if isinstance(fields, dict) else fields)]
    return httpx.post(url, files=[*parts, ("file", (name, file, content_type))])
