"""Envoy with its own filter `jwt_authn`, which verifies tokens by itself and asks nobody: one route for each issuer."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from authority import AUDIENCE, until

#: Envoy is beside the Python that runs the tests.
PROGRAM = shutil.which("envoy", path=Path(sys.executable).parent)
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def configuration(issuers):
    """name: issuer and where its keys are → a listener on which everything below `/name/` needs its token."""
    providers, rules, clusters = {}, [], []
    for name, (issuer, keys) in issuers.items():
        uri = {"uri": keys, "cluster": name, "timeout": "10s"}
        providers[name] = {"issuer": issuer, "audiences": [AUDIENCE], "remote_jwks": {"http_uri": uri}}
        rules.append({"match": {"prefix": f"/{name}/"}, "requires": {"provider_name": name}})
        endpoint = {"endpoint": {"address": address(urlsplit(keys).port)}}
        endpoints = [{"lb_endpoints": [endpoint]}]
        clusters.append({"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}})
    verifies = {"@type": f"{EXTENSIONS}.http.jwt_authn.v3.JwtAuthentication", "providers": providers, "rules": rules}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "taken"}}}
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "tests",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": verifies},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"}},
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "tests", "address": address(0), "filter_chains": [chain]}
    return {"admin": {"address": address(0)}, "static_resources": {"listeners": [listener], "clusters": clusters}}


class Envoy:
    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=60)

    def verdict(self, name, token):
        """None, or what it says against the token."""
        answer = self.http.get(f"/{name}/", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.text) == (200, "taken") or answer.status_code in (401, 403), answer.text
        return None if answer.status_code == 200 else answer.text


@contextmanager
def running(issuers, folder):
    """On ports by the system; its end is that of the block."""
    file, admin = folder / "envoy.json", folder / "admin"
    file.write_text(json.dumps(configuration(issuers)), encoding="utf-8")
    arguments = ["--disable-hot-restart", "--concurrency", "1", "--admin-address-path", admin]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([PROGRAM, "-c", file, *arguments], stdout=log, stderr=log)

    def listener():
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        if not admin.exists() or not admin.read_text():
            return None
        found = httpx.get(f"http://{admin.read_text()}/listeners?format=json").json().get("listener_statuses")
        return found and found[0]["local_address"]["socket_address"]["port_value"]

    try:
        one = Envoy(f"http://127.0.0.1:{until(listener, 'Envoy listens')}")
        try:
            yield one
        finally:
            one.http.close()
    finally:
        process.terminate()
        process.wait(timeout=60)
