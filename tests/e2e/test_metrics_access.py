"""`/metrics` is for those who are named, and for nobody whose address is not known: a proxy on this machine opens nothing."""

import pytest
from e2e import wire
from e2e.program import CONFIG, client

ELSEWHERE = "198.51.100.7"
HANDED_ON = {
    "X-Forwarded-For": ELSEWHERE,
    "X-Real-IP": ELSEWHERE,
    "Forwarded": f"for={ELSEWHERE}",
    "Via": "1.1 proxy",
    "X-Forwarded-Host": "issuer.example",
    "X-Forwarded-Proto": "https",
}


def start(world, server=""):
    text = CONFIG.replace("[server]\n", f"[server]\n{server}\n", 1)
    world.configure(text + client("tests"))
    return world.serve().printed["issuer"]


def metrics(url, headers=(), **rest):
    answer = wire.get(url, "/metrics", headers, **rest)
    if answer.status == 200:
        assert b"countersign_ready" in answer.body
    else:
        wire.check_refusal(answer, 403, error="access_denied")
        assert b"countersign_" not in answer.body
    return answer.status


def test_whoever_asks_from_this_machine_may_read_them(world):
    url = start(world)
    assert metrics(url) == metrics(url, host="localhost:8080") == metrics(url, host="[::1]:1") == 200


@pytest.mark.parametrize("name", HANDED_ON)
@pytest.mark.parametrize("value", ["as it is", "of loopback", "empty"])
def test_a_proxy_that_is_not_trusted_opens_nothing(world, name, value):
    url = start(world)
    text = {"as it is": HANDED_ON[name], "of loopback": "127.0.0.1", "empty": ""}[value]
    assert metrics(url, {name: text}) == 403
    # Everything else is answered as ever.
    assert wire.get(url, "/healthz", {name: text}).status == 200


@pytest.mark.parametrize(
    "forwarded, status",
    [
        (["127.0.0.1"], 200), (["127.0.0.5:80"], 200), (["[::1]:1"], 200), (["[::1]"], 200), (["::1"], 200),
        ([ELSEWHERE], 403), ([f"{ELSEWHERE}:80"], 403), ([f"127.0.0.1, {ELSEWHERE}"], 403), (["127.0.0.1", ELSEWHERE], 403),
        (["unknown"], 403), (["_hidden"], 403), ([""], 403), (["127.0.0.1, unknown"], 403), (["127.0.0.1", "127.0.0.1:"], 403),
        (["[::1"], 403), (["127.0.0.1 127.0.0.1"], 403), (["\xe9"], 403), ([f"{ELSEWHERE}, 127.0.0.1"], 403),
    ],
)
def test_behind_a_trusted_proxy_the_callers_address_counts(world, forwarded, status):
    url = start(world, 'trusted_proxies = ["127.0.0.1"]')
    assert metrics(url, [("X-Forwarded-For", value) for value in forwarded]) == status


def test_a_trusted_proxy_that_does_not_say_for_whom_opens_nothing(world):
    url = start(world, 'trusted_proxies = ["127.0.0.1"]')
    assert metrics(url) == 200, "asked by the machine itself"
    for name in set(HANDED_ON) - {"X-Forwarded-For"}:
        assert metrics(url, {name: HANDED_ON[name]}) == 403, name


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "a"])
def test_a_name_of_somebody_else_for_this_machine_opens_nothing(world, host):
    url = start(world)
    assert metrics(url, host=host) == 403
    assert wire.get(url, "/healthz", host=host).status == 200


def test_addresses_that_are_not_named_get_nothing(world):
    url = start(world, 'metrics_allow = ["127.0.0.2"]')
    assert metrics(url) == 403
    assert metrics(url, source="127.0.0.2") == 200
