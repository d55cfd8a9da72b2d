"""What every server has to answer, checked once before anything is measured.

A server that is fast because it answers something else would make every ratio worthless.
"""

import base64
import http.client
import json

import jwt

AUDIENCE = "api://default"
DATA = {"sub": "alice", "email": "alice@example.com", "role": "member"}
DURATION = 600
JWKS = "/.well-known/jwks.json"


class WrongAnswer(Exception):
    """A server does not keep the contract."""


def body(duration: int = DURATION) -> str:
    """What `/sign` is asked for."""
    asked = {"data": DATA, "metadata": {"duration": duration, "audience": AUDIENCE}}
    return json.dumps(asked, separators=(",", ":"))


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def fetch(
    port: int, path: str, body: str | None = None, authorization: str = "", kind: str = "application/json"
) -> tuple[int, dict[str, str], bytes]:
    """One request; names of headers in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": kind} if body else {}
        headers |= {"Authorization": authorization} if authorization else {}
        connection.request("POST" if body else "GET", path, body, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def check_sign(name: str, port: int, issuer: str, client_id: str, secret: str, algorithm: str = "RS256") -> None:
    """A token that PyJWT accepts under the server's own JWKS, with the claims asked for; none for a wrong secret."""
    status, headers, answer = fetch(port, "/sign", body(), basic(client_id, secret))
    require(name, status == 200, f"/sign answers {status}: {answer[:200]!r}")
    require(name, headers.get("cache-control") == "no-store", "/sign may be cached")
    token = json.loads(answer)["access_token"]
    keys = jwt.PyJWKSet.from_dict(json.loads(fetch(port, JWKS)[2]))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    required = ["iss", "aud", "iat", "nbf", "exp", "jti"]
    claims = jwt.decode(token, key, [algorithm], audience=AUDIENCE, issuer=issuer, options={"require": required})
    require(name, algorithm != "RS256" or key.key.key_size == 2048, "the key has another size than 2048 bits")
    require(name, DATA.items() <= claims.items(), "the token lacks claims")
    require(name, DURATION <= claims["exp"] - claims["iat"] <= DURATION + 10, "the token has another lifetime")
    status = fetch(port, "/sign", body(), basic(client_id, secret + "x"))[0]
    require(name, status == 401, f"a wrong secret gets {status}")


def check_same_document(port: int, other: int) -> None:
    """Two servers answer the JWKS with the same bytes and the same headers."""
    (status, headers, body), (other_status, other_headers, other_body) = fetch(port, JWKS), fetch(other, JWKS)
    headers.pop("date"), other_headers.pop("date")
    # How long it may be kept differs from answer to answer, so that caches do not all come back at once.
    ages = [each.pop("cache-control", "") for each in (headers, other_headers)]
    require("bare axum", all(age.startswith("public, max-age=") for age in ages), f"other freshness: {ages}")
    require("bare axum", (status, body) == (other_status, other_body) and status == 200, "another body")
    require("bare axum", headers == other_headers, f"other headers: {other_headers} instead of {headers}")


def require(name: str, condition: bool, why: str) -> None:
    if not condition:
        raise WrongAnswer(f"{name}: {why}")
