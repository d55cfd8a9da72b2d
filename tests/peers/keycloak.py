"""Keycloak as a foreign issuer, and as a server that takes our tokens as assertions.

    COUNTERSIGN_BIN=target/debug/countersign PYTHONPATH=tests .tools/venv/bin/python tests/peers/keycloak.py

Fetches it once from Maven Central into .tools (164 MB; Apache-2.0), starts it in development mode
(about two minutes of processor time) and prints a table. Our tokens authenticate a client there
(`federated-jwt`) and are assertions for a user whose identity is linked (RFC 7523); both are
features that Keycloak has switched off by default.
"""

import json
import os
import shutil
import subprocess
import tarfile

import httpx
import toolchains
from authority import until
from e2e.program import client, free_port
from e2e.test_jwt_bearer import GRANT as JWT_BEARER
from e2e.test_token_exchange import GRANT as EXCHANGE
from peers.told import (
    ASSERTION,
    BOTH,
    TOOLS,
    Table,
    asserted,
    authority,
    claims,
    exchanged,
    folder,
    ours,
    rule,
    signer,
    tried_here,
    with_another_signature,
)
from servers.held import holding

VERSION = "26.5.6"
ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:tar.gz"
SECRET, PASSWORD, SUBJECT = "a-secret-of-the-application", "alices-password", "alice-of-ours"


def distribution():
    """Where it is unpacked."""
    place = TOOLS / f"keycloak-{VERSION}"
    if not all(map(shutil.which, ("java", "mvn"))):
        raise toolchains.Missing("there is no JDK with Maven on this machine")
    if not place.exists():
        print(f"fetching {ARTIFACT} through Maven", flush=True)
        with folder() as new:
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={new}"], check=True
            )
            [archive] = new.glob("*.tar.gz")
            with tarfile.open(archive) as packed:
                packed.extractall(new, filter="data")
            shutil.move(new / place.name, place)
    return place


def realm(issuer):
    """A realm with an application whose users log in, one that authenticates with our tokens, and one that shows them for a user."""
    audience = {
        "name": "backend",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": "https://backend.example", "access.token.claim": "true"},
    }
    ours_here = {
        "alias": "countersign",
        "providerId": "oidc",
        "enabled": True,
        "config": {
            "issuer": issuer,
            "jwksUrl": f"{issuer}/.well-known/jwks.json",
            "useJwksUrl": "true",
            "validateSignature": "true",
            "authorizationUrl": f"{issuer}/authorize",
            "tokenUrl": f"{issuer}/token",
            "clientId": "keycloak",
            "clientSecret": "unused",
            "supportsClientAssertions": "true",
            "jwtAuthorizationGrantEnabled": "true",
        },
    }
    federated = {
        "clientAuthenticatorType": "federated-jwt",
        "serviceAccountsEnabled": True,
        "standardFlowEnabled": False,
    }
    return {
        "realm": "peers",
        "enabled": True,
        "sslRequired": "none",
        "identityProviders": [ours_here],
        "users": [
            {
                "username": "alice",
                "enabled": True,
                "email": "alice@example.com",
                "emailVerified": True,
                "firstName": "A",
                "lastName": "B",
                "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
                "federatedIdentities": [{"identityProvider": "countersign", "userId": SUBJECT, "userName": "alice"}],
            }
        ],
        "clients": [
            {
                "clientId": "application",
                "enabled": True,
                "secret": SECRET,
                "directAccessGrantsEnabled": True,
                "protocolMappers": [audience],
            },
            federated
            | {
                "clientId": "workload",
                "enabled": True,
                "attributes": {"jwt.credential.issuer": "countersign", "jwt.credential.sub": "workload-of-ours"},
            },
            {
                "clientId": "bearer",
                "enabled": True,
                "secret": SECRET,
                "attributes": {
                    "oauth2.jwt.authorization.grant.enabled": "true",
                    "oauth2.jwt.authorization.grant.idp": "countersign",
                },
            },
        ],
    }


class Keycloak:
    def __init__(self, root, port, issuer):
        home, self.url = root / "keycloak", f"http://127.0.0.1:{port}/realms/peers"
        shutil.copytree(distribution(), home, symlinks=True)
        (home / "data/import").mkdir(parents=True)
        (home / "data/import/peers-realm.json").write_text(json.dumps(realm(issuer)))
        options = [
            "--import-realm",
            "--http-host",
            "127.0.0.1",
            "--http-port",
            port,
            "--cache=local",
            "--features=client-auth-federated,jwt-authorization-grant",
        ]
        self.log = root / "keycloak.log"
        with open(self.log, "wb") as log:
            # The shell of kc.sh gives way to Java, so that one process is to be ended.
            self.process = subprocess.Popen(
                holding([home / "bin/kc.sh", "start-dev", *map(str, options)]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"JAVA_OPTS_APPEND": "-Xmx640m"},
            )
        until(self.listens, "Keycloak listens", within=600)

    def listens(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, form, auth=None):
        return httpx.post(f"{self.url}/protocol/openid-connect/token", data=form, auth=auth, timeout=180)

    def login(self):
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": "openid"}
        answer = self.ask(form, ("application", SECRET))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def outcome(answer):
    if answer.status_code == 200:
        token = claims(answer.json()["access_token"])
        return f"a token of {token['azp']}"
    return f"{answer.status_code} {answer.json().get('error')}"


def main():
    port, table = free_port(), Table(f"Keycloak {VERSION}")
    theirs = f"http://127.0.0.1:{port}/realms/peers"
    parts = [
        client("backend", more=BOTH),
        signer(theirs, "https://other.example"),
        rule(theirs, "https://backend.example", "keycloak", EXCHANGE),
        rule(theirs, "application", "keycloak", JWT_BEARER),
    ]
    with folder() as root, authority(root, *parts) as server:
        keycloak = Keycloak(root, port, server.issuer)
        try:
            check(table, server, keycloak)
        finally:
            keycloak.end()
    table.end()


def check(table, server, keycloak):
    def shown(**parameters):
        return outcome(
            keycloak.ask({"grant_type": "client_credentials", "client_assertion_type": ASSERTION} | parameters)
        )

    def bearer(token):
        return outcome(keycloak.ask({"grant_type": JWT_BEARER, "assertion": token}, ("bearer", SECRET)))

    login = keycloak.login()
    access, id_token = login["access_token"], login["id_token"]
    subject = f"a token for keycloak:{claims(access)['sub']}"
    table.row("its access token, token exchange", subject, exchanged(server, access))
    table.row("its ID token, jwt-bearer", subject, asserted(server, id_token))
    table.row("its ID token as access token for our API", "400 invalid_request", exchanged(server, id_token))
    table.row("its refresh token", "400 invalid_request", exchanged(server, login["refresh_token"]))
    table.row(
        "its access token with another signature",
        "400 invalid_request",
        exchanged(server, with_another_signature(access)),
    )
    issuer = keycloak.url
    token = ours(server, issuer, sub="workload-of-ours")
    table.row("ours as client assertion (federated-jwt)", "a token of workload", shown(client_assertion=token))
    table.row("the same once more", "400 invalid_client", shown(client_assertion=token))
    table.row(
        "ours for another audience",
        "400 invalid_client",
        shown(client_assertion=ours(server, "https://other.example", sub="workload-of-ours")),
    )
    table.row(
        "ours about another subject", "401 invalid_client", shown(client_assertion=ours(server, issuer, sub="somebody"))
    )
    token = ours(server, issuer, sub=SUBJECT)
    table.row("ours as jwt-bearer assertion for a linked user", "a token of bearer", bearer(token))
    table.row("the same once more", "400 invalid_grant", bearer(token))
    table.row("ours about a user who is not linked", "400 invalid_grant", bearer(ours(server, issuer, sub="somebody")))


if __name__ == "__main__":
    tried_here(main)
