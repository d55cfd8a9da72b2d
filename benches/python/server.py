"""`/sign` and JWKS as one would write them with FastAPI and PyJWT: what Countersign is measured against.

The same contract: HTTP Basic against the SHA-256 of the secret, reserved claims from the server, RS256 with a key
parsed once, JWKS from memory. No audit log, no policy, no limits. Configured by the environment (harness/servers.py);
run by uvicorn with one worker, uvloop and httptools.
"""

import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel

ISSUER, AUDIENCE, CLIENT_ID = (os.environ[name] for name in ("ISSUER", "AUDIENCE", "CLIENT_ID"))
SECRET_HASH = bytes.fromhex(os.environ["SECRET_SHA256"])
PRIVATE_KEY = load_pem_private_key(Path(os.environ["PRIVATE_KEY"]).read_bytes(), None)
PUBLIC_KEY = load_pem_public_key(Path(os.environ["PUBLIC_KEY"]).read_bytes())
KID = "bench"
HEADERS = {"kid": KID}
JWK = jwt.algorithms.RSAAlgorithm.to_jwk(PUBLIC_KEY, as_dict=True)
JWKS = json.dumps({"keys": [{"kid": KID, "alg": "RS256", "use": "sig", "kty": "RSA", "n": JWK["n"], "e": JWK["e"]}]})
RESERVED = {"iss", "aud", "iat", "nbf", "exp", "jti"}

app = FastAPI()
basic = HTTPBasic()


class Metadata(BaseModel):
    duration: int
    audience: str


class SignRequest(BaseModel):
    data: dict[str, Any]
    metadata: Metadata


@app.post("/sign")
async def sign(request: SignRequest, shown: Annotated[HTTPBasicCredentials, Depends(basic)]) -> Response:
    matches = hmac.compare_digest(hashlib.sha256(shown.password.encode()).digest(), SECRET_HASH)
    if not matches or shown.username != CLIENT_ID:
        raise HTTPException(401, "invalid_client")
    if RESERVED & request.data.keys():
        raise HTTPException(400, "invalid_request")
    if request.metadata.audience != AUDIENCE or request.metadata.duration > 3600:
        raise HTTPException(403, "access_denied")
    now = int(time.time())
    claims = request.data | {
        "iss": ISSUER,
        "aud": request.metadata.audience,
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + request.metadata.duration,
        "jti": secrets.token_urlsafe(16),
    }
    token = jwt.encode(claims, PRIVATE_KEY, algorithm="RS256", headers=HEADERS)
    body = {"access_token": token, "token_type": "Bearer", "expires_in": request.metadata.duration, "kid": KID}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


@app.get("/.well-known/jwks.json")
async def jwks() -> Response:
    return Response(JWKS, media_type="application/jwk-set+json", headers={"Cache-Control": "public, max-age=300"})
