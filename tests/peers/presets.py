"""Presets against what their vendors publish today: issuer, address of the keys, algorithms.

    PYTHONPATH=tests .tools/venv/bin/python tests/peers/presets.py

Where a vendor cannot be reached from here, that is said, and is no failure. Presets that are made from an id of one's own (a user pool,
a tenant, a cluster) are asked about the vendor's own or a public one; what nobody publishes is listed as such. What is expected stands in
crates/verifier/src/preset.rs; with a change there, or a row that is wrong here, docs/gate.md gets another date.
"""

import json
import urllib.error
import urllib.request

from peers.told import Table, tried_here

TENANT = "organizations"
#: Preset → what the preset has: the issuer, where its discovery document is, where the keys are, algorithms.
DISCOVERED = {
    "google": ("https://accounts.google.com", None, None, {"RS256"}),
    "github-actions": ("https://token.actions.githubusercontent.com", None, None, {"RS256"}),
    "entra": ("https://login.microsoftonline.com/{tenantid}/v2.0", f"https://login.microsoftonline.com/{TENANT}/v2.0", None, {"RS256"}),
    "auth0": ("https://samples.auth0.com/", None, "https://samples.auth0.com/.well-known/jwks.json", {"RS256"}),
}
CERTIFICATES = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"
OF_ONES_OWN = {
    "cognito": "a user pool", "okta": "an authorization server", "aws-sts": "an account", "aws-alb": "a load balancer",
    "kubernetes": "a cluster", "countersign": "an authority",
}
NOT_CHECKED = "NOT CHECKED"


class Unreachable(Exception):
    pass


def fetched(url):
    """The JSON at an address, redirects not followed, as the verifier fetches it."""
    class Stays(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        with urllib.request.build_opener(Stays).open(url, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as why:
        # A proxy that lets nobody out answers too.
        raise Unreachable(f"status {why.code}") from why
    except OSError as why:
        raise Unreachable(str(why)) from why


def discovered(table, preset, issuer, at, keys, algorithms):
    document = fetched((at or issuer).rstrip("/") + "/.well-known/openid-configuration")
    table.row(f"{preset}: issuer", issuer, document.get("issuer"))
    if keys:
        table.row(f"{preset}: jwks_uri", keys, document.get("jwks_uri"))
    published = fetched(document["jwks_uri"])["keys"]
    named = {key["alg"] for key in published if "alg" in key and key.get("use", "sig") == "sig"}
    table.row(f"{preset}: algorithms of keys beyond the preset's", set(), named - algorithms)
    table.row(f"{preset}: id_token_signing_alg_values_supported has the preset's", True,
              bool(algorithms & set(document.get("id_token_signing_alg_values_supported", algorithms))))


def main():
    table = Table("presets")
    for preset, described in DISCOVERED.items():
        try:
            discovered(table, preset, *described)
        except Unreachable as why:
            print(f"| {preset} | {NOT_CHECKED} | {why} |")
    try:
        found = fetched(CERTIFICATES)
        table.row("firebase: a map of certificates", True, bool(found) and all("BEGIN CERTIFICATE" in one for one in found.values()))
    except Unreachable as why:
        print(f"| firebase | {NOT_CHECKED} | {why} |")
    for preset, what in OF_ONES_OWN.items():
        print(f"| {preset} | {NOT_CHECKED} | needs {what} of one's own |")
    table.end()


if __name__ == "__main__":
    tried_here(main)
