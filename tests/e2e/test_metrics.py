"""Metrics as Prometheus reads them: every series of a running server is in docs/metrics.md, and the other way round.

The text is read by prometheus_client's parser of OpenMetrics, the alerts of the page by a parser of PromQL.
"""

import re
import time
from pathlib import Path

import promql_parser
import pytest
import yaml
from e2e import wire
from e2e.program import CONFIG, SECRET, client, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def labels_of(cell):
    """The labels of a row: `name`, or `name`: its values; next one."""
    parts = [part.strip() for part in re.split(r";(?= `)", cell) if part.strip()]
    return {re.match(r"`([a-z]+)`", part)[1] for part in parts}


#: Series of the table: name to type, unit, labels.
TABLE = {
    row[0].strip("` "): (row[1].strip(), row[2].strip(), labels_of(row[3].strip()))
    for row in (line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `countersign_"))
}
RINGS = '[rings.default]\nalgorithm = "ES256"\nrotate_every = "72h"\n'
OTHERS = '\n[rings.second]\nalgorithm = "EdDSA"\n'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GATE = """
[[trust]]
issuer = "https://elsewhere.example"
audiences = ["api"]

[[gate.proxies]]
kind = "nginx"
networks = ["127.0.0.1/32"]
"""


def families(url):
    answer = wire.get(url, "/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("application/openmetrics-text")
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def samples(url):
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(url).values()
        for sample in family.samples
    }


def value(url, name, **labels):
    return samples(url).get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def server(world):
    """A server with all that has metrics, asked for something of each kind."""
    text = CONFIG.replace('[rings.default]\nalgorithm = "ES256"\n', RINGS + OTHERS) + GATE
    world.configure(text + client("tests", more='audiences = ["api://default"]\ngrants = ["client_credentials"]\nprofiles = ["jwt", "access_token"]'))
    url = world.serve().printed["issuer"]
    before = samples(url)
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    assert wire.ask(url, "POST", "/sign", headers, b'{"data":{}}').status == 200
    assert wire.ask(url, "POST", "/sign", {"Content-Type": "application/json"}, b'{"data":{}}').status == 401
    assert wire.get(url, "/gate/nginx", {"X-Original-URI": "/a", "X-Original-Method": "GET"}).status in (401, 403)
    return url, before


def shown_name(family):
    """The name of a series as a query has it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_series_of_a_server_is_in_the_page_and_the_other_way_round(server):
    url, _ = server
    found = {shown_name(family): family for family in families(url).values()}
    assert set(found) == set(TABLE)
    for name, family in found.items():
        kind, unit, labels = TABLE[name]
        assert family.type == kind, name
        assert (family.unit or unit) == {"Unix time": "seconds"}.get(unit, unit), name
        here = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert here == labels, name


def test_what_is_counted_is_there_from_the_start(server):
    _, before = server
    names = {name for name, _ in before}
    for name in (
        "countersign_tokens_minted_total", "countersign_tokens_refused_total", "countersign_gate_decisions_total",
        "countersign_signature_duration_seconds_count", "countersign_store_operation_duration_seconds_count", "countersign_log_lost_total",
    ):
        assert name in names, name
    minted = {labels: count for (name, labels), count in before.items() if name == "countersign_tokens_minted_total"}
    assert set(minted.values()) == {0} and (("profile", "jwt"),) in minted
    refused = {dict(labels)["reason"] for (name, labels) in before if name == "countersign_tokens_refused_total"}
    assert {"invalid_client", "outside_policy", "rate_limited", "refresh_token_replayed", "unsupported_grant_type"} <= refused


def test_no_request_makes_a_series(server):
    url, _ = server
    for n in range(50):
        wire.get(url, f"/made-up-{n}")
        wire.get(url, f"/asap/{n}.pem")
        wire.get(url, f"/.well-known/made-up-{n}")
        wire.ask(url, "POST", "/token", FORM, b"grant_type=made-up-%d" % n)
        wire.ask(url, "POST", "/sign", {"Content-Type": "application/json"}, b'{"profile":"made-up-%d","data":{}}' % n)
    all_samples = samples(url)
    assert not [key for key in all_samples if "made-up" in str(key)]
    routes = {dict(labels)["route"] for (name, labels) in all_samples if name.endswith("request_duration_seconds_count")}
    assert {"{other}", "/asap/{key}", "/.well-known/{other}", "/token", "/sign", "/gate", "/metrics"} == routes
    assert value(url, "countersign_http_request_duration_seconds_count", route="{other}", status="4xx") == 50


def test_what_discovery_names_has_a_route_of_its_own(server):
    """Whatever is added to it later, too."""
    url, _ = server
    discovery = wire.get(url, "/.well-known/openid-configuration").json()
    paths = [value.removeprefix(url) for value in discovery.values() if isinstance(value, str) and value.startswith(url + "/")]
    assert "/.well-known/jwks.json" in paths and "/token" in paths
    for path in paths + ["/public-keys", "/.well-known/oauth-authorization-server", "/.well-known/x509.json", "/readyz", "/healthz"]:
        wire.get(url, path)
        routes = {dict(labels)["route"] for (name, labels) in samples(url) if name.endswith("request_duration_seconds_count")}
        assert path in routes, path
    assert not [labels for (_, labels) in samples(url) if ("route", "{other}") in labels]


def test_times_are_measured_and_add_up(server):
    url, _ = server
    histograms = [family for family in families(url).values() if family.type == "histogram"]
    assert {family.name for family in histograms} == {
        "countersign_http_request_duration_seconds", "countersign_signature_duration_seconds", "countersign_store_operation_duration_seconds",
    }
    assert value(url, "countersign_signature_duration_seconds_count", alg="ES256") == 1
    assert value(url, "countersign_http_request_duration_seconds_count", route="/sign", status="2xx") == 1
    assert value(url, "countersign_http_request_duration_seconds_count", route="/sign", status="4xx") == 1
    assert value(url, "countersign_store_operation_duration_seconds_count", operation="get") > 0
    assert 0 < value(url, "countersign_signature_duration_seconds_sum", alg="ES256") < 60


def test_a_ring_shows_what_happens_to_its_keys(server, world):
    url, _ = server
    begun = time.time()
    assert value(url, "countersign_ring_keys", ring="default", state="active") == 1
    assert value(url, "countersign_ring_keys", ring="second", state="active") == 1
    assert value(url, "countersign_ring_rotate_every_seconds", ring="default") == 72 * 3600
    assert value(url, "countersign_ring_rotate_every_seconds", ring="second") is None
    assert 0 <= value(url, "countersign_ring_active_key_age_seconds", ring="default") < 300
    assert value(url, "countersign_ring_active_key_seen_timestamp_seconds", ring="default") == 0
    planned = value(url, "countersign_ring_next_step_seconds", ring="default", step="make")
    [key] = [key for key in world.keys() if key["ring"] == "default"]
    assert key["next"]["step"] == "make" and abs(key["next"]["at"] - begun - planned) < 60

    world.done("keys", "prepare", "--ring", "second")
    until(lambda: value(url, "countersign_ring_keys", ring="second", state="prepared") == 1, "the server has read it")
    [second] = [key for key in world.keys() if key["ring"] == "second" and key["state"] == "active"]
    world.done("keys", "revoke", second["kid"])
    until(lambda: value(url, "countersign_ring_keys", ring="second", state="revoked") == 1, "the server has read it")


def test_a_server_that_finds_its_key_in_public_says_when(world):
    rings = RINGS + '\n[rotation]\nobserve_every = "1s"\n'
    world.configure(CONFIG.replace('[rings.default]\nalgorithm = "ES256"\n', rings) + client("tests"))
    begun = int(time.time())
    url = world.serve().printed["issuer"]

    def seen():
        return value(url, "countersign_ring_active_key_seen_timestamp_seconds", ring="default")

    first = until(seen, "the server has looked")
    assert begun <= first <= time.time()
    until(lambda: seen() > first, "it goes on to look")


def names(node):
    """The series that an expression asks for."""
    found = re.findall(r"\b(countersign_[a-z_]+)\b", node.prettify())
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def alerts():
    [text] = re.findall(r"test_metrics.py runs this -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    [group] = yaml.safe_load(text)["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_the_alerts_of_the_page_are_promql_over_series_and_labels_that_exist():
    assert set(alerts()) >= {
        "CountersignActiveKeyNotSeen", "CountersignStepOverdue", "CountersignKeyTooOld", "CountersignStoreSilent", "CountersignLogQueueFills",
    }
    for name, rule in alerts().items():
        asked = names(promql_parser.parse(rule["expr"]))
        assert asked and asked <= set(TABLE), name
        labels = set().union(*(TABLE[series][2] for series in asked)) | {"le", "instance"}
        used = set(re.findall(r"by \(([^)]*)\)", rule["expr"]))
        assert {label.strip() for group in used for label in group.split(",")} <= labels, name
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= labels, name
        assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["action"]
    with pytest.raises(ValueError):
        promql_parser.parse("max by (ring (countersign_ready)")
