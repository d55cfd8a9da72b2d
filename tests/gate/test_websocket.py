"""A real WebSocket handshake through the shape of event that API Gateway makes of it.

The server here does what API Gateway does with `$connect`: it turns the handshake it received into an event, asks the
authorizer, and finishes the handshake or refuses it by the reply. Client and server are the library `websockets`; the
authorizer is `countersign authorize` with the four variables of the authorizer it replaces.
"""

import asyncio
import json
import subprocess
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from authority import clean_environment, configuration
from e2e import dpop
from e2e.dpop import Holder
from gate import one_shot
from gate.test_dpop import WORKER
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import connect

ARN = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/$connect"


def event(request):
    """The handshake as API Gateway hands it to an authorizer: names as they were sent, first and all values."""
    query = parse_qs(urlsplit(request.path).query)
    headers = list(request.headers.raw_items())
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "headers": dict(headers),
        "multiValueHeaders": {name: [v for n, v in headers if n == name] for name, _ in headers},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "stageVariables": None,
        "requestContext": {
            "routeKey": "$connect", "eventType": "CONNECT", "stage": "prod", "connectionId": "c", "apiId": "abc123",
            "messageDirection": "IN", "requestId": "r", "domainName": "abc123.execute-api.eu-west-1.amazonaws.com",
            "identity": {"sourceIp": "127.0.0.1"},
        },
    }


def status(reply):
    """What API Gateway makes of the reply: 101, or a refusal."""
    if reply == {"errorMessage": "Unauthorized"}:
        return 401
    statements = reply["policyDocument"]["Statement"]
    allowed = any(s["Effect"] == "Allow" and ARN in s["Resource"] for s in statements)
    return 101 if allowed and all(s["Effect"] == "Allow" for s in statements) else 403


@pytest.fixture(scope="module")
def issuer(lasting_authority):
    return lasting_authority(configuration("RS256"))


@pytest.fixture
def gateway(binary, issuer, tmp_path):
    """The URL of a WebSocket server that asks the authorizer, and the principals it let in."""
    environment = clean_environment({
        "JWT_ISSUER_JWKS_URI": f"{issuer.issuer}/.well-known/jwks.json",
        "JWT_AUTHORIZED_AUDIENCES": "api://default",
        "JWT_ISSUER": issuer.issuer,
    })

    def ask(request):
        done = subprocess.run(
            [binary, "authorize", "--event", "-"], input=json.dumps(event(request)), cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=120,
        )
        reply = json.loads(done.stdout)
        assert (done.returncode == 0) == (status(reply) == 101), done.stderr
        return reply

    with listening(ask) as one:
        yield one


@contextmanager
def listening(authorize):
    """The URL of a WebSocket server that has each handshake judged by `authorize`, and the principals it let in."""
    let_in = []

    def ask(request):
        reply = authorize(request)
        if status(reply) == 101:
            let_in.append((reply["principalId"], reply["context"]["exp"]))
        return status(reply)

    async def process_request(connection, request):
        answer = await asyncio.to_thread(ask, request)
        return None if answer == 101 else Response(answer, "", Headers())

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    def choose(connection, offered):
        # The integration of `$connect` names the marker, never the token.
        return "bearer" if "bearer" in offered else None

    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    port = []

    async def run():
        async with serve(echo, "127.0.0.1", 0, process_request=process_request, select_subprotocol=choose) as server:
            port.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    assert ready.wait(10)
    yield f"ws://127.0.0.1:{port[0]}/", let_in
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()
    loop.close()


def converse(url, **rest):
    with connect(url, proxy=None, **rest) as connection:
        connection.send("hello")
        return connection.recv(timeout=60), connection.subprotocol


def test_a_token_in_the_subprotocols_opens_a_connection_and_only_the_marker_comes_back(issuer, gateway):
    url, let_in = gateway
    token = issuer.sign({"sub": "alice"})
    assert converse(url, subprotocols=["bearer", token]) == ("hello", "bearer")
    assert [name for name, _ in let_in] == ["alice"]


def test_a_token_in_the_query_or_the_header_opens_a_connection(issuer, gateway):
    url, let_in = gateway
    assert converse(f"{url}?authorization={issuer.sign({'sub': 'bob'})}") == ("hello", None)
    headers = {"AUTHORIZATION": f"bearer {issuer.sign({'sub': 'carol'})}"}
    assert converse(url, additional_headers=headers) == ("hello", None)
    assert [name for name, _ in let_in] == ["bob", "carol"]


def test_no_token_a_bad_one_or_two_of_them_are_answered_with_401(issuer, gateway):
    url, let_in = gateway
    good, other = issuer.sign({"sub": "a"}), issuer.sign({"sub": "b"})
    forged = good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8)
    for handshake in [
        {},
        {"subprotocols": ["bearer"]},
        {"subprotocols": ["bearer", "x"]},
        {"subprotocols": ["other", good]},
        {"subprotocols": ["bearer", forged]},
        {"subprotocols": ["bearer", good], "additional_headers": {"Authorization": f"Bearer {other}"}},
        {"additional_headers": {"Authorization": "Basic YTpi"}},
    ]:
        with pytest.raises(InvalidStatus) as refused:
            converse(url, **handshake)
        assert refused.value.response.status_code == 401, handshake
    with pytest.raises(InvalidStatus) as refused:
        converse(f"{url}?authorization={other}", subprotocols=["bearer", good])
    assert refused.value.response.status_code == 401
    assert let_in == []


def test_a_bound_token_opens_a_connection_with_a_proof_for_the_handshake_once(lasting_authority, authorizer):
    """By a client that can set headers: the browsers' cannot. The handshake is a GET of the stage's URL (RFC 9449 section 4.2 has `htu`
    compared as an `https` URL; API Gateway says neither scheme, and clients write `https` for `wss`)."""
    issuer = lasting_authority(configuration("ES256") + WORKER)
    trust = {"issuer": issuer.issuer, "keys_url": f"{issuer.issuer}/.well-known/jwks.json", "algorithms": ["ES256"], "audiences": ["api://default"]}
    one = authorizer(one_shot.configuration(trust, gate={"dpop": {"authorizer_ttl": "0s"}})).start()
    holder, thief = Holder(), Holder()
    url = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
    answer = dpop.ask(issuer.issuer, [holder.proof(f"{issuer.issuer}/token")])
    token = answer.json()["access_token"]
    assert answer.json()["token_type"] == "DPoP"

    def judged(request):
        reply = one.invoke(json.dumps(event(request)))
        return reply.json or {"errorMessage": reply.error["errorMessage"]}

    with listening(judged) as (socket, let_in):
        def opens(*proofs, scheme="DPoP", **more):
            headers = [("Authorization", f"{scheme} {token}"), *(("DPoP", proof) for proof in proofs)]
            return converse(socket, additional_headers=headers, **more)

        proof = holder.proof(url, "GET", token)
        assert opens(proof) == ("hello", None)
        wrong = {
            "the proof once more": lambda: opens(proof), "no proof": opens, "as a bearer": lambda: opens(holder.proof(url, "GET", token), scheme="Bearer"),
            "the thief's key": lambda: opens(thief.proof(url, "GET", token)), "for another method": lambda: opens(holder.proof(url, "POST", token)),
            "for another stage": lambda: opens(holder.proof(url.replace("prod", "test"), "GET", token)),
            "for another token": lambda: opens(holder.proof(url, "GET", token + "x")), "without the token's hash": lambda: opens(holder.proof(url, "GET")),
            "two proofs": lambda: opens(holder.proof(url, "GET", token), holder.proof(url, "GET", token)),
            # A browser can send the token so, and no proof.
            "in the subprotocols": lambda: converse(socket, subprotocols=["bearer", token]),
            "in the query": lambda: converse(f"{socket}?authorization={token}"),
        }
        for name, handshake in wrong.items():
            with pytest.raises(InvalidStatus) as refused:
                handshake()
            assert refused.value.response.status_code == 401, name
        assert opens(holder.proof(url, "GET", token)) == ("hello", None)
        assert len(let_in) == 2
