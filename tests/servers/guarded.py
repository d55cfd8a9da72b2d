"""A resource server on Flask: Authlib's protector checks access tokens by RFC 9068 at /jwt, asks
the issuer about them at /opaque (RFC 7662), and at /plain PyJWT takes what it takes by default.

Settings come as one line of JSON on standard input; it ends when that does.
"""

import json
import sys
import threading

import httpx
import jwt
from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from flask import Flask
from joserfc.jwk import KeySet
from werkzeug.serving import make_server


class ByKeys(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(httpx.get(found["jwks_uri"]).json())


class ByAsking(IntrospectTokenValidator):
    def introspect_token(self, token_string):
        answer = httpx.post(
            found["introspection_endpoint"], data={"token": token_string}, auth=(settings["client"], settings["secret"])
        )
        answer.raise_for_status()
        return answer.json()


class Plain(BearerTokenValidator):
    def authenticate_token(self, token_string):
        try:
            key = keys.get_signing_key_from_jwt(token_string)
            return jwt.decode(token_string, key, ["ES256"], audience=settings["audience"], issuer=settings["issuer"])
        except (jwt.InvalidTokenError, jwt.PyJWKClientError):
            return None

    def validate_token(self, token, scopes, request):
        if token is None:
            raise InvalidTokenError()
        if self.scope_insufficient(token.get("scope"), scopes):
            raise InsufficientScopeError()


settings = json.loads(sys.stdin.readline())
found = httpx.get(f"{settings['issuer']}/.well-known/openid-configuration").json()
keys = jwt.PyJWKClient(found["jwks_uri"])
app = Flask(__name__)


def told():
    return {"sub": current_token.get("sub"), "client": current_token.get("client_id")}


for name, validator in [
    ("jwt", ByKeys(settings["issuer"], settings["audience"])),
    ("opaque", ByAsking()),
    ("plain", Plain()),
]:
    protector = ResourceProtector()
    protector.register_token_validator(validator)
    app.add_url_rule(f"/{name}", name, protector("read")(told))

server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}), flush=True)
sys.stdin.read()
server.shutdown()
