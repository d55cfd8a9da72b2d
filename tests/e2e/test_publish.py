"""An issuer without a server: `countersign publish` writes the documents, nginx serves them, `countersign sign` mints."""

import fcntl
import hashlib
import json
import os

import jwt
import pytest
from e2e import wire
from e2e.program import CONFIG, client, until
from e2e.static_site import nginx

@pytest.fixture
def static(world):
    """A configuration, and nginx in front of the folder `site` at the issuer's address."""
    port = world.configure(CONFIG + client("tests"))
    world.issuer = f"http://127.0.0.1:{port}"
    with nginx(world.folder, port):
        yield world


def files(world):
    site = world.folder / "site"
    return {"/" + str(path.relative_to(site)): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_what_is_published_is_what_a_server_would_answer(static):
    static.done("publish", "site")
    published = files(static)
    assert {"/.well-known/openid-configuration", "/.well-known/jwks.json", "/.well-known/jwks-rsa.json"} < set(published)
    server = static.serve("--listen", "127.0.0.1:0")
    for path, body in published.items():
        answer = wire.get(f"http://{server.printed['listen']}", path)
        assert (answer.status, answer.body) == (200, body), path


def test_verifiers_need_nothing_but_the_folder(static):
    static.done("publish", "site")
    assert "are what they should be" in static.done("publish", "--check")
    token = static.done("sign", "--claims", '{"sub":"alice"}').strip()
    key = jwt.PyJWKClient(f"{static.issuer}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["ES256"], issuer=static.issuer, audience="api://default")
    assert claims["sub"] == "alice"
    static.done("verify", "--issuer", static.issuer, "--audience", "api://default", token)
    # Jitsi's key server: the SHA-256 of the kid, as PEM.
    kid = jwt.get_unverified_header(token)["kid"]
    pem = wire.get(static.issuer, f"/asap/{hashlib.sha256(kid.encode()).hexdigest()}.pem").body
    jwt.decode(token, pem.decode(), algorithms=["ES256"], issuer=static.issuer, audience="api://default")


def test_only_what_changed_is_written_and_keys_that_are_gone_leave(static):
    static.done("publish", "site")
    before = files(static)
    again = json.loads(static.done("publish", "site", "--json"))
    assert not any(document["written"] for document in again["documents"]) and again["removed"] == []
    first = static.keys()[0]["kid"]
    second = json.loads(static.done("keys", "prepare", "--json"))["kid"]
    static.done("keys", "publish", second)
    static.fails(1, "is not what it should be", "publish", "--check")
    changed = json.loads(static.done("publish", "site", "--json"))
    written = {document["path"] for document in changed["documents"] if document["written"]}
    assert "/.well-known/jwks.json" in written and "/.well-known/openid-configuration" not in written
    static.done("keys", "revoke", first)
    removed = json.loads(static.done("publish", "site", "--json"))["removed"]
    gone = f"/asap/{hashlib.sha256(first.encode()).hexdigest()}.pem"
    assert removed == [gone] and gone in before and gone not in files(static)
    static.done("publish", "--check")


@pytest.mark.parametrize("command", [["publish", "site"], ["keys", "rotate", "--publish", "site"]])
def test_a_run_waits_for_another_and_then_has_the_newest_keys(static, command):
    static.done("publish", "site")
    folder = os.path.realpath(static.folder / "site/.well-known")
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    run = static.spawn(*command)

    def has_come():
        assert run.poll() is None, "it did not wait"
        return any(os.path.realpath(f"/proc/{run.pid}/fd/{number}") == folder for number in os.listdir(f"/proc/{run.pid}/fd"))

    until(has_come, "it comes to the folder")
    second = json.loads(static.done("keys", "prepare", "--json"))["kid"]
    static.done("keys", "publish", second)
    assert run.poll() is None
    os.close(lock)
    assert run.wait(60) == 0, static.log
    assert second in {key["kid"] for key in wire.get(static.issuer, "/.well-known/jwks.json").json()["keys"]}


def test_a_file_of_somebody_else_stays_and_a_folder_that_cannot_be_written_is_told(static):
    asap = static.folder / "site" / "asap"
    asap.mkdir()
    (asap / "notes.pem").write_text("mine")
    static.done("publish", "site")
    assert (asap / "notes.pem").read_text() == "mine"
    (static.folder / "file").write_text("")
    static.fails(78, "cannot be written", "publish", "file")
