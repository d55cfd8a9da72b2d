"""What pyoidc and idpyoidc say of a discovery document: JSON lines `{"reader", "text"}` in, `{"error"}` out.

Run by test_discovery.py in the environment of tests/requirements-oidc.txt.
"""

import json
import sys

import idpyoidc.message.oauth2
import idpyoidc.message.oidc
import oic.oauth2.message
import oic.oic.message

READERS = {
    "pyoidc (OpenID Connect)": oic.oic.message.ProviderConfigurationResponse,
    "pyoidc (RFC 8414)": oic.oauth2.message.ASConfigurationResponse,
    "idpyoidc (OpenID Connect)": idpyoidc.message.oidc.ProviderConfigurationResponse,
    "idpyoidc (RFC 8414)": idpyoidc.message.oauth2.ASConfigurationResponse,
}

for line in sys.stdin:
    asked = json.loads(line)
    error = None
    try:
        READERS[asked["reader"]]().from_json(asked["text"]).verify()
    except Exception as why:
        error = f"{type(why).__name__}: {why}"
    print(json.dumps({"error": error}), flush=True)
