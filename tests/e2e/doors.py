"""The doors through which tokens and keys come in, each as a function of a text: what was said, and whether it was taken.

Used by test_doors.py, whose tables have one row for each form and one column for each door.
"""

import json
from dataclasses import dataclass

from e2e import wire
from e2e.program import client, private
from e2e.test_jwt_bearer import ALICE, GRANT as JWT_BEARER, LOGIN, rule, trust
from e2e.test_token import basic, send
from e2e.test_token_exchange import GRANT as EXCHANGE, TYPE

AUDIENCE = "api://default"
ENTRY = (f'grants = ["{JWT_BEARER}", "{EXCHANGE}"]\nprofiles = ["access_token"]\naudiences = ["{AUDIENCE}"]\nscopes = ["read"]\n')
BELIEVED = trust(more=f', audiences = ["{AUDIENCE}"]')
CLIENTS = [client("app", more=ENTRY), client("signer", more=f'audiences = ["{AUDIENCE}"]\nclaims = {{ allow = ["*"] }}\n')]
RULES = [
    rule("app", "asserted", "once = false\n", BELIEVED),
    rule("app", "shown", f'grants = ["{EXCHANGE}"]\nimpersonate = true\nonce = false\n', BELIEVED),
]
TRUST = f'\n[[trust]]\nissuer = "{LOGIN}"\njwks = {json.dumps(ALICE.jwks)}\nalgorithms = ["ES256"]\naudiences = ["{AUDIENCE}"]\n'
GATE = TRUST + '\n[[gate.proxies]]\nkind = "caddy"\nnetworks = ["127.0.0.1/32"]\n'


@dataclass
class Said:
    """What came out at a door: whether the text was taken, and all that was said."""

    taken: bool
    text: str


def token():
    return ALICE.sign(AUDIENCE, iss=LOGIN)


class TokenDoors:
    """Doors for a token in some form. `world` has the files, `server` the endpoints."""

    def __init__(self, world, server):
        self.world, self.server = world, server
        private(world.folder / "alice.json", ALICE.jwks)
        private(world.folder / "gate.toml", TRUST)

    def command(self, *arguments, text, way):
        if way == "argument":
            done = self.world.run(*arguments[:1], text, *arguments[1:])
        elif way == "file":
            (self.world.folder / "pasted").write_bytes(text if isinstance(text, bytes) else text.encode())
            done = self.world.run(*arguments[:1], "@pasted", *arguments[1:])
        else:
            done = self.world.run(*arguments[:1], "-", *arguments[1:], input=text)
        assert done.returncode in (0, 1, 2), done
        return Said(done.returncode == 0, done.stdout + done.stderr)

    def verify(self, text, way="argument"):
        return self.command("verify", "--jwks", "alice.json", text=text, way=way)

    def verify_input(self, text):
        return self.verify(text, "input")

    def verify_file(self, text):
        return self.verify(text, "file")

    def explain(self, text):
        return self.command("explain", "--jwks", "alice.json", text=text, way="argument")

    def decode(self, text):
        return self.command("decode", text=text, way="argument")

    def authorize(self, text):
        event = {"type": "TOKEN", "authorizationToken": text, "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/x"}
        (self.world.folder / "event.json").write_text(json.dumps(event))
        done = self.world.run("authorize", "--config", "gate.toml", "--event", "event.json")
        assert done.returncode in (0, 1), done
        return Said(done.returncode == 0, done.stdout + done.stderr)

    def gate(self, text):
        """Said by the audit: a caller that is not let in is told no more than a code."""
        headers = {"Authorization": text, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/x", "X-Forwarded-Host": "a", "X-Forwarded-Proto": "https"}
        answer = wire.ask(self.server.issuer, "GET", "/gate", headers)
        return Said(answer.status == 200, f"{answer.status} {answer.headers['www-authenticate']}")

    def form(self, **parameters):
        answer = send(self.server, parameters, basic("app"))
        return Said(answer.status == 200, f"{answer.status} " + answer.body.decode())

    def assertion(self, text):
        return self.form(grant_type=JWT_BEARER, assertion=text)

    def subject_token(self, text):
        return self.form(grant_type=EXCHANGE, subject_token=text, subject_token_type=TYPE + "jwt")

    def sign(self, text):
        """`POST /sign` knows clients by their secrets, and no token opens it."""
        headers = {"Authorization": text, "Content-Type": "application/json"}
        answer = wire.ask(self.server.issuer, "POST", "/sign", headers, b'{"data":{"sub":"alice"}}')
        return Said(answer.status == 200, f"{answer.status} " + answer.body.decode())


class KeyDoors:
    """Doors for an RSA key in some form, which is text, or bytes where it is none. A door that cannot be given bytes says so."""

    KID = "pasted"
    HOW = ("--kid", KID, "--algorithm", "RS256")

    def __init__(self, world, new_world):
        self.world, self.new_world = world, new_world
        self.signed = None

    def write(self, text):
        path = self.world.folder / "pasted.key"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)

    def said(self, done, *codes):
        assert done.returncode in (0, *codes), done
        return Said(done.returncode == 0, done.stdout + done.stderr)

    def import_file(self, text):
        self.write(text)
        return self.said(self.world.run("keys", "import", "pasted.key", *self.HOW), 1, 2)

    def import_input(self, text):
        return self.said(self.world.run("keys", "import", "-", *self.HOW, input=text), 1, 2)

    def import_variable(self, text):
        return self.said(self.world.run("keys", "import", "--env", "KEY", *self.HOW, env={"KEY": text}), 1, 2)

    def init_key(self, text):
        fresh = self.new_world()
        private(fresh.folder / "pasted.key", "")
        (fresh.folder / "pasted.key").write_bytes(text if isinstance(text, bytes) else text.encode())
        said = self.said(fresh.run("init", "--key", "pasted.key", "--kid", self.KID), 1, 2, 78)
        assert said.taken == fresh.file.exists(), "what was refused leaves nothing behind"
        return said

    def jaas(self, text):
        own = {"JAAS_APP_ID": "vpaas-magic-cookie-1", "JAAS_API_KID": "vpaas-magic-cookie-1/a", "PRIVATE_KEY": text}
        return self.said(self.world.run("sign", "--profile", "jaas", "--claims", '{"room":"a"}', env=own), 78)

    def verify(self, text):
        self.write(text)
        return self.said(self.world.run("verify", self.signed, "--jwks", "pasted.key", "--algorithm", "RS256"), 1, 2)

    def trust(self, setting, env=None):
        entry = f'[[trust]]\nissuer = "{LOGIN}"\nalgorithms = ["RS256"]\naudiences = ["{AUDIENCE}"]\n{setting}\n'
        private(self.world.folder / "trust.toml", entry)
        event = {"type": "TOKEN", "authorizationToken": f"Bearer {self.signed}",
                 "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/x"}
        (self.world.folder / "event.json").write_text(json.dumps(event))
        return self.said(self.world.run("authorize", "--config", "trust.toml", "--event", "event.json", env=env), 1, 78)

    def trust_pem(self, text):
        self.write(text)
        return self.trust('pem = "file:pasted.key"')

    def trust_jwks(self, text):
        self.write(text)
        return self.trust('jwks = "file:pasted.key"')

    def trust_inline(self, text):
        return self.trust(f"jwks = {json.dumps(text)}")

    def trust_variable(self, text):
        """`COUNTERSIGN_TRUST`, as the authorizer on Lambda has it."""
        entry = f'[{{ issuer = "{LOGIN}", algorithms = ["RS256"], audiences = ["{AUDIENCE}"], pem = {json.dumps(text)} }}]'
        event = {"type": "TOKEN", "authorizationToken": f"Bearer {self.signed}",
                 "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/x"}
        bare = self.new_world()
        (bare.folder / "event.json").write_text(json.dumps(event))
        return self.said(bare.run("authorize", "--event", "event.json", env={"COUNTERSIGN_TRUST": entry}), 1, 78)
