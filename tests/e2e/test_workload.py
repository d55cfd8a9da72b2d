"""Workload identity: a client of `POST /token` proves who it is by a token of its platform, and has no secret.

Every refusal is the same answer as to a wrong secret; the reason is in the audit alone.
"""

import base64
import json
import time

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from e2e import wire
from e2e.assertions import MORE, ask
from e2e.program import CONFIG, SECRET, client, free_port
from e2e.test_token import configuration, refused, send
from e2e.workloads import ACTIONS, CLUSTER, OWNER, REPOSITORY, ROLE, STS, Key, aws, github, kubernetes

GITHUB, KUBERNETES, AWS = Key("github", "RS256"), Key("cluster", "RS256"), Key("sts", "ES256")
OTHER = Key("other", "RS256")


def workload(trust, once=""):
    return f"\n[[clients.workloads]]\ntrust = {{ {trust} }}\n{once}"


def entry(id, *workloads, more=MORE):
    return f'\n[[clients]]\nid = "{id}"\nsecret_hashes = []\n{more}' + "".join(workloads)


def of_github(claims, key=GITHUB, id=OWNER):
    return workload(f'preset = "github-actions", id = "{id}", jwks = {json.dumps(key.jwks)}, claims = {{ {claims} }}')


def of_kubernetes(claims, once="", issuer=CLUSTER):
    return workload(f'preset = "kubernetes", id = "{issuer}", jwks = {json.dumps(KUBERNETES.jwks)}, claims = {{ {claims} }}', once)


def of_aws(claims):
    return workload(f'preset = "aws-sts", id = "{STS}", jwks = {json.dumps(AWS.jwks)}, algorithms = ["ES256"], claims = {{ {claims} }}')


def generic(claims, once="", more="", key=AWS, issuer="https://platform.example"):
    return workload(f'issuer = "{issuer}", jwks = {json.dumps(key.jwks)}, algorithms = ["{key.algorithm}"]{more}, claims = {{ {claims} }}', once)


def of_countersign(claims):
    return workload(f'preset = "countersign", id = "{PEER}", jwks = {json.dumps(AWS.jwks)}, algorithms = ["ES256"], claims = {{ {claims} }}')


PEER = "https://peer.example"
MAIN = f'repository_id = "{REPOSITORY}", ref = "refs/heads/main"'
WORKFLOW = 'job_workflow_ref = "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main"'
ACCOUNT = 'sub = "system:serviceaccount:prod:deployer"'
CLIENTS = [
    entry("deploy", of_github(MAIN), of_github(f'repository_id = "{REPOSITORY}", environment = "staging"')),
    entry("by-workflow", of_github(WORKFLOW)),
    entry("pod", of_kubernetes(ACCOUNT)),
    entry("pod-by-names", of_kubernetes('"/kubernetes.io/namespace" = "prod", "/kubernetes.io/serviceaccount/name" = "deployer"')),
    entry("pod-once", of_kubernetes(ACCOUNT, "once = true\n")),
    entry("role", of_aws(f'sub = "{ROLE}"')),
    entry("generic", generic('sub = "job-1"'), of_github(MAIN)),
    entry("generic-once", generic('sub = "job-1"', "once = true\n")),
    entry("generic-typ", generic('sub = "job-1"', more=', typ = "wl+jwt"')),
    entry("peer", of_countersign('client_id = "peer"')),
    entry("peer-user", of_countersign('client_id = "app", sub = "login:alice"')),
    client("secret", more=MORE),
]


@pytest.fixture(scope="module")
def server(lasting_authority):
    return lasting_authority(configuration(*CLIENTS))


def minted(answer, who):
    assert answer.status == 200, answer
    claims = json.loads(wire.claims(answer.json()["access_token"]))
    assert claims["sub"] == claims["client_id"] == who
    return claims


def rejected(server, answer):
    refused(answer, 401, "invalid_client")
    assert answer.json() == send(server, {"grant_type": "client_credentials", "client_id": "secret", "client_secret": "x"}).json()


def platform(server, header=None, without=(), **more):
    return AWS.sign(server.issuer, header, without, **({"iss": "https://platform.example", "sub": "job-1"} | more))


def peer(server, **more):
    return AWS.sign(server.issuer, header={"typ": "at+jwt"}, **({"iss": PEER, "sub": "peer", "client_id": "peer"} | more))


TOKENS = {
    "peer": peer,
    "peer-user": lambda s: peer(s, sub="login:alice", client_id="app"),
    "deploy": lambda s: github(GITHUB, s.issuer),
    "by-workflow": lambda s: github(GITHUB, s.issuer, repository_id="75", repository="octo-org/other", ref="refs/heads/x"),
    "pod": lambda s: kubernetes(KUBERNETES, s.issuer),
    "pod-by-names": lambda s: kubernetes(KUBERNETES, [s.issuer]),
    "pod-once": lambda s: kubernetes(KUBERNETES, [s.issuer]),
    "role": lambda s: aws(AWS, s.issuer),
    "generic": platform,
    "generic-once": platform,
    "generic-typ": lambda s: platform(s, header={"typ": "wl+jwt"}),
}


@pytest.mark.parametrize("id", TOKENS)
def test_a_platforms_token_is_a_client_without_a_secret(server, id):
    minted(ask(server.issuer, TOKENS[id](server), client_id=id), id)


def test_a_client_may_have_several_entries_of_one_issuer_and_of_others(server):
    minted(ask(server.issuer, github(GITHUB, server.issuer, ref="refs/heads/x", environment="staging"), client_id="deploy"), "deploy")
    minted(ask(server.issuer, github(GITHUB, server.issuer + "/token"), client_id="generic"), "generic")
    rejected(server, ask(server.issuer, github(GITHUB, server.issuer, ref="refs/heads/x"), client_id="deploy"))


def now(seconds):
    return int(time.time()) + seconds


def unsigned(token):
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


#: What is wrong with a token of GitHub Actions that is shown as client `deploy`.
WRONG = {
    "another repository": lambda s: github(GITHUB, s.issuer, repository_id="75"),
    "another repository of the same name": lambda s: github(GITHUB, s.issuer, repository_id="99", repository_owner_id="98"),
    "another owner": lambda s: github(GITHUB, s.issuer, repository_owner_id="98"),
    "an id as a number": lambda s: github(GITHUB, s.issuer, repository_id=74),
    "ids in a list": lambda s: github(GITHUB, s.issuer, repository_id=["74"]),
    "another branch": lambda s: github(GITHUB, s.issuer, ref="refs/heads/main2"),
    "a pull request": lambda s: github(GITHUB, s.issuer, ref="refs/pull/1/merge"),
    "no ref": lambda s: GITHUB.sign(s.issuer, iss=ACTIONS, repository_id=REPOSITORY, repository_owner_id=OWNER),
    "another issuer": lambda s: github(GITHUB, s.issuer, iss="https://token.actions.example"),
    "the issuer with a slash": lambda s: github(GITHUB, s.issuer, iss=ACTIONS + "/"),
    "an issuer of another client": lambda s: kubernetes(KUBERNETES, s.issuer),
    "another key": lambda s: github(OTHER, s.issuer),
    "the key of another client's issuer": lambda s: github(KUBERNETES, s.issuer),
    "the default audience": lambda s: github(GITHUB, "https://github.com/octo-org"),
    "no aud": lambda s: GITHUB.sign(s.issuer, without=["aud"], iss=ACTIONS, repository_id=REPOSITORY, repository_owner_id=OWNER, ref="refs/heads/main"),
    "an aud too many": lambda s: github(GITHUB, [s.issuer, "https://other.example"]),
    "an aud that begins like the issuer": lambda s: github(GITHUB, s.issuer + "/"),
    "expired": lambda s: github(GITHUB, s.issuer, exp=now(-30)),
    "for too long": lambda s: github(GITHUB, s.issuer, exp=now(3700)),
    "forever": lambda s: github(GITHUB, s.issuer, exp=9999999999),
    "not valid yet": lambda s: github(GITHUB, s.issuer, nbf=now(60)),
    "an ID-JAG": lambda s: GITHUB.sign(s.issuer, header={"typ": "oauth-id-jag+jwt"}, iss=ACTIONS, repository_id=REPOSITORY, repository_owner_id=OWNER,
                                       ref="refs/heads/main"),
    "alg none": lambda s: unsigned(github(GITHUB, s.issuer)),
    "not a JWT": lambda s: wire.MARK,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_is_not_the_clients_is_a_wrong_secret(server, name):
    rejected(server, ask(server.issuer, WRONG[name](server), client_id="deploy"))


#: Tokens that are good, shown as a client whose they are not.
MISTAKEN = {
    # `client_id` says for whom it was made: a user's token that this client was given, or that it has seen, is not the client.
    "a user's token that was given to the client": lambda s: ("peer", peer(s, sub="login:alice")),
    "a subject without a client": lambda s: ("peer", peer(s, client_id=None)),
    "another client of theirs": lambda s: ("peer", peer(s, sub="other", client_id="other")),
    "an ID token with a nonce": lambda s: ("generic", platform(s, nonce="n")),
    "an ID token with at_hash": lambda s: ("generic", platform(s, at_hash="h")),
    "an ID token with c_hash": lambda s: ("generic", platform(s, c_hash="h")),
    "a token that is bound to a key": lambda s: ("generic", platform(s, cnf={"jkt": "x"})),
    "a job's token that is bound to a key": lambda s: ("deploy", github(GITHUB, s.issuer, cnf={"x5t#S256": "x"})),
    "the client of another platform": lambda s: ("pod", github(GITHUB, s.issuer)),
    "a client with a secret": lambda s: ("secret", github(GITHUB, s.issuer)),
    "nobody": lambda s: ("nobody", github(GITHUB, s.issuer)),
    "another service account": lambda s: ("pod", kubernetes(KUBERNETES, s.issuer, sub="system:serviceaccount:prod:other")),
    "another namespace": lambda s: ("pod-by-names", kubernetes(KUBERNETES, s.issuer, **{"kubernetes.io": {
        "namespace": "test", "serviceaccount": {"name": "deployer"}}})),
    "another role": lambda s: ("role", aws(AWS, s.issuer, sub=ROLE + "2")),
    "an unusual typ": lambda s: ("generic", platform(s, header={"typ": "wl+jwt"})),
    "another typ than the entry's": lambda s: ("generic-typ", platform(s)),
    "no jti where it has to be taken once": lambda s: ("generic-once", platform(s, without=["jti"])),
    "an empty jti where it has to be taken once": lambda s: ("generic-once", platform(s, jti="")),
}


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_token_makes_nobody_another_client(server, name):
    id, token = MISTAKEN[name](server)
    rejected(server, ask(server.issuer, token, client_id=id))


def test_the_request_names_the_client(server):
    token = github(GITHUB, server.issuer)
    refused(ask(server.issuer, token), 400, "invalid_request", "`client_id` is missing")
    minted(ask(server.issuer, token, client_id="deploy"), "deploy")


def test_a_token_is_taken_once_if_it_has_a_name_but_for_kubernetes(server):
    for token, id in ((github(GITHUB, server.issuer), "deploy"), (aws(AWS, server.issuer), "role"), (platform(server), "generic"),
                      (kubernetes(KUBERNETES, server.issuer), "pod-once")):
        minted(ask(server.issuer, token, client_id=id), id)
        rejected(server, ask(server.issuer, token, client_id=id))
    shared = github(GITHUB, server.issuer)
    minted(ask(server.issuer, shared, client_id="deploy"), "deploy")
    rejected(server, ask(server.issuer, shared, client_id="by-workflow"))
    for token, id in ((kubernetes(KUBERNETES, server.issuer), "pod"), (platform(server, without=["jti"]), "generic")):
        for _ in range(2):
            minted(ask(server.issuer, token, client_id=id), id)


def test_beside_another_credential_it_is_a_contradiction(server):
    token = github(GITHUB, server.issuer)
    refused(ask(server.issuer, token, {"Authorization": wire.basic("secret", SECRET)}), 400, "invalid_request")
    refused(ask(server.issuer, token, client_id="deploy", client_secret=SECRET), 400, "invalid_request")
    minted(ask(server.issuer, token, client_id="deploy"), "deploy")


def test_a_client_may_sign_assertions_too(authority):
    own = Key("both")
    both = entry("both", of_github(MAIN)).replace(MORE, MORE + f"assertions = {{ jwks = {json.dumps(own.jwks)} }}\n")
    server = authority(configuration(both))
    minted(ask(server.issuer, own.sign(server.issuer)), "both")
    minted(ask(server.issuer, own.sign(server.issuer), client_id="both"), "both")
    minted(ask(server.issuer, github(GITHUB, server.issuer), client_id="both"), "both")
    rejected_by = ask(server.issuer, GITHUB.sign(server.issuer, iss="both", sub="both"), client_id="both")
    refused(rejected_by, 401, "invalid_client")
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


def test_it_authenticates_at_revoke_and_introspect_too(authority):
    more = MORE + 'introspect = ["api://default"]\n'
    server = authority(configuration(entry("pod", of_kubernetes(ACCOUNT), more=more)))
    token = kubernetes(KUBERNETES, server.issuer)
    access = ask(server.issuer, token, client_id="pod").json()["access_token"]
    shown = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": token, "client_id": "pod", "token": access}
    assert send(server, shown, path="/introspect").json()["active"]
    assert send(server, shown, path="/revoke").status == 200
    assert not send(server, shown, path="/introspect").json()["active"]
    refused(send(server, shown | {"client_assertion": kubernetes(OTHER, server.issuer)}, path="/introspect"), 401, "invalid_client")


def test_discovery_and_audit(authority):
    server = authority(configuration(entry("deploy", of_github(MAIN)), entry("role", of_aws(f'sub = "{ROLE}"'))))
    found = wire.get(server.issuer, "/.well-known/openid-configuration").json()
    assert found["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert found["token_endpoint_auth_signing_alg_values_supported"] == ["RS256", "ES256"]
    token = github(GITHUB, server.issuer)
    for _ in range(2):
        ask(server.issuer, token, client_id="deploy")
    ask(server.issuer, github(GITHUB, server.issuer, repository_id="75"), client_id="deploy")
    ask(server.issuer, github(GITHUB, server.issuer, exp=now(4000)), client_id="deploy")
    ask(server.issuer, github(GITHUB, [server.issuer, "x"]), client_id="deploy")
    ask(server.issuer, kubernetes(KUBERNETES, server.issuer), client_id="deploy")
    events = [json.loads(line) for line in server.log.splitlines() if line]
    of_token = [json.loads(event["client_token"]) for event in events if event.get("client_token")]
    claims = json.loads(wire.claims(token))
    assert of_token == [{name: claims[name] for name in ("iss", "sub", "jti")}], "which of the platform's tokens it was"
    events = [(event["decision"], event.get("client"), event.get("reason")) for event in server.audit]
    assert events[:2] == [("minted", "deploy", None), ("refused", None, "the client's assertion: it was used before (`jti`)")]
    assert [client for _, client, _ in events[2:]] == [None] * 4 and "issuer" in events[5][2]
    assert "repository_id" in events[2][2] and "more than an hour" in events[3][2] and "for others too" in events[4][2]


def test_while_the_platforms_keys_cannot_be_had_others_are_not_concerned(authority):
    away = workload(f'issuer = "http://127.0.0.1:{free_port()}", claims = {{ sub = "job-1" }}')
    server = authority(configuration(entry("away", away), entry("deploy", of_github(MAIN))))
    issuer = away.split('"')[1]
    refused(ask(server.issuer, OTHER.sign(server.issuer, iss=issuer, sub="job-1"), client_id="away"), 503, "temporarily_unavailable")
    minted(ask(server.issuer, github(GITHUB, server.issuer), client_id="deploy"), "deploy")


def test_tokens_of_another_countersign_found_by_discovery(authority):
    other = authority(configuration(client("users", more='audiences = ["https://ours.example"]\nclaims = { allow = ["sub"] }')))
    trust = f'preset = "countersign", id = "{other.issuer}", claims = {{ sub = "batch" }}'
    server = authority(configuration(entry("batch", workload(trust))))
    other.stop()
    file = other.folder / "countersign/countersign.toml"
    file.write_text(file.read_text().replace("https://ours.example", server.issuer))
    other.start()

    def token(sub):
        headers = {"Authorization": wire.basic("users", SECRET), "Content-Type": "application/json"}
        return wire.ask(other.issuer, "POST", "/sign", headers, json.dumps({"data": {"sub": sub}}).encode()).json()["access_token"]

    minted(ask(server.issuer, token("batch"), client_id="batch"), "batch")
    refused(ask(server.issuer, token("alice"), client_id="batch"), 401, "invalid_client")


def test_authlib_shows_a_platforms_token(server):
    more = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    with OAuth2Client("deploy", token_endpoint_auth_method="none") as session:
        token = session.fetch_token(f"{server.issuer}/token", grant_type="client_credentials", client_assertion=github(GITHUB, server.issuer), **more)
    assert json.loads(wire.claims(token["access_token"]))["sub"] == "deploy"


REFUSED = {
    "any repository of the owner": (of_github(""), "claims", "any repository of the owner"),
    "names alone": (of_github('repository = "octo-org/octo-repo"'), "claims", "repository is a name"),
    "the owner's name": (of_github('repository_owner = "octo-org", ref = "refs/heads/main"'), "claims", "repository_owner is a name"),
    "the branch alone": (of_github('ref = "refs/heads/main"'), "claims", "any repository of the owner"),
    "the text of sub": (of_github('sub = "repo:octo-org/octo-repo:ref:refs/heads/main"'), "claims", "2026-07-15"),
    "sub beside the id": (of_github(MAIN + ', sub = "repo:octo-org/octo-repo:ref:refs/heads/main"'), "claims", "2026-07-15"),
    "an id as a number": (of_github("repository_id = 74"), "claims", "written as a text"),
    "a name as id": (of_github('repository_id = "octo-org/octo-repo"'), "claims", "written as a text"),
    "a name as owner": (of_github(MAIN, id="octo-org"), "id", "numeric id"),
    "any pod": (of_kubernetes(""), "claims", "any pod of the cluster"),
    "a namespace": (of_kubernetes('"/kubernetes.io/namespace" = "prod"'), "claims", "any pod of the cluster"),
    "half a service account": (of_kubernetes('sub = "system:serviceaccount:prod:"'), "claims", "NAMESPACE:NAME"),
    "a user of the cluster": (of_kubernetes('sub = "system:node:a"'), "claims", "NAMESPACE:NAME"),
    "any principal": (of_aws(""), "claims", "any principal of the account"),
    "a subject of the caller's choice": (of_aws('sub = "alice"'), "claims", "named by its ARN"),
    "an account": (of_aws('"/https:~1~1sts.amazonaws.com~1/aws_account" = "123456789012"'), "claims", "any principal of the account"),
    "any token of another Countersign": (workload('preset = "countersign", id = "https://other.example"'), "claims", "any of its tokens"),
    "any token of an issuer": (generic(""), "claims", "anybody with a token of this issuer"),
    "nothing but what all have": (generic('iss = "https://platform.example", scope = "a"'), "claims", "anybody with a token"),
    "GitHub without its preset": (generic('environment = "prod"', issuer=ACTIONS), "issuer", 'preset = "github-actions"'),
    **{f"GitHub by preset {name}": (workload(f'preset = "{name}", id = "{ACTIONS}", jwks = {json.dumps(GITHUB.jwks)}, claims = {{ sub = "{sub}" }}'),
                                    "id", 'preset = "github-actions"')
       for name, sub in (("countersign", "repo:a/b:ref:x"), ("aws-sts", "arn:a"), ("kubernetes", "system:serviceaccount:a:b"))},
    "GitHub by another name of an issuer": (generic('sub = "repo:a/b:ref:x"', more=f', also_known_as = ["{ACTIONS}"]'), "claims", "repository_owner_id"),
    "GitHub with a slash": (generic('sub = "repo:a/b:ref:x"', issuer=ACTIONS + "/"), "issuer", 'preset = "github-actions"'),
    "GitHub by an enterprise's issuer": (generic('environment = "prod"', issuer=ACTIONS + "/octo"), "claims", "repository_owner_id"),
    "GitHub by an enterprise's issuer and names": (generic('repository_owner_id = "65", repository = "a/b"', issuer=ACTIONS + "/octo"), "claims",
                                                   "is a name"),
    "GitHub's own server": (generic('repository = "a/b"', issuer="https://git.example/_services/token"), "claims", "repository_owner_id"),
    "AWS without its preset": (generic('hd = "a", "/https:~1~1sts.amazonaws.com~1/aws_account" = "1"', issuer=STS), "claims", "any principal"),
    "a cluster without its preset": (generic('"/kubernetes.io/namespace" = "prod"'), "claims", "any pod"),
    **{f"for whom it is, by {name}": (generic(f'{name} = "app"'), "claims", "say for whom a token was made") for name in ("azp", "client_id", "cid", '"/azp"')},
    **{f"a pointer to {name}": (generic(f'"{name}" = "x"'), "claims", "anybody with a token") for name in ("/iss", "/aud", "/scope", "/aud/0", "/jti")},
    "a pointer to an unverified address": (generic('"/email" = "a@b.example"'), "claims", "email_verified = true"),
    "a pointer to a name": (of_github('"/repository" = "octo-org/octo-repo"'), "claims", "is a name"),
    "a pointer to the text of sub": (of_github(MAIN + ', "/sub" = "repo:a/b:ref:x"'), "claims", "2026-07-15"),
    "a pointer to a cluster's user": (of_kubernetes('"/sub" = "system:node:a"'), "claims", "NAMESPACE:NAME"),
    "an unverified address": (generic('email = "a@b.example"'), "claims", "email_verified = true"),
    "an audience of its own": (generic('sub = "a"', more=', audiences = ["https://github.com/octo-org"]'), "audiences", "leave it out"),
    "tokens that are bound to a key": (generic('sub = "a"', more=", dpop = true"), "dpop", "leave it out"),
    "a shared secret": (workload('issuer = "https://platform.example", hmac_secret = "env:X", algorithms = ["HS256"], claims = { sub = "a" }'), "hmac_secret",
                        "a secret of its own"),
    "a preset of users": (workload('preset = "google", id = "abc", claims = { sub = "a" }'), "preset", "about users"),
    "an unknown preset": (workload('preset = "x", id = "abc", claims = { sub = "a" }'), "preset", "x"),
    **{name: (generic('sub = "a"', more=f", dangerously_{name} = true"), f"dangerously_{name}", "anybody who has seen one")
       for name in ("accept_any_audience", "accept_any_issuer", "ignore_expiry")},
    "a client's name": (generic('sub = "a"', issuer="job"), "", 'the name of the client "job"'),
    "the issuer itself": (workload('preset = "countersign", id = "http://127.0.0.1:@PORT@", claims = { sub = "a" }'), "trust", "this is the issuer itself"),
    "too many": ("".join(generic(f'sub = "job-{n}"') for n in range(17)), "", "17 entries are more than 16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_more_than_one_workload_could_show_does_not_start(world, name):
    workloads, setting, says = REFUSED[name]
    world.configure(CONFIG + entry("job", workloads))
    assert setting in world.fails(78, says, "config", "check")


def test_it_has_no_effect_without_a_grant(world):
    world.configure(CONFIG + entry("job", generic('sub = "a"'), more='audiences = ["api://default"]\n'))
    world.fails(78, "has no effect without `grants`", "config", "check")


def test_what_is_pasted_is_not_shown(world):
    world.configure(CONFIG + entry("job", generic('sub = "a"')))
    shown = world.done("config", "check")
    assert 'jwks = "***"' in shown and AWS.jwks[20:60] not in shown
