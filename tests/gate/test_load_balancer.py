"""Tokens of an AWS load balancer (`x-amzn-oidc-data`) at the command line, in an authorizer and behind a proxy.

They are made here by hand with `cryptography`, as AWS describes them: padded parts, and the signature over the padded text. AWS's own
verifier judges the same ones (`aws-jwt-verify`). Keys come from a server on this machine, one PEM for each `kid`.
"""

import base64
import json
import subprocess
import time
from pathlib import Path

import pytest
from authority import configuration as authority_configuration
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from e2e import wire
from gate import issuers, keyserver
from gate.lambda_api import event
from gate.one_shot import OneShot, configuration

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/front/50dc6c495c0c9188"
ISS = "https://login.example"
KID, OTHER_KID = "0a1b2c3d-1111-4222-8333-444455556666", "0a1b2c3d-1111-4222-8333-44445555aaaa"
KEY, STRANGER = issuers.Key(KID, "ES256"), issuers.Key(KID, "ES256")
PROXIES = '[gate.credentials]\nload_balancer = true\n\n[[gate.proxies]]\nkind = "nginx"\nnetworks = ["127.0.0.1/32"]\n'


def encoded(data):
    return base64.urlsafe_b64encode(data).decode()


def token(key=KEY, claims=None, **header):
    """As the load balancer makes it, with changes to header and claims."""
    soon = int(time.time()) + 120
    header = {"typ": "JWT", "kid": KID, "alg": "ES256", "iss": ISS, "client": "client1", "signer": ARN, "exp": soon} | header
    claims = {"sub": "alice", "email": "alice@login.example", "username": "alice", "exp": soon, "iss": ISS} | (claims or {})
    text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture
def server():
    with keyserver.key_server() as one:
        one.serve(f"/{KID}", keyserver.answer(KEY.public().decode(), Content_Type="text/plain"))
        yield one


def trust(server, **more):
    return {"preset": "aws-alb", "id": ARN, "issuer": ISS, "audiences": ["client1"], "keys_url": server.url("")} | more


def test_the_command_line_verifies_and_explains_one(world, server):
    told = ("--alb", ARN, "--issuer", ISS, "--jwks", server.url(""))
    good = world.done("verify", token(), *told, "--audience", "client1")
    assert "valid: signed with ES256" in good and "not checked" not in good and '"alice"' in good
    assert "not checked: aud" in world.done("verify", token(), *told)
    explained = world.done("explain", token(), *told, "--audience", "client1")
    assert "✓ load balancer" in explained and "`client` \"client1\"" in explained
    for made, says in [
        (token(signer=ARN + "0"), "the load balancer that has signed the token (`signer`) is not trusted here"),
        (token(client="client2"), "`client` is not the expected one"),
        (token(iss="https://other.example"), "`iss` is not the expected one"),
        (token(exp=int(time.time()) - 5), "the token has expired"),
        (token(claims={"exp": int(time.time()) - 5}), "the token has expired"),
        (token(STRANGER), "the signature does not verify"),
        (token(kid=OTHER_KID), "no key fits"),
        (token(kid="../" + KID), "no key fits"),
        (token().replace("=", ""), "the token's issuer is not trusted here"),
    ]:
        world.fails(1, says, "verify", made, *told, "--audience", "client1")
    assert set(server.asked) == {f"/{KID}", f"/{OTHER_KID}"}
    # The key may be at hand, too.
    (world.folder / "key.pem").write_bytes(KEY.public())
    world.done("verify", token(), "--alb", ARN, "--issuer", ISS, "--jwks", "key.pem")
    alone = world.run("verify", token(), "--alb", ARN)
    assert alone.returncode == 2 and "--issuer <URL>" in alone.stderr
    world.fails(2, "is not the ARN of an Application Load Balancer", "verify", token(), "--alb", "front", "--issuer", ISS)
    world.fails(1, "preset `aws-alb`", "verify", token(), "--jwks", "key.pem")


def test_awss_own_verifier_agrees(world, server):
    made = [token(), token(claims={"name": "Zoë"}), token(STRANGER), token(client="client2"), token(signer=ARN + "0"),
            token(claims={"iss": "https://other.example"}), token(claims={"exp": int(time.time()) - 5})]
    asked = {"tokens": made, "jwk": KEY.jwk(), "arn": ARN, "issuer": ISS, "client": "client1"}
    script = Path(__file__).with_name("node") / "load_balancer.mjs"
    done = subprocess.run(["node", script], input=json.dumps(asked), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    theirs = [verdict == "alice" for verdict in json.loads(done.stdout)]
    told = ("--alb", ARN, "--issuer", ISS, "--jwks", server.url(""), "--audience", "client1")
    assert theirs == [world.run("verify", one, *told).returncode == 0 for one in made] == [True] * 2 + [False] * 5


def test_an_authorizer_takes_it_by_its_header_where_that_is_said(binary, tmp_path, server):
    one = OneShot(binary, tmp_path)
    asked = json.loads(event("rest-request", "x"))
    asked["headers"], asked["multiValueHeaders"] = {}, {}

    def judged(made, gate, *names):
        names = names or ("x-amzn-oidc-data",)
        text = json.dumps(asked | {"multiValueHeaders": {name: [made] for name in names}, "headers": dict.fromkeys(names, made)})
        (tmp_path / "countersign.toml").write_text(configuration(trust(server), gate=gate))
        return one.run(text, "--config", "countersign.toml")

    on = {"credentials": {"load_balancer": True}}
    done = judged(token(), on)
    assert done.returncode == 0 and json.loads(done.stdout)["principalId"] == "alice", done
    assert judged(token(), on, "X-Amzn-Oidc-Data").returncode == 0
    assert "has no token" in judged(token(), {}).stderr, "it is not looked at unless that is said"
    assert "signature" in judged(token(STRANGER), on).stderr
    # A token in a header of its own does not come in past the one that the load balancer has set.
    both = json.dumps(asked | {"headers": {"x-amzn-oidc-data": token(), "Authorization": "Bearer x.y.z"}, "multiValueHeaders": None})
    assert "two different credentials" in one.run(both, "--config", "countersign.toml").stderr


def test_the_gate_behind_a_proxy_takes_it_and_says_who_it_is(authority, server):
    ours = authority(authority_configuration("ES256") + configuration(trust(server)) + PROXIES)

    def ask(made):
        headers = [("X-Original-Method", "GET"), ("X-Original-URI", "/orders"), ("x-amzn-oidc-data", made)]
        return wire.ask(ours.issuer, "GET", "/gate", headers)

    allowed = ask(token())
    assert (allowed.status, allowed.headers["X-Auth-Subject"], allowed.headers["X-Auth-Issuer"]) == (200, "alice", ISS)
    for made, status in [(token(STRANGER), 401), (token(client="client2"), 401), (token(kid=OTHER_KID), 401), ("x", 401)]:
        assert ask(made).status == status, made
    # A flood of names: few are asked for, the good token goes on, and a token whose key was not looked for is not called wrong.
    before = len(server.asked)
    statuses = [ask(token(kid=f"{n:08x}-1111-4222-8333-444455556666")).status for n in range(60)]
    assert set(statuses) == {401, 503} and len(server.asked) - before <= 8, statuses
    assert ask(token()).status == 200


def test_a_redirect_to_a_key_is_not_followed_and_a_key_set_is_no_key(world, server):
    told = ("--alb", ARN, "--issuer", ISS, "--jwks", server.url(""))
    server.serve("/elsewhere", keyserver.answer(KEY.public().decode()))
    for behaviour, says in [
        (keyserver.redirect("/elsewhere"), "redirects are not followed"),
        (keyserver.answer({"keys": [KEY.jwk()]}), "not a key set"),
        (keyserver.answer(KEY.pem), "not a key set"),
        (keyserver.answer("x" * 600_000), "larger than"),
        (keyserver.answer("", status=500), "status 500"),
    ]:
        server.serve(f"/{KID}", behaviour)
        world.fails(1, says, "verify", token(), *told)
    assert "/elsewhere" not in server.asked
