"""Dex, an OpenID provider in Go, on 127.0.0.1 with its users and keys in memory.

Built once with `toolchains.go` from the sources that the Go proxy has. Its keys change with each
start, and every `expiry.signingKeys` as its clock ticks, which is each half minute.
"""

import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
import toolchains
from authority import HTTP, until
from e2e.program import free_port
from servers.held import holding

USER, PASSWORD, APP, SECRET = "alice", "alices-password", "our-app", "our-apps-secret"
#: As it looks in its manual, but for the user: `mockPassword` is a connector of Dex's own for one.
CONFIG = """
issuer: @ISSUER@
storage: {type: memory}
web: {http: @LISTEN@}
expiry: {signingKeys: @KEYS@, idTokens: 10m}
oauth2: {passwordConnector: people, skipApprovalScreen: true}
connectors:
- {type: mockPassword, id: people, name: People, config: {username: @USER@, password: @PASSWORD@}}
staticClients:
- {id: our-app, name: Our application, secret: @SECRET@, redirectURIs: ["http://127.0.0.1:9/back"]}
- {id: another, name: Another application, secret: @SECRET@, redirectURIs: ["http://127.0.0.1:9/back"]}
"""


@cache
def _built():
    try:
        return toolchains.dex()
    except toolchains.Missing as why:
        return why


def program():
    """Where it is; `None` where it cannot be had, which is not silent: pytest shows it at the end of every run."""
    one = _built()
    if not isinstance(one, toolchains.Missing):
        return one
    toolchains.not_tested("Dex as a foreign issuer", one)
    return None


@contextmanager
def several(folder):
    """A factory of them, which ends them all."""
    started = []

    def start(program, keys="1h"):
        one = Dex(program, folder, keys)
        started.append(one)
        return one

    try:
        yield start
    finally:
        for one in started:
            one.stop()


class Dex:
    def __init__(self, program, folder, keys="1h"):
        self.program, self.folder = program, Path(folder)
        listen = f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{listen}/dex"
        replaced = {
            "ISSUER": self.issuer,
            "LISTEN": listen,
            "KEYS": keys,
            "USER": USER,
            "PASSWORD": PASSWORD,
            "SECRET": SECRET,
        }
        text = CONFIG
        for name, value in replaced.items():
            text = text.replace(f"@{name}@", value)
        self.file = self.folder / "dex.yaml"
        self.file.write_text(text, encoding="utf-8")
        self.start()

    def start(self):
        """With new keys."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                holding([self.program, "serve", self.file]), stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        until(self.listens, "Dex listens")

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        try:
            return HTTP.get(f"{self.issuer}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=30)
            self.process = None

    def kids(self):
        """What it publishes."""
        return {key["kid"] for key in HTTP.get(f"{self.issuer}/keys").json()["keys"]}

    def id_token(self, app=APP):
        """An ID token of its user's for an application, by the password grant."""
        form = {"grant_type": "password", "username": USER, "password": PASSWORD, "scope": "openid email profile"}
        answer = HTTP.post(f"{self.issuer}/token", data=form, auth=(app, SECRET))
        assert answer.status_code == 200, answer.text
        return answer.json()["id_token"]
