"""Profile `jitsi`: a real Prosody, configured by what `countersign config prosody` prints, lets clients in over BOSH by our tokens.

Its token plugin is written for this test from the documented rules (`prosody/`), because Jitsi's own is in no package. Each rule is
tried with tokens that break it, made by PyJWT; so the plugin is known to look.
"""

import hashlib
import json
import random
import subprocess
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml
from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from e2e import wire
from e2e.blocks import blocks, environment, run
from e2e.program import SECRET, client, free_port, private, until
from gate import keyserver

PLUGINS = Path(__file__).parent / "prosody"
PAGE = Path(__file__).parents[2] / "docs/jitsi.md"
DOMAIN, MUC = "meet.example", "conference.meet.example"
DOCUMENT = "/.well-known/jwks-rsa.json"
#: Where Prosody has the secret, which our file shows to nobody else.
ITS_OWN = "/etc/prosody/jitsi.secret"
SHARED = "a-secret-that-prosody-has-too-0123456789"
BOSH, SASL, STREAM = "http://jabber.org/protocol/httpbind", "urn:ietf:params:xml:ns:xmpp-sasl", "urn:xmpp:xbosh"
CONFIG = 'issuer = "http://127.0.0.1:@PORT@"\n\n[server]\nlisten = "127.0.0.1:@PORT@"\n'
PROFILE = f'\n[profiles.jitsi]\napp_id = "mine"\ndomain = "{DOMAIN}"\n'
MEETS = client("meets", more='profiles = ["jitsi"]\njitsi = { rooms = ["standup", "team-*"], any_room = true, user = ["*"], '
               'moderator = true, features = ["recording", "livestreaming"] }')
SETTINGS = """
daemonize = false
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
plugin_paths = {{ "{plugins}" }}
modules_enabled = {{ "saslauth", "disco", "bosh", "posix" }}
modules_disabled = {{ "s2s", "s2s_auth_certs", "offline" }}
c2s_ports, c2s_direct_tls_ports, s2s_ports, https_ports = {{}}, {{}}, {{}}, {{}}
http_ports = {{ {port} }}
http_interfaces = {{ "127.0.0.1" }}
http_default_host = "{domain}"
consider_bosh_secure = true
c2s_require_encryption = false
storage = "memory"
muc_room_locking = false
log = {{ info = "*console" }}

"""


class Prosody:
    """One Prosody on a free port of 127.0.0.1."""

    def __init__(self, folder, settings, variables=None):
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        text = SETTINGS.format(folder=folder, plugins=PLUGINS, port=self.port, domain=DOMAIN) + settings
        (folder / "prosody.cfg.lua").write_text(text)
        self.output = open(folder / "log", "ab")
        self.process = subprocess.Popen(
            ["prosody", "-F", "--config", folder / "prosody.cfg.lua"], stdout=self.output, stderr=self.output, stdin=subprocess.DEVNULL,
            env=variables, cwd=folder)
        until(self.answers, "Prosody answers", 30)

    def answers(self):
        assert self.process.poll() is None, self.log
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/http-bind", timeout=5).close()
        except urllib.error.HTTPError as why:
            why.close()
        except OSError:
            return False
        return True

    @property
    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)
        self.output.close()


class Participant:
    """A client over BOSH (XEP-0124, XEP-0206), as a browser is one."""

    def __init__(self, prosody, token, room="standup"):
        query = {name: value for name, value in {"token": token, "room": room}.items() if value is not None}
        self.url = f"http://127.0.0.1:{prosody.port}/http-bind?{urlencode(query)}"
        self.rid, self.sid = random.randrange(1 << 30), None
        self.sid = self.send(to=DOMAIN, ver="1.6", wait="2", hold="1", **{"xmpp:version": "1.0"}).get("sid")

    def send(self, content="", **attributes):
        self.rid += 1
        own = {"xmlns": BOSH, "xmlns:xmpp": STREAM, "rid": self.rid} | ({"sid": self.sid} if self.sid else {}) | attributes
        body = "<body %s>%s</body>" % (" ".join(f"{name}='{value}'" for name, value in own.items()), content)
        request = urllib.request.Request(self.url, body.encode(), {"Content-Type": "text/xml; charset=utf-8"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return xml.fromstring(answer.read())

    def until(self, name, answer):
        """The first stanza of this name, in this answer or a later one."""
        for _ in range(10):
            found = next((child for child in answer.iter() if child.tag.endswith("}" + name)), None)
            if found is not None:
                return found
            assert answer.get("type") != "terminate", xml.tostring(answer)
            answer = self.send()
        raise AssertionError(f"no {name}")

    def enter(self):
        """None if it may come in, else what it is told."""
        answer = self.send(f"<auth xmlns='{SASL}' mechanism='ANONYMOUS'/>")
        failure = next((child for child in answer.iter() if child.tag == f"{{{SASL}}}failure"), None)
        if failure is not None:
            return failure.findtext(f"{{{SASL}}}text") or "refused"
        self.until("success", answer)
        self.send(to=DOMAIN, **{"xmpp:restart": "true"})
        bind = "<iq type='set' id='bind' xmlns='jabber:client'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
        assert self.until("iq", self.send(bind)).get("type") == "result"
        return None

    def join(self, room):
        """Whether it is let into a room."""
        muc = "<x xmlns='http://jabber.org/protocol/muc'/>"
        presence = f"<presence xmlns='jabber:client' to='{room}@{MUC}/{random.randrange(1 << 30)}'>{muc}</presence>"
        return self.until("presence", self.send(presence)).get("type") != "error"


class House:
    """The program and a Prosody that verifies its tokens."""

    def __init__(self, world, folder, profile=PROFILE, printed=(), variables=None):
        world.configure(CONFIG + profile + MEETS)
        secret, its_own = world.file.parent / "prosody.secret", folder.with_suffix(".secret")
        if "file:" in profile:
            private(secret, SHARED + "\n")
            private(its_own, SHARED + "\n")
        if "shared-file:" in profile:
            secret.chmod(0o640)
        self.issuer = world.serve(env=variables).printed["issuer"]
        until(lambda: wire.get(self.issuer, "/readyz").status == 200, "ready")
        self.settings = world.done("config", "prosody", *printed, env=variables)
        assert SHARED not in self.settings
        settings = self.settings.replace(ITS_OWN, str(its_own))
        self.prosody = Prosody(folder, settings, world.environment | (variables or {}))

    def sign(self, room="standup", **data):
        body = {"profile": "jitsi", "data": {"room": room, "user": {"id": "u1", "name": "Zoë"}} | data}
        headers = {"Authorization": wire.basic("meets", SECRET), "Content-Type": "application/json"}
        answer = wire.ask(self.issuer, "POST", "/sign", headers, json.dumps(body).encode())
        assert answer.status == 200, answer
        return answer.json()["access_token"]


@pytest.fixture
def house(full_world, tmp_path):
    made = []

    def make(*arguments, **rest):
        made.append(House(full_world, tmp_path / "prosody", *arguments, **rest))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.prosody.end()


@pytest.mark.parametrize("profile, printed, variables, says", [
    (PROFILE, (), None, "cache_keys_url"),
    (PROFILE, ("--asap",), None, "asap_key_server"),
    (PROFILE + 'secret = "file:prosody.secret"\n', (), None, f'io.lines("{ITS_OWN}")'),
    (PROFILE + 'secret = "shared-file:prosody.secret"\n', (), None, "io.lines("),
    (PROFILE + 'secret = "env:APP_SECRET"\n', (), {"APP_SECRET": SHARED}, 'os.getenv("APP_SECRET")'),
], ids=["all keys", "each key", "secret in a file", "secret in a shared file", "secret in a variable"])
def test_a_participant_comes_in_and_into_the_room_of_the_token_alone(house, profile, printed, variables, says):
    one = house(profile, printed, variables)
    assert says in one.settings
    alice = Participant(one.prosody, one.sign("Standup"))
    assert alice.enter() is None, one.prosody.log
    assert alice.join("standup") and not alice.join("board"), one.prosody.log
    bob = Participant(one.prosody, one.sign("*"))
    assert bob.enter() is None and bob.join("board") and bob.join("standup")
    assert Participant(one.prosody, None).enter() is not None


def test_every_rule_of_the_plugin_is_kept_and_has_a_token_that_breaks_it(house, pem):
    one = house(PROFILE + 'secret = "env:APP_SECRET"\n', (), {"APP_SECRET": SHARED})
    good = jwt.decode(one.sign(features={"recording": True}), options={"verify_signature": False})
    now = int(time.time())

    def told(change=(), without=(), key=SHARED, algorithm="HS256", typ="JWT"):
        claims = {name: value for name, value in (good | dict(change)).items() if name not in without}
        token = jwt.api_jws.encode(json.dumps(claims).encode(), key, algorithm, {"typ": typ})
        return Participant(one.prosody, token).enter()

    assert told() is None, "the token as it was"
    published = load_pem_private_key(pem["rsa"].read_bytes(), None)
    for says, refused in {
        "typ": told(typ="at+jwt"),
        "alg": told(key=published, algorithm="RS256"),
        "signature": told(key="another-secret-of-more-than-32-bytes-00"),
        "exp": told({"exp": now}),
        "nbf": told({"nbf": now + 30}),
        "iss": told({"iss": one.issuer}),
        "aud": told({"aud": ["jitsi"]}),
        "room": told(without=["room"]),
        "sub": told(without=["sub"]),
        "context.user.email": told({"context": {"user": {"email": 7}}}),
    }.items():
        assert refused == says
    # Of features there is what was granted, where a token without the table would have all of them.
    def may(**context):
        before = len(one.prosody.log)
        token = jwt.encode(good | {"context": good["context"] | context}, SHARED, "HS256")
        if "features" in context and context["features"] is None:
            token = jwt.encode(good | {"context": {"user": good["context"]["user"]}}, SHARED, "HS256")
        someone = Participant(one.prosody, token)
        assert someone.enter() is None and someone.join("standup")
        return {name for name in ("recording", "livestreaming") if f"may {name}: standup" in one.prosody.log[before:]}

    assert may() == {"recording"} and may(features={}) == set() and may(features=None) == {"recording", "livestreaming"}


class Hall:
    """A Prosody that has its keys from a key server of the test's, in the way `config prosody` prints."""

    def __init__(self, world, folder, keys, printed, pem, max_age=300):
        self.keys, self.key, self.fetched = keys, load_pem_private_key(pem.read_bytes(), None), []
        self.publish(["one"], max_age)
        port = world.configure(CONFIG + PROFILE + MEETS)
        settings = world.done("config", "prosody", *printed).replace(f"http://127.0.0.1:{port}/", keys.url("/"))
        self.prosody = Prosody(folder, "removed_keys_stay = 0\n" + settings, world.environment)

    def publish(self, kids, max_age):
        jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        answer = keyserver.answer({"keys": [jwk | {"kid": kid} for kid in kids]}, max_age=max_age)

        def behaviour(connection, stopped):
            self.fetched.append(time.monotonic())
            answer(connection, stopped)

        self.keys.serve(DOCUMENT, behaviour)
        text = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        for kid in kids:
            self.keys.serve(f"/asap/{hashlib.sha256(kid.encode()).hexdigest()}.pem", keyserver.answer(text))

    def token(self, change=(), kid="one", key=None, algorithm="RS256"):
        now = int(time.time())
        claims = {"iss": "mine", "aud": "jitsi", "sub": DOMAIN, "room": "standup", "nbf": now - 10, "exp": now + 60}
        claims |= {"context": {"user": {"id": "u1"}, "features": {}}} | dict(change)
        header = {"typ": "JWT"} | ({"kid": kid} if kid else {})
        return jwt.api_jws.encode(json.dumps(claims).encode(), key or self.key, algorithm, header)

    def enters(self, *arguments, **rest):
        """What a participant with such a token is told, and whether it is let into the room."""
        someone = Participant(self.prosody, self.token(*arguments, **rest))
        says = someone.enter()
        return says or someone.join("standup")


@pytest.fixture(params=[(), ("--asap",)], ids=["all keys", "each key"])
def hall(request, full_world, tmp_path, pem):
    made = []
    with keyserver.key_server() as keys:
        def make(**rest):
            made.append(Hall(full_world, tmp_path / "prosody", keys, request.param, pem["rsa"], **rest))
            return made[-1]

        try:
            yield make
        finally:
            for one in made:
                one.prosody.end()


def test_every_rule_of_the_plugin_is_kept_with_published_keys(hall):
    one = hall()
    assert one.enters() is True, one.prosody.log
    other = rsa.generate_private_key(65537, 2048)
    now = int(time.time())
    for says, refused in [
        ("signature", one.enters(key=other)),
        ("kid", one.enters(kid=None)),
        ("key", one.enters(kid="two")),
        ("alg", one.enters(algorithm="RS512")),
        ("exp", one.enters({"exp": str(now + 60)})),
        ("nbf", one.enters({"nbf": str(now - 10)})),
        ("context.user.email", one.enters({"context": {"user": {"id": "u1", "email": None}}})),
        # It may come in, and not into a room of this domain.
        (False, one.enters({"sub": "other.example"})),
        (True, one.enters({"sub": DOMAIN.upper()})),
        (True, one.enters({"sub": "*"})),
    ]:
        assert refused == says, one.prosody.log


@pytest.mark.parametrize("hall", [()], ids=["all keys"], indirect=True)
@pytest.mark.parametrize("max_age, fresh", [(2, 2), (61, 1)])
def test_keys_are_fetched_again_when_the_cache_ends(hall, max_age, fresh):
    one = hall(max_age=max_age)
    assert one.enters() is True
    one.publish(["two"], 300)
    until(lambda: len(one.fetched) == 2, "the keys are fetched again", 15)
    first, second = one.fetched
    assert fresh <= second - first < fresh + 10
    until(lambda: one.enters(kid="two") is True, "the new key is believed", 5)
    assert one.enters() == "key", "a removed key is dropped"
    assert one.keys.asked == [DOCUMENT] * 2


@pytest.mark.parametrize("hall", [()], ids=["all keys"], indirect=True)
@pytest.mark.parametrize("max_age", [60, 300])
def test_an_unknown_kid_fetches_nothing_before_the_cache_ends(hall, max_age):
    one = hall(max_age=max_age)
    one.publish(["two"], 300)
    time.sleep(1.2)
    assert one.enters(kid="two") == "key" and one.enters() is True
    assert one.keys.asked == [DOCUMENT]


@pytest.mark.parametrize("printed", [(), ("--asap",)], ids=["all keys", "each key"])
def test_prosody_believes_new_keys_as_the_page_says(house, full_world, printed):
    """A new key is known when the cache ends, or with `--asap` fetched when its first token comes."""
    one = house('\n[jwks]\nmax_age = "2s"\n' + PROFILE, printed)
    full_world.done("keys", "prepare")
    [kid] = [key["kid"] for key in full_world.keys() if key["state"] == "prepared"]
    full_world.done("keys", "publish", kid)
    full_world.done("keys", "activate", kid, "--force")

    def signed():
        made = one.sign()
        return jwt.get_unverified_header(made)["kid"] == kid and made

    token = until(signed, "the new key signs")

    def joins():
        alice = Participant(one.prosody, token)
        return alice.enter() is None and alice.join("standup")

    if printed:
        assert joins(), one.prosody.log
    else:
        until(joins, "the new key is known when the cache ends", 10)


def test_keys_that_prosody_does_not_take_do_not_start(world):
    world.configure(CONFIG + '\n[rings.default]\nalgorithm = "ES256"\n' + PROFILE + MEETS)
    world.fails(78, "it takes RS256, RS384 and RS512", "config", "prosody")
    done = world.run("serve", "--json")
    assert done.returncode != 0 and "profile jitsi: Prosody's token plugins take RS256" in done.stdout + done.stderr
    for change, says in [
        (f'domain = "{DOMAIN}"', 'domain = "Meet.example"'), ('app_id = "mine"', 'app_id = "*"'),
        ('app_id = "mine"', 'app_id = "mine"\naudience = ""'), (PROFILE, PROFILE + 'secret = "env:HOME"\nring = "default"\n'),
    ]:
        world.configure(CONFIG + PROFILE.replace(change, says) + MEETS)
        world.fails(78, "profiles.jitsi.", "config", "check")


def test_the_page_does_what_it_says(full_binary, tmp_path):
    (tmp_path / "work").mkdir()
    run(blocks(PAGE.read_text(encoding="utf-8")), tmp_path / "work", environment(full_binary, tmp_path))
