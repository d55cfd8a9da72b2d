"""Tokens that platforms give to what runs on them, with the claims their documentation names. PyJWT signs them."""

from e2e.assertions import Key, ask

ACTIONS = "https://token.actions.githubusercontent.com"
OWNER, REPOSITORY = "65", "74"


def github(key, audience, **more):
    """A token of GitHub Actions (docs.github.com, "OpenID Connect reference"), with the `sub` of repositories made since 2026-07-15."""
    claims = {
        "iss": ACTIONS, "sub": f"repo:octo-org@{OWNER}/octo-repo@{REPOSITORY}:environment:prod", "environment": "prod",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "9f8e" * 10, "actor": "octocat", "actor_id": "12",
        "repository": "octo-org/octo-repo", "repository_id": REPOSITORY, "repository_owner": "octo-org", "repository_owner_id": OWNER,
        "repository_visibility": "private", "run_id": "100", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted",
        "workflow": "deploy", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main", "event_name": "push",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main", "head_ref": "", "base_ref": "",
    }
    return key.sign(audience, **(claims | more))


CLUSTER = "https://kubernetes.default.svc.cluster.local"
ACCOUNT = {"namespace": "prod", "serviceaccount": {"name": "deployer", "uid": "7b8c"}, "pod": {"name": "deployer-5d", "uid": "1a2b"}}


def kubernetes(key, audience, **more):
    """A projected service account token."""
    claims = {"iss": CLUSTER, "sub": "system:serviceaccount:prod:deployer", "kubernetes.io": ACCOUNT}
    return key.sign(audience, header={"typ": None}, **(claims | more))


STS = "https://0f1e2d3c.tokens.sts.global.api.aws"
ROLE = "arn:aws:iam::123456789012:role/deployer"


def aws(key, audience, **more):
    """A token of `sts:GetWebIdentityToken`."""
    about = {"aws_account": "123456789012", "source_region": "eu-west-1", "principal_id": ROLE, "org_id": "o-1"}
    return key.sign(audience, **({"iss": STS, "sub": ROLE, "https://sts.amazonaws.com/": about} | more))


__all__ = ["ACCOUNT", "ACTIONS", "CLUSTER", "OWNER", "REPOSITORY", "ROLE", "STS", "Key", "ask", "aws", "github", "kubernetes"]
