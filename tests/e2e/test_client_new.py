"""`countersign client new` for each grant and each way to authenticate: what it prints starts a server, and a token comes out."""

import json
from urllib.parse import urlencode

import pytest
from e2e import stores, wire
from e2e.assertions import TYPE
from e2e.program import private
from e2e.test_token import refused
from e2e.workloads import CLUSTER, OWNER, REPOSITORY, ROLE, STS, Key, aws, github, kubernetes

BEARER = "urn:ietf:params:oauth:grant-type:"
LOGIN = "https://login.example"
USERS = Key("alice")

#: The flags of each way to authenticate, and what a request then shows.
WAYS = {
    "secret": ([], lambda made, key, issuer: {"client_secret": made["client_secret"]}),
    "private_key_jwt": (["--auth", "private_key_jwt"], lambda made, key, issuer: shown(key.sign(issuer))),
    "github-actions": (["--auth", "workload", "--workload", "github-actions", "--workload-id", OWNER, "--match", f"repository_id={REPOSITORY}",
                        "--match", "environment=prod"], lambda made, key, issuer: shown(github(key, issuer))),
    "kubernetes": (["--auth", "workload", "--workload", "kubernetes", "--workload-id", CLUSTER, "--match", "sub=system:serviceaccount:prod:deployer"],
                   lambda made, key, issuer: shown(kubernetes(key, issuer))),
    "aws-sts": (["--auth", "workload", "--workload", "aws-sts", "--workload-id", STS, "--match", f"sub={ROLE}"],
                lambda made, key, issuer: shown(aws(key, issuer))),
    "countersign": (["--auth", "workload", "--workload", "countersign", "--workload-id", "https://other.example", "--match", "client_id=batch"],
                    lambda made, key, issuer: shown(key.sign(issuer, iss="https://other.example", sub="batch", client_id="batch"))),
    "an issuer": (["--auth", "workload", "--workload", "https://platform.example", "--match", "email=a@b.example", "--match", "email_verified=true"],
                  lambda made, key, issuer: shown(key.sign(issuer, iss="https://platform.example", email="a@b.example", email_verified=True))),
    "none": (["--auth", "none"], lambda made, key, issuer: {}),
}


def shown(assertion):
    return {"client_assertion_type": TYPE, "client_assertion": assertion}


def ask(issuer, form):
    return wire.ask(issuer, "POST", "/token", {"Content-Type": wire.FORM}, urlencode(form).encode())


#: The flags of each grant, and its parameters.
GRANTS = {
    "client_credentials": (["--grant", "client_credentials"], lambda issuer: {"grant_type": "client_credentials"}),
    "jwt-bearer": (["--grant", BEARER + "jwt-bearer"],
                   lambda issuer: {"grant_type": BEARER + "jwt-bearer", "assertion": USERS.sign(issuer, iss=LOGIN)}),
    "token-exchange": (["--grant", BEARER + "token-exchange", "--trust", "https://users.example", "--provider", "users"],
                       lambda issuer: {"grant_type": BEARER + "token-exchange", "subject_token_type": BEARER.replace("grant", "token") + "jwt",
                                       "subject_token": USERS.sign(issuer, iss="https://users.example")}),
    "refresh_token": (["--grant", BEARER + "jwt-bearer", "--grant", "refresh_token"],
                      lambda issuer: {"grant_type": BEARER + "jwt-bearer", "assertion": USERS.sign(issuer, iss=LOGIN)}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("grant", GRANTS)
def test_what_is_printed_starts_and_gives_a_token(world, way, grant):
    (how, proof), (flags, parameters) = WAYS[way], GRANTS[grant]
    arguments = ["client", "new", "batch", *flags, "--scope", "read", "--audience", "api://batch", *how]
    if (way, grant) == ("none", "client_credentials"):
        world.fails(2, "a token for anybody", *arguments)
        return
    made = json.loads(world.done(*arguments, "--json"))
    assert ("client_secret" in made) == (way == "secret")
    key = Key("batch", "RS256")
    entry = made["toml"]
    # Where keys are found by discovery, they are put into the entry, because nobody serves them here.
    if way not in ("secret", "private_key_jwt", "none"):
        entry = entry.replace("[clients.workloads.trust]", f"[clients.workloads.trust]\njwks = {json.dumps(key.jwks)}")
    entry = entry.replace("[exchange.trust]", f'[exchange.trust]\njwks = {json.dumps(USERS.jwks)}\nalgorithms = ["ES256"]')
    # As printed it is good, too.
    world.configure(stores.CONFIG + "\n" + made["toml"])
    private(world.file.parent / "batch.jwks.json", key.jwks)
    world.done("config", "check")
    world.configure(stores.CONFIG + "\n" + entry)
    issuer = world.serve().printed["issuer"]

    def get(form):
        return ask(issuer, form | {"client_id": "batch", "scope": "read"} | proof(made, key, issuer))

    answer = get(parameters(issuer))
    assert answer.status == 200, answer
    claims = json.loads(wire.claims(answer.json()["access_token"]))
    who = {"client_credentials": "batch", "token-exchange": "users:alice"}.get(grant, "login:alice")
    assert (claims["client_id"], claims["sub"], claims["aud"], claims["scope"]) == ("batch", who, "api://batch", "read")
    if grant == "refresh_token":
        again = get({"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]})
        assert again.status == 200 and again.json()["refresh_token"]
    if way != "none":
        refused(ask(issuer, parameters(issuer) | {"client_id": "batch"}), 401, "invalid_client")


def test_for_people_it_says_what_the_client_shows(world):
    for way, (how, _) in WAYS.items():
        said = world.done("client", "new", "batch", "--grant", BEARER + "jwt-bearer", *how)
        assert ("client_secret:" in said) == (way == "secret") and "[[exchange]]" in said and 'issuer = "https://login.example"' in said


WORKLOAD = ["--grant", "client_credentials", "--auth", "workload"]
WRONG = {
    "no platform": (WORKLOAD, "add --workload"),
    "no id": ([*WORKLOAD, "--workload", "github-actions"], "gh api users/OWNER"),
    "an unknown preset": ([*WORKLOAD, "--workload", "gitlab", "--workload-id", "1"], 'no preset "gitlab"'),
    "an id of an issuer": ([*WORKLOAD, "--workload", "https://a.example", "--workload-id", "1"], "--workload-id is for a preset"),
    "anybody": ([*WORKLOAD, "--workload", "https://a.example"], "anybody with a token"),
    "a name": ([*WORKLOAD, "--workload", "github-actions", "--workload-id", OWNER, "--match", "repository=octo-org/octo-repo"], "is a name"),
    "half a claim": ([*WORKLOAD, "--workload", "https://a.example", "--match", "sub"], "CLAIM=VALUE"),
    "a claim twice": ([*WORKLOAD, "--workload", "https://a.example", "--match", "sub=a", "--match", "sub=b"], "names sub twice"),
    "a platform and a secret": (["--grant", "client_credentials", "--workload", "https://a.example", "--match", "sub=a"], "--auth workload"),
    "keys of a platform": ([*WORKLOAD, "--workload", "https://a.example", "--match", "sub=a", "--jwks", "a.json"], "--auth private_key_jwt"),
    "refresh alone": (["--grant", "refresh_token"], "goes on from another grant"),
    "whose tokens for nothing": (["--grant", "client_credentials", "--trust", LOGIN], "are for grants by rules"),
    "a provider that is none": (["--grant", BEARER + "jwt-bearer", "--provider", "a:b"], "a-z 0-9 -"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_not_start_is_not_printed(world, name):
    arguments, says = WRONG[name]
    world.fails(2, says, "client", "new", "batch", *arguments)

