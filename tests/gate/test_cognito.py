"""A Cognito user pool, as MiniStack plays it, as a trust of the gate: the tokens that its users get when they log in.

Nobody here wrote them: access tokens without `aud`, two keys in one set (one for each `token_use`), kids
with `/` and `=`. What differs from AWS is where the keys are, which `keys_url` says here.
"""

import json

import pytest
from gate.one_shot import OneShot, configuration
from libraries import part
from rings import tampered

PASSWORD = "Pass-word-1"


class Pool:
    """A user pool with two applications, whose user alice is in the group staff."""

    def __init__(self, aws, name):
        self.aws, self.cognito = aws, aws.client("cognito-idp")
        self.id = self.cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
        self.app, self.other = self.application("app"), self.application("other")
        alice = {"UserPoolId": self.id, "Username": "alice"}
        self.cognito.admin_create_user(**alice, MessageAction="SUPPRESS")
        self.cognito.admin_set_user_password(**alice, Password=PASSWORD, Permanent=True)
        self.cognito.create_group(UserPoolId=self.id, GroupName="staff")
        self.cognito.admin_add_user_to_group(**alice, GroupName="staff")

    def application(self, name):
        flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        made = self.cognito.create_user_pool_client(UserPoolId=self.id, ClientName=name, ExplicitAuthFlows=flows)
        return made["UserPoolClient"]["ClientId"]

    def ask(self, flow, app=None, **parameters):
        asked = {"ClientId": app or self.app, "AuthFlow": flow, "AuthParameters": parameters}
        return self.cognito.initiate_auth(**asked)["AuthenticationResult"]

    def login(self, app=None):
        return self.ask("USER_PASSWORD_AUTH", app, USERNAME="alice", PASSWORD=PASSWORD)

    def trust(self, **more):
        keys = f"{self.aws.url}/{self.id}/.well-known/jwks.json"
        return {"preset": "cognito", "id": self.id, "audiences": [self.app], "keys_url": keys} | more


@pytest.fixture(scope="module")
def pool(ministack):
    return Pool(ministack, "people")


@pytest.fixture(scope="module")
def others(ministack):
    return Pool(ministack, "others")


@pytest.fixture
def judge(binary, tmp_path):
    context = {"sub": "sub", "username": "username", "groups": "cognito:groups"}
    gate = OneShot(binary, tmp_path)

    def run(token, *trust, group=None):
        rule = f'[[gate.routes]]\npath = "/**"\nclaims = {{ "cognito:groups" = "{group}" }}\n' if group else ""
        return gate.authorize(token, configuration(*trust, gate={"context": context}) + rule)

    return run


def test_lets_in_a_user_who_logged_in(pool, judge):
    token = pool.login()["AccessToken"]
    claims = json.loads(part(token, 1))
    assert "aud" not in claims and (claims["token_use"], claims["client_id"]) == ("access", pool.app)
    verdict = judge(token, pool.trust())
    assert verdict.exit == 0, verdict
    assert verdict.reply["principalId"] == claims["sub"]
    assert verdict.reply["context"] == {"sub": claims["sub"], "username": "alice", "groups": '["staff"]'}


def test_lets_in_with_a_token_that_was_refreshed(pool, judge):
    token = pool.ask("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=pool.login()["RefreshToken"])["AccessToken"]
    assert judge(token, pool.trust()).exit == 0


def test_id_tokens_are_for_those_who_ask_for_them(pool, judge):
    tokens = pool.login()
    assert len({json.loads(part(tokens[name], 0))["kid"] for name in ("AccessToken", "IdToken")}) == 2
    assert judge(tokens["IdToken"], pool.trust()).refused == "claim_mismatch"
    assert judge(tokens["IdToken"], pool.trust(token_use="id")).exit == 0
    assert judge(tokens["AccessToken"], pool.trust(token_use="id")).refused == "claim_mismatch"


def test_a_group_can_be_demanded(pool, judge):
    token = pool.login()["AccessToken"]
    assert judge(token, pool.trust(), group="staff").exit == 0
    verdict = judge(token, pool.trust(), group="admins")
    assert (verdict.exit, verdict.code) == (1, "route_claim"), verdict


def test_tokens_of_another_application_or_pool_or_changed_ones_are_refused(pool, others, judge):
    assert judge(pool.login(pool.other)["AccessToken"], pool.trust()).refused == "claim_mismatch"
    stranger = others.login()["AccessToken"]
    assert judge(stranger, pool.trust()).refused == "issuer_unknown"
    assert judge(stranger, pool.trust(), others.trust()).exit == 0
    # The other pool's tokens with this pool's keys: the issuer is right, and the key is not there.
    wrong_keys = others.trust(keys_url=pool.trust()["keys_url"])
    assert judge(stranger, wrong_keys).refused == "token_no_key"
    changed = tampered(pool.login()["AccessToken"], b'"alice"', b'"mallory"')
    assert judge(changed, pool.trust()).refused == "token_bad_signature"
