"""`publish --check` against a server that serves the published files with one thing changed: what is told, and why.

The rows are what people have in front of an issuer by mistake: a site that answers every path with its index page, a bucket without
types, a CDN that keeps everything for a day, a cache that is late.
"""

import http.server
import json
import threading

import pytest
from e2e.program import CONFIG, client

JWKS, DISCOVERY = "/.well-known/jwks.json", "/.well-known/openid-configuration"
MAX_AGE = "public, max-age=300"


class Site:
    """Serves what was published, but for what a test changes: a function of path, status, headers and body."""

    def __init__(self, world):
        self.world, self.files, self.change = world, {}, lambda path, answer: answer
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer = outer.change(self.path, outer.files.get(self.path, (404, {"Content-Type": "text/plain"}, b"no such file")))
                status, headers, body = answer
                self.send_response_only(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        world.configure(CONFIG + client("tests"), port=self.server.server_address[1])
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.publish()

    def publish(self):
        said = json.loads(self.world.done("publish", "site", "--json"))
        self.files = {
            row["path"]: (200, {"Content-Type": row["content_type"], "Cache-Control": row["cache_control"]},
                          (self.world.folder / ("site" + row["path"])).read_bytes())
            for row in said["documents"]
        }

    def checked(self):
        """Exit code, and the row of each document by its path; nothing but one object is printed."""
        done = self.world.run("publish", "--check", "--json")
        said = json.loads(done.stdout)
        rows = {row["url"].removeprefix(self.issuer): row for row in said["documents"]}
        assert set(self.files) <= set(rows) and all(set(row) == {"url", "cause", "message"} for row in rows.values())
        assert ("error" in said) == (done.returncode == 1) and done.returncode in (0, 1), done
        return done.returncode, rows

    def line(self):
        done = self.world.run("publish", "--check")
        assert done.returncode == 1 and done.stdout == "", done
        [line] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        return line


@pytest.fixture
def site(world):
    site = Site(world)
    yield site
    site.server.shutdown()
    site.server.server_close()


def at(*paths, **change):
    """Changes parts of the answers at these paths, of all where none is named."""
    def changed(path, answer):
        if paths and path not in paths:
            return answer
        status, headers, body = answer
        body = change.get("body", body)
        return change.get("status", status), {**headers, **change.get("headers", {})}, body(answer[2]) if callable(body) else body
    return changed


def with_private_member(body):
    said = json.loads(body)
    for key in said.get("keys", []):
        key["d"] = "c2VjcmV0LW9mLXRoaXMtdGVzdA"
    return json.dumps(said).encode()


XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
PAGE = b"<!DOCTYPE html><html><body>Welcome</body></html>"
#: What is served, at which documents, with which cause, and what is said of it.
CHANGED = {
    "discovery is not there": (at(DISCOVERY, status=404), {DISCOVERY}, "fetch_status", ["404", "countersign publish"]),
    "403 with XML": (at(JWKS, status=403, body=XML, headers={"Content-Type": "application/xml"}), {JWKS}, "fetch_status", ["403", "S3"]),
    "301 with XML": (at(JWKS, status=301, body=XML, headers={"Location": "https://s3.example/"}), {JWKS}, "fetch_redirect", ["redirect", "another region"]),
    "307": (at(JWKS, status=307, body=b"", headers={"Location": "/elsewhere"}), {JWKS}, "fetch_redirect", ["redirect", "verifiers do not follow it"]),
    "the index page for every path": (at(body=PAGE, headers={"Content-Type": "text/html"}), None, "html", ["HTML page", "index page"]),
    "XML with 200": (at(JWKS, body=XML), {JWKS}, "xml", ["XML, as S3 answers"]),
    "a private member": (at(JWKS, body=with_private_member), {JWKS}, "private_key", ["private keys (`d`)", "countersign keys revoke"]),
    "every type is octet-stream": (
        at(headers={"Content-Type": "binary/octet-stream"}), None, "content_type",
        ["Content-Type `binary/octet-stream`", "has to be `application/json`", "has to be `application/x-pem-file`"]),
    "no type": (at(JWKS, headers={"Content-Type": ""}), {JWKS}, "content_type", ["has to be `application/jwk-set+json`"]),
    "a day in caches": (
        at(headers={"Cache-Control": "max-age=86400"}), None, "cache_longer", ["1day", "5m", "jwks.max_age", MAX_AGE]),
    "a day in shared caches": (at(JWKS, headers={"Cache-Control": "max-age=300, s-maxage=86400"}), {JWKS}, "cache_longer", ["1day"]),
    "nothing of caches": (at(JWKS, headers={"Cache-Control": "public"}), {JWKS}, "cache_unlimited", ["without a max-age", "CloudFront: a day"]),
    "a cache that keeps longer": (at(JWKS, headers={"Age": "7200"}), {JWKS}, "cache_older", ["2h", "minimum TTL"]),
    "another issuer": (
        at(DISCOVERY, body=lambda body: body.replace(b'"issuer":"http', b'"issuer":"https')), {DISCOVERY}, "differs", ["`issuer` differs"]),
    "cut off": (at(JWKS, body=lambda body: body[:-5]), {JWKS}, "not_json", ["not a JSON object"]),
}


def test_what_is_served_as_it_was_published_is_right(site):
    code, rows = site.checked()
    assert code == 0 and {row["cause"] for row in rows.values()} == {None}
    assert site.world.done("publish", "--check").strip() == f"{len(rows)} documents at {site.issuer} are what they should be"
    # How most web servers name JSON, and one that lets nothing be kept: verifiers take both.
    site.change = at(*[path for path in rows if not path.endswith(".pem")], headers={"Content-Type": "application/json; charset=utf-8"})
    assert site.checked()[0] == 0
    site.change = at(headers={"Cache-Control": "no-store"})
    assert site.checked()[0] == 0


@pytest.mark.parametrize("what", CHANGED)
def test_one_thing_that_is_changed_is_told_with_its_cause_and_what_to_do(site, what):
    change, paths, cause, says = CHANGED[what]
    site.change = change
    code, rows = site.checked()
    assert code == 1
    assert {path: row["cause"] for path, row in rows.items()} == {path: cause if paths is None or path in paths else None for path in rows}
    line = site.line()
    assert all(said in line for said in says), line
    # Where all documents have one fault it is said once.
    assert len(line) < 1500 and line.count("countersign: ") == 1, line
    if paths is not None:
        assert all(f"{site.issuer}{path} " in line for path in paths), line
    assert "c2VjcmV0" not in line


def test_older_and_newer_keys_are_told_apart(site):
    before = dict(site.files)
    kid = json.loads(site.world.done("keys", "prepare", "--json"))["kid"]
    site.world.done("keys", "publish", kid)
    code, rows = site.checked()
    assert code == 1 and rows[JWKS]["cause"] == "stale"
    assert "is older than the keyring: its sequence is " in site.line() and "run `countersign publish`" in site.line()
    site.publish()
    assert site.checked()[0] == 0
    # A cache in front has kept the older one.
    site.change = lambda path, answer: before.get(path, answer)
    assert site.checked()[1][JWKS]["cause"] == "stale"
    site.change = at(JWKS, body=lambda body: json.dumps(json.loads(body) | {"countersign_sequence": 1000}).encode())
    assert site.checked()[1][JWKS]["cause"] == "newer" and "went back" in site.line()
