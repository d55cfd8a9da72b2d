"""node-oidc-provider, on 127.0.0.1 with what it comes with: users log in on its own pages, and
everything is in memory.

Access tokens for a resource (RFC 8707) are JWTs of RFC 9068; without one they are opaque. It
publishes an RSA and an EC key.
"""

import base64
import hashlib
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
from authority import HTTP
from servers.held import Held

PROGRAM = Path(__file__).parents[1] / "e2e/node/oidc_provider.mjs"
SECRET = "a-secret-of-a-client-of-the-provider"
BACK = "http://127.0.0.1:9/back"
#: A service that asks for itself, and an application whose users log in.
CLIENTS = [
    {
        "client_id": "service",
        "client_secret": SECRET,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "scope": "read write admin",
    },
    {
        "client_id": "application",
        "client_secret": SECRET,
        "grant_types": ["authorization_code"],
        "redirect_uris": [BACK],
        "scope": "openid read write admin",
    },
]


class OidcProvider(Held):
    def __init__(self, clients=(), **settings):
        super().__init__(["node", PROGRAM], {"clients": [*CLIENTS, *clients]} | settings)
        self.issuer = self.told["issuer"]

    def token(self, form, client="service", **rest):
        auth = (client, SECRET) if client else None
        return HTTP.post(f"{self.issuer}/token", data=form, auth=auth, **rest)

    def service(self, resource, scope="read write"):
        """An access token of the service about itself."""
        answer = self.token({"grant_type": "client_credentials", "resource": resource, "scope": scope})
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def login(self, user, resource, scope="openid read write"):
        """What the application gets when a user has logged in and agreed: a code with PKCE, and for it the tokens."""
        verifier = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "client_id": "application",
            "response_type": "code",
            "redirect_uri": BACK,
            "scope": scope,
            "resource": resource,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with httpx.Client(base_url=self.issuer) as browser:
            answer = browser.get("/auth", params=asked)
            for page in ({"prompt": "login", "login": user, "password": "x"}, {"prompt": "consent"}):
                answer = browser.post(answer.headers["location"], data=page)
                answer = browser.get(answer.headers["location"])
        [code] = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        answer = self.token(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": BACK,
                "code_verifier": verifier,
                "resource": resource,
            },
            "application",
        )
        assert answer.status_code == 200, answer.text
        return answer.json()
