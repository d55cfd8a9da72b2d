"""Rules for the stand-in providers, and requests with what those have given. See tests/servers/providers.py."""

import json
import threading
from contextlib import contextmanager

from e2e.program import client
from e2e.test_token import basic, configuration, send
from servers.providers import APPLICATION, REDIRECT, SECRET, Providers

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
CODE = "urn:countersign:params:oauth:token-type:authorization_code"
VERIFIER = "a-verifier-of-this-test-with-43-characters-or-more.~_"
ENTRY = (f'grants = ["{GRANT}"]\nprofiles = ["access_token"]\naudiences = ["api://default", "api://other"]\n'
         'scopes = ["read", "write", "admin"]\n')
#: What every rule has besides its source.
LIMITS = f'grants = ["{GRANT}"]\nimpersonate = true\nscopes = ["read", "write"]\nmax_lifetime = "10m"\n'
CREDENTIALS = f'client_id = "{APPLICATION}"\nclient_secret = "env:PROVIDER_SECRET"\n'
CODES = CREDENTIALS + f'redirect_uris = ["{REDIRECT}", "https://app.example/callback?a=1"]\n'
ENVIRONMENT = {"PROVIDER_SECRET": SECRET}
#: The addresses of each preset at the stand-in; a rule that takes codes has `token_url` too.
PLACES = {
    "x": {"token_url": "/2/oauth2/token", "profile_url": "/2/users/me"},
    "github": {"token_url": "/login/oauth/access_token", "check_url": f"/applications/{APPLICATION}/token", "profile_url": "/user"},
    "google": {"token_url": "/google/token", "check_url": "/tokeninfo", "profile_url": "/v1/userinfo"},
    "facebook": {"token_url": "/oauth/access_token", "check_url": "/debug_token", "profile_url": "/me"},
    "introspection": {"token_url": "/token", "check_url": "/introspect"},
    "userinfo": {"token_url": "/token", "profile_url": "/userinfo"},
}
#: The scopes that a token needs for its profile.
SCOPES = {"x": ("tweet.read", "users.read"), "google": ("openid", "email")}
#: What binds a token where the preset does not know it.
BINDING = {
    "x": "dangerously_accept_any_application = true\n",
    "introspection": f'applications = ["{APPLICATION}"]\n',
    "userinfo": f'binding = {{ azp = ["{APPLICATION}"] }}\n',
}


def rule(name, preset, url, more="", clients=("app",), limits=LIMITS, codes=False, claims=""):
    """A rule for a preset, whose name and provider are `name`. `more` is for `[exchange.upstream]`."""
    places = {key: path for key, path in PLACES[preset].items() if codes or key != "token_url"}
    addresses = "".join(f'{key} = "{url}{path}"\n' for key, path in places.items() if key not in more)
    return (f'\n[[exchange]]\nname = "{name}"\nprovider = "{name}"\nclients = {json.dumps(list(clients))}\n{limits}{claims}'
            f'[exchange.upstream]\npreset = "{preset}"\n{addresses}{more}')


def tokens_rule(preset, url, name=None, more="", **rest):
    """A rule that takes tokens."""
    credentials = CREDENTIALS if preset in ("github", "facebook", "introspection") else f'client_id = "{APPLICATION}"\n'
    return rule(name or preset, preset, url, credentials + BINDING.get(preset, "") + more, **rest)


def codes_rule(preset, url, name=None, more="", **rest):
    """A rule that takes codes."""
    binding = BINDING["introspection"] if preset == "introspection" else ""
    return rule(name or f"{preset}-code", preset, url, CODES + binding + more, codes=True, **rest)


@contextmanager
def served(tls=None):
    """The stand-in, in a thread of its own; with `tls`, a context, over https."""
    with Providers(tls=tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def ask(server, token, issuer=None, id="app", **parameters):
    """Shows a token."""
    form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": TYPE + "access_token", "subject_issuer": issuer}
    form |= parameters
    return send(server, {name: value for name, value in form.items() if value is not None}, basic(id))


def redeem(server, code, issuer=None, id="app", **parameters):
    """Shows a code."""
    form = {"subject_token_type": CODE, "code_verifier": VERIFIER, "redirect_uri": REDIRECT}
    return ask(server, code, issuer, id, **(form | parameters))


__all__ = ["BINDING", "CODE", "CODES", "CREDENTIALS", "ENTRY", "ENVIRONMENT", "LIMITS", "PLACES", "SCOPES", "SECRET", "TYPE", "VERIFIER",
           "ask", "client", "codes_rule", "configuration", "redeem", "rule", "served", "tokens_rule"]
