"""Tokens for uploads at `POST /token`: for a user whose token of another issuer is shown, by rules that name destinations, and for a
client itself. What a form does is in test_uploads.py.
"""

import json

import pytest
from authority import authorities
from e2e import wire
from e2e.program import client
from e2e.test_jwt_bearer import ALICE, GRANT as JWT_BEARER, LOGIN, rule, trust
from e2e.test_token import basic, refused, send
from e2e.test_token_exchange import GRANT as EXCHANGE, TYPE
from e2e.uploading import PAGE, PAGES, PNG, configuration, destination, post, uploader
from servers.versitygw import VersityGW

UPLOAD = "urn:countersign:params:oauth:token-type:upload"
PROFILE = 'profiles = ["upload"]\n'
BOTH = 'profiles = ["upload", "access_token"]\n'
GRANTS = f'grants = ["{EXCHANGE}"]\n'
SHOWN = trust(more=', audiences = ["my-app"]')
ROUTES = f'grants = ["{EXCHANGE}"]\nimpersonate = true\nonce = false\n'


def gives(id, *to, more=ROUTES, name="login", of=SHOWN):
    """A rule that gives tokens for uploads. The table comes last, as TOML has it."""
    return rule(id, name, more, of) + f"[exchange.upload]\nto = {json.dumps(list(to))}\n"


@pytest.fixture(scope="module")
def start(full_binary, tmp_path_factory):
    with authorities(full_binary, tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.bucket()


@pytest.fixture(scope="module")
def server(start, s3, bucket):
    keys = f'access_key_id = "{s3.key_id}"\nsecret_access_key = "env:BUCKET_SECRET"\n'
    claims = 'claims = { allow = ["team"] }\n'
    return start(configuration(
        destination("photos", bucket, s3.url, more=keys),
        destination("team", bucket, s3.url, "in/{team}/{sub}/{uuid}", more=keys),
        uploader("app", "photos", profile=PROFILE, more=PAGES + GRANTS), gives("app", "photos"),
        uploader("two", "photos", "team", profile=PROFILE, more=PAGES + GRANTS + claims),
        gives("two", "photos", "team", more=ROUTES + "claims = { team = 'claims.team' }\n"),
        uploader("both", "photos", profile=BOTH, more=PAGES + GRANTS), gives("both", "photos", name="uploads"), rule("both", "tokens", ROUTES, SHOWN),
        uploader("worker", "photos", profile=BOTH, more=PAGES + 'grants = ["client_credentials"]\nscopes = ["read"]\n'),
        uploader("asserts", "photos", profile=BOTH, more=PAGES + f'grants = ["{JWT_BEARER}"]\n'), rule("asserts", "login", ""),
        client("plain", more=f'profiles = ["access_token"]\n{PAGES}{GRANTS}'), rule("plain", "login", ROUTES, SHOWN),
        server=False), env={"BUCKET_SECRET": s3.secret})


def ask(server, id="app", upload=None, sub="alice", grant=EXCHANGE, **parameters):
    shown = {"subject_token": ALICE.sign("my-app", iss=LOGIN, sub=sub, team=parameters.pop("team", "red")), "subject_token_type": TYPE + "jwt"}
    form = {"grant_type": grant, "requested_token_type": UPLOAD} | (shown if grant == EXCHANGE else {}) | parameters
    if upload is not None:
        form["upload"] = upload if isinstance(upload, str) else json.dumps(upload)
    return send(server, {name: value for name, value in form.items() if value is not None}, basic(id))


def test_a_token_for_an_upload_stays_good_and_is_not_said_to_be_revoked(server):
    token = ask(server, upload={"content_type": "image/png", "bytes": len(PNG)}).json()["access_token"]
    refused(send(server, {"token": token}, basic("app"), "/revoke"), 400, "unsupported_token_type")


def permitted(answer):
    assert answer.status == 200, answer
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "issued_token_type"}
    assert body["token_type"] == "N_A" and body["issued_token_type"] == UPLOAD
    assert wire.header(body["access_token"])["typ"] == "upload+jwt"
    return json.loads(wire.claims(body["access_token"]))


def test_a_user_gets_a_form_below_his_own_name(server, s3, bucket):
    claims = permitted(ask(server, upload={"content_type": "image/png", "bytes": len(PNG)}))
    assert set(claims) == {"iss", "aud", "iat", "nbf", "exp", "jti", "sub", "upload"}
    assert claims["sub"] == "login:alice" and claims["aud"] == PAGE
    upload = claims["upload"]
    assert upload["key_prefix"] == "uploads/login~3Aalice/" and (upload["min_bytes"], upload["max_bytes"]) == (len(PNG), len(PNG))
    if isinstance(s3, VersityGW):
        assert post(upload["url"], upload["fields"]).status_code == 201
        assert upload["fields"]["key"] in s3.objects(bucket)
    assert permitted(ask(server))["upload"]["to"] == "photos", "where there is one, nothing has to be said"
    assert permitted(ask(server, audience="https://other.example.com"))["aud"] == "https://other.example.com"


def test_a_hostile_subject_stays_below_its_own_prefix(server):
    prefixes = [permitted(ask(server, sub=sub))["upload"]["key_prefix"] for sub in ("bob", "../bob", "bob/", "b/ob", "..", "${filename}")]
    assert len(set(prefixes)) == len(prefixes)
    assert all(prefix.count("/") == 2 and prefix.startswith("uploads/login~3A") for prefix in prefixes)


def test_claims_of_the_rule_make_the_key(server):
    claims = permitted(ask(server, "two", {"to": "team"}, team="../blue"))
    assert claims["team"] == "../blue" and claims["upload"]["key_prefix"] == "in/~2E.~2Fblue/login~3Aalice/"
    refused(ask(server, "two", {"to": "team"}, team=""), 400, "invalid_request", "`team` is empty")


def test_a_rule_gives_its_destinations_and_no_other_kind_of_token(server):
    refused(ask(server, "two"), 400, "invalid_target", "say which")
    refused(ask(server, "two", {"to": "nowhere"}), 400, "invalid_target", "say which")
    refused(ask(server, "app", {"to": "team"}), 400, "invalid_target", "gives no token for this destination")
    refused(ask(server, "app", requested_token_type=TYPE + "access_token"), 400, "invalid_request")
    refused(ask(server, "plain"), 400, "invalid_request")
    assert permitted(ask(server, "both"))["sub"] == "uploads:alice"
    answer = ask(server, "both", requested_token_type=None)
    assert answer.status == 200 and answer.json()["token_type"] == "Bearer"
    assert json.loads(wire.claims(answer.json()["access_token"]))["sub"] == "tokens:alice"


@pytest.mark.parametrize("upload, says", [
    ("[]", "`upload` must be a JSON object"), ("{", ""), ('{"to":1}', "`upload.to` must be"), ('{"key":"x"}', "unknown member 'key' in `upload`"),
    ({"content_type": "text/html"}, "`upload.content_type` must be one of"), ({"bytes": 5000}, "`upload.bytes`: 5000 are not"),
])
def test_what_is_wrong_with_an_upload_is_said(server, upload, says):
    refused(ask(server, upload=upload), 400, "invalid_request", says)


def test_what_to_upload_has_no_place_with_other_tokens(server):
    refused(ask(server, "both", {"to": "photos"}, requested_token_type=None), 400, "invalid_request", "`requested_token_type`")
    refused(ask(server, "asserts", {}, grant=JWT_BEARER, assertion="x"), 400, "invalid_request", "this grant gives no tokens for uploads")
    refused(ask(server, "app", scope="read"), 400, "invalid_scope")
    refused(ask(server, "app", audience="https://evil.example.com"), 400, "invalid_target")


def test_a_client_gets_one_for_itself(server):
    claims = permitted(ask(server, "worker", {"to": "photos"}, grant="client_credentials"))
    assert claims["sub"] == "worker" and claims["upload"]["key_prefix"] == "uploads/worker/"
    refused(ask(server, "worker", {}, grant="client_credentials", scope="read"), 400, "invalid_request", "no `scope`")
    refused(ask(server, "worker", {"to": "team"}, grant="client_credentials"), 400, "unauthorized_client", "rule: uploads")
    answer = ask(server, "worker", grant="client_credentials", requested_token_type=None)
    assert answer.json()["token_type"] == "Bearer"


def explained(server, id, *arguments, sub="alice", code=0):
    (server.folder / "shown").write_text(ALICE.sign("my-app", iss=LOGIN, sub=sub, team="red") + "\n")
    done = server.run("exchange", "--explain", "--json", "--client", id, *arguments, "shown", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_an_explanation_says_what_would_be_minted_and_has_no_form_that_could_be_used(server):
    done = explained(server, "app", "--upload", json.dumps({"content_type": "image/png", "bytes": 7}))
    said = json.loads(done.stdout)["would_mint"]
    real = permitted(ask(server, upload={"content_type": "image/png", "bytes": 7}))
    assert set(said) == set(real) and {"fields"} == set(real["upload"]) - set(said["upload"])
    assert (said["sub"], said["aud"]) == (real["sub"], real["aud"])
    same = set(said["upload"]) - {"expires"}
    assert {name: said["upload"][name] for name in same} == {name: real["upload"][name] for name in same}
    assert not any(word in done.stdout.lower() for word in ("signature", "x-amz", "policy\":"))
    # What the endpoint refuses is refused here, for the same reason.
    for id, upload, error, says in [
        ("two", None, "invalid_target", "say which"), ("two", {"to": "nowhere"}, "invalid_target", "say which"),
        ("app", {"to": "team"}, "invalid_target", "gives no token for this"),
        ("app", {"content_type": "text/html"}, "invalid_request", "`upload.content_type` must be one of"),
        ("app", {"bytes": 5000}, "invalid_request", "`upload.bytes`: 5000"),
    ]:
        arguments = () if upload is None else ("--upload", json.dumps(upload))
        [only] = json.loads(explained(server, id, *arguments, code=1).stdout)["rules"]
        assert only["accepts"] and says in only["refused"], only
        refused(ask(server, id, upload), 400, error, says)
    # A client with rules of two kinds says which is meant.
    assert "--requested-token-type" in explained(server, "both", code=2).stdout
    assert json.loads(explained(server, "both", "--requested-token-type", "access_token").stdout)["would_mint"]["sub"] == "tokens:alice"
    assert json.loads(explained(server, "both", "--requested-token-type", "upload").stdout)["would_mint"]["sub"] == "uploads:alice"
    assert "another type is asked for" in explained(
        server, "both", "--requested-token-type", "access_token", "--upload", "{}", code=2).stdout


def test_it_is_worth_nothing_in_an_exchange(server, start):
    """At another authority, which trusts this one for the same audience."""
    token = permitted_token(ask(server))
    other = start(configuration(
        client("app", more=f'profiles = ["access_token"]\n{PAGES}{GRANTS}'),
        rule("app", "peer", ROUTES, f'trust = {{ issuer = "{server.issuer}", audiences = ["{PAGE}"], algorithms = ["ES256"] }}\n'), server=False))
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": TYPE + "jwt"}
    refused(send(other, form, basic("app")), 400, "invalid_request", "`typ`")


def permitted_token(answer):
    assert permitted(answer)
    return answer.json()["access_token"]


def test_rules_that_could_give_nothing_do_not_start(full_world):
    good = destination("photos", "photos", None, region="eu-west-1")
    for entries, says in [
        ([uploader("app", "photos", more=PAGES + GRANTS), gives("app")], "exchange[0].upload.to: name at least one"),
        ([uploader("app", "photos", more=PAGES + GRANTS), gives("app", "nowhere")], "exchange[0].upload.to: there is no `uploads.nowhere`"),
        ([client("app", more=f'profiles = ["access_token"]\n{PAGES}{GRANTS}'), gives("app", "photos")], "may not have \"photos\""),
        ([uploader("app", "photos", more=PAGES + GRANTS), gives("app", "photos", more=ROUTES + 'scopes = ["read"]\n')], "exchange[0].scopes: has no place"),
        ([uploader("app", "photos", more=PAGES + GRANTS), gives("app", "photos")], None),
    ]:
        full_world.configure(configuration(good, *entries))
        checked = full_world.run("config", "check")
        assert (checked.returncode == 0) == (says is None) and (says is None or says in checked.stderr), checked.stderr
