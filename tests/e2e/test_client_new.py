"""`countersign client new` for each grant and each way to authenticate: what it prints starts a server, and a token comes out."""

import json
import tomllib
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
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


BY_KEY = ["--grant", "client_credentials", "--auth", "private_key_jwt"]
BY_PLATFORM = [*WORKLOAD, "--workload", "https://a.example", "--match", "sub=a"]
MEETINGS = ["--profile", "jaas", "--profile", "jitsi"]
#: The flags by which each setting of an entry is said.
SETTINGS = {
    "id": [],
    "secret_hashes": [],
    "audiences": ["--audience", "api://a"],
    "max_lifetime": ["--lifetime", "5m"],
    "scopes": ["--scope", "read"],
    "grants": ["--grant", "client_credentials"],
    "default_scope": ["--grant", "client_credentials", "--scope", "read", "--default-scope", "read"],
    "introspect": ["--grant", "client_credentials", "--introspect", "api://a"],
    "assertions.keys_url": [*BY_KEY, "--jwks", "https://keys.example/jwks"],
    "assertions.jwks": [*BY_KEY, "--jwks", "later.json"],
    "assertions.pem": [*BY_KEY, "--pem", "later.pem", "--assertion-algorithm", "ES256"],
    "assertions.algorithms": [*BY_KEY, "--assertion-algorithm", "ES256", "--assertion-algorithm", "RS256"],
    "workloads.trust": BY_PLATFORM,
    "workloads.once": [*BY_PLATFORM, "--workload-once", "true"],
    "public": ["--grant", BEARER + "jwt-bearer", "--auth", "none"],
    "dpop_bound_access_tokens": ["--grant", "client_credentials", "--dpop"],
    "profiles": ["--profile", "jwt"],
    "uploads": ["--profile", "upload", "--upload", "photos", "--audience", "https://app.example.com"],
    "claims.allow": ["--claim", "email"],
    "claims.deny": ["--claim", "*", "--deny-claim", "email"],
    "claims.fixed": ["--fixed-claim", "tenant=acme"],
    "claims.schema": ["--schema", "later.json"],
    "jaas.moderator": [*MEETINGS, "--jaas-moderator"],
    "jaas.any_room": [*MEETINGS, "--jaas-any-room"],
    "jaas.rooms": [*MEETINGS, "--jaas-room", "team-*"],
    "jaas.regex": [*MEETINGS, "--jaas-regex", "team-.*"],
    "jaas.user": [*MEETINGS, "--jaas-user", "name"],
    "jaas.features": [*MEETINGS, "--jaas-feature", "recording"],
    "jitsi.moderator": [*MEETINGS, "--jitsi-moderator"],
    "jitsi.any_room": [*MEETINGS, "--jitsi-any-room"],
    "jitsi.rooms": [*MEETINGS, "--jitsi-room", "team-*"],
    "jitsi.user": [*MEETINGS, "--jitsi-user", "name"],
    "jitsi.features": [*MEETINGS, "--jitsi-feature", "recording"],
}
#: Tables with a page of settings of their own, that flags set in part (`--workload`, `--workload-id`, `--match`).
WHOLE = {"workloads.trust"}
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/configuration.schema.json").read_text(encoding="utf-8"))["$defs"]
MORE = """
[profiles.jaas]
app_id = "vpaas-magic-cookie-1"

[profiles.jitsi]
app_id = "meetings"
domain = "meet.example.com"

[uploads.photos]
bucket = "photos"
region = "eu-west-1"
key = "uploads/{sub}/{uuid}"
content_types = ["image/png"]
max_bytes = 1000
access_key_id = "id"
secret_access_key = "file:upload.secret"
"""


def settings(name, path=""):
    """Every setting of a table, with those of tables in it."""
    for setting, schema in SCHEMA[name]["properties"].items():
        found = [schema, *schema.get("anyOf", []), schema.get("items", {})]
        inner = next((one["$ref"].rsplit("/", 1)[1] for one in found if "$ref" in one), None)
        if inner and path + setting not in WHOLE:
            yield from settings(inner, f"{path}{setting}.")
        else:
            yield path + setting


def test_every_setting_of_an_entry_has_a_flag():
    assert sorted(SETTINGS) == sorted(settings("RawClient"))


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_flag_sets_its_setting_and_what_is_printed_starts(full_world, setting):
    full_world.configure(stores.CONFIG + MORE)
    private(full_world.file.parent / "upload.secret", "secret")
    entry = json.loads(full_world.done("client", "new", "batch", *SETTINGS[setting], "--json"))["toml"]
    [found] = tomllib.loads(entry)["clients"]
    for name in setting.split("."):
        found = found[0][name] if isinstance(found, list) else found[name]
    assert found or setting == "secret_hashes"
    # Files that are to be made later are there now.
    folder = full_world.file.parent
    private(folder / "later.json", "{}" if "schema" in setting else Key("batch").jwks)
    private(folder / "batch.jwks.json", Key("batch", "RS256").jwks)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "later.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    full_world.configure(stores.CONFIG + MORE + entry)
    full_world.done("config", "check")


#: What would not start with the configuration that is there: flags, and what is to be done.
HERE = {
    "a room without the profile": (["--jaas-room", "x"], "--jaas-room is for tokens of profile jaas; add --profile jaas"),
    "a room of a Jitsi without the profile": (["--jitsi-room", "x"], "add --profile jitsi"),
    "an upload without the profile": (["--upload", "photos"], "add --profile upload"),
    "an upload to nowhere": (["--profile", "upload", "--audience", "https://app.example.com"], "add --upload NAME"),
    "an upload for no page": (["--profile", "upload", "--upload", "photos"], "add --audience with its origin"),
    "an upload to what is not there": (
        ["--profile", "upload", "--upload", "films", "--audience", "https://app.example.com"], "there is no `uploads.films`"),
    "an upload for what is no origin": (
        ["--profile", "upload", "--upload", "photos", "--audience", "https://app.example.com/"], 'write "https://app.example.com"'),
    "a profile that is none": (["--profile", "jwtt"], 'there is no profile "jwtt" in this configuration; there is jwt'),
    "a profile for grants": (["--profile", "access_token"], "has no effect without `grants`"),
    "a feature of nothing": (["--profile", "jaas", "--jaas-user", "nmae"], '"nmae" is not one of'),
}


@pytest.mark.parametrize("name", HERE)
def test_what_this_configuration_would_refuse_is_not_printed(full_world, name):
    arguments, says = HERE[name]
    full_world.configure(stores.CONFIG + MORE)
    private(full_world.file.parent / "upload.secret", "secret")
    full_world.fails(2, says, "client", "new", "batch", *arguments)


def test_a_client_that_is_there_is_not_made_again(world):
    world.configure()
    world.fails(2, 'there is a client "tests" already', "client", "new", "tests")
    world.fails(2, "`countersign client secret tests` renews its secret", "client", "new", "tests")


def test_a_profile_that_is_not_set_up_is_told_with_what_it_needs(world):
    world.configure(stores.CONFIG)
    for profile, needs in (("jaas", "[profiles.jaas] with app_id, or the variables"), ("jitsi", "[profiles.jitsi]"), ("id_jag", "`id_jags`")):
        world.fails(2, needs, "client", "new", "batch", "--profile", profile)
    world.file.unlink()
    world.fails(2, 'there is no profile "jwtt"', "client", "new", "batch", "--profile", "jwtt")
