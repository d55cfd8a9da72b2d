"""An authority for client_credentials as Authlib's manual writes it: Flask, its client_credentials
grant and its JWTs of RFC 9068.

One client and one key, in memory; configured by the environment (harness/peers.py); run by gunicorn
with one worker.
"""

import json
import os
from pathlib import Path

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response
from joserfc.jwk import KeySet, RSAKey

ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET = (
    os.environ[name] for name in ("ISSUER", "AUDIENCE", "CLIENT_ID", "CLIENT_SECRET")
)
KEY = RSAKey.import_key(Path(os.environ["PRIVATE_KEY"]).read_text(), {"kid": "bench", "use": "sig", "alg": "RS256"})
JWKS = json.dumps({"keys": [KEY.as_dict(private=False)]})


class Client(ClientMixin):
    def get_client_id(self):
        return CLIENT_ID

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return "read" if scope == "read" else ""

    def check_redirect_uri(self, redirect_uri):
        return False

    def check_client_secret(self, client_secret):
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return False

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials"


class Tokens(JWTBearerTokenGenerator):
    def get_jwks(self):
        return KeySet([KEY])

    def get_audiences(self, client, user, scope):
        return AUDIENCE


app = Flask(__name__)
# A key of Flask's own, which it wants for sessions that are not used here.
app.secret_key = os.urandom(16)
server = AuthorizationServer(
    app,
    query_client=lambda client_id: Client() if client_id == CLIENT_ID else None,
    save_token=lambda token, request: None,
)
server.register_token_generator(
    "default", Tokens(issuer=ISSUER, alg="RS256", expires_generator=lambda client, grant_type: 600)
)
server.register_grant(grants.ClientCredentialsGrant)


@app.post("/token")
def token():
    return server.create_token_response()


@app.get("/.well-known/jwks.json")
def jwks():
    return Response(JWKS, mimetype="application/jwk-set+json")
