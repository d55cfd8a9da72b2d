"""Every time and size in the configuration has bounds: whatever is written, there is a server or one line that says why not.

The table has each setting that is a time. A setting that is missing here fails `test_the_table_has_every_time`.
"""

import re
from pathlib import Path

import pytest
from e2e import wire
from e2e.program import CONFIG, client, until

#: What is typed, and what a message about it has to say; `None`: it may be accepted.
ABSURD = {
    "18446744073709551615s": "is longer than",
    "9223372036854775807s": "is longer than",
    "6148914691236517206s": "is longer than",
    "99999999999999999999999999s": "is longer than",
    "100000y": "is longer than",
    "0s": None,
    "1ns": None,
    "3650days": None,
    "-1s": "is not a time",
    "": "is not a time",
    "soon": "is not a time",
}
TRUST = 'issuer = "https://other.example"\nkeys_url = "https://other.example/keys"\naudiences = ["a"]'
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
PROVIDER = client("provided", more=f'grants = ["{EXCHANGE}"]\nprofiles = ["access_token"]\naudiences = ["a"]') + (
    f'[[exchange]]\nclients = ["provided"]\ngrants = ["{EXCHANGE}"]\nimpersonate = true\nprovider = "google"\nmax_lifetime = "1h"\n'
    '[exchange.upstream]\npreset = "google"\nclient_id = "a"\n')
UPLOAD = ('[uploads.photos]\nbucket = "photos"\nregion = "eu-west-1"\nkey = "a/{{uuid}}"\ncontent_types = ["image/png"]\nmax_bytes = 1\n')
#: Settings by name: where the line stands, and what its table needs besides.
SETTINGS = {
    "store.refresh": "[store]\n{}",
    "store.max_stale": "[store]\n{}",
    "store.max_stale_signing": "[store]\n{}",
    "server.drain": "SERVER",
    "tokens.backdate": "[tokens]\n{}",
    "jwks.max_age": "[jwks]\n{}",
    "rotation.observe_every": "[rotation]\n{}",
    "rotation.skew": "[rotation]\n{}",
    "limits.request_time": "[limits]\n{}",
    "limits.idle_time": "[limits]\n{}",
    "limits.write_time": "[limits]\n{}",
    "rings.other.rotate_every": "[rings.other]\n{}",
    "rings.other.propagation": "[rings.other]\n{}",
    "rings.other.longest_token": "[rings.other]\n{}",
    "rings.other.keep_retired": "[rings.other]\n{}",
    "clients[].max_lifetime": "CLIENT",
    "trust[].leeway": f"[[trust]]\n{TRUST}\n{{}}",
    "trust[].keys_min_age": f"[[trust]]\n{TRUST}\n{{}}",
    "trust[].keys_max_age": f"[[trust]]\n{TRUST}\n{{}}",
    "trust[].keys_stale": f"[[trust]]\n{TRUST}\n{{}}",
    "trust[].revocations_every": f'[[trust]]\n{TRUST}\nrevocations = "on"\n{{}}',
    "trust[].revocations_stale": f'[[trust]]\n{TRUST}\nrevocations = "on"\n{{}}',
    "refresh.grace": "[refresh]\n{}",
    "refresh.idle": "[refresh]\n{}",
    "refresh.absolute": "[refresh]\n{}",
    "exchange[].upstream.cache": f"{PROVIDER}{{}}",
    "dpop.window": "[dpop]\n{}",
    "webhooks.jaas.window": '[webhooks.jaas]\napp_id = "a"\nsecrets = ["env:PATH"]\n{}',
    "gate.dpop.window": f"[[trust]]\n{TRUST}\n\n[gate.dpop]\n{{}}",
    "gate.dpop.authorizer_ttl": f"[[trust]]\n{TRUST}\n\n[gate.dpop]\n{{}}",
    "uploads.photos.lifetime": f"{UPLOAD}{{}}",
    "gate.appsync_ttl": f"[[trust]]\n{TRUST}\n\n[gate]\n{{}}",
}
LEAVES = {name.rsplit(".", 1)[-1] for name in SETTINGS}


def written(setting, value):
    """A configuration with one time in it."""
    line = f'{setting.rsplit(".", 1)[-1]} = "{value}"'
    place = SETTINGS[setting]
    if place == "SERVER":
        return CONFIG.replace("[server]\n", f"[server]\n{line}\n") + client("tests")
    if place == "CLIENT":
        return CONFIG + client("tests", more=f'audiences = ["a"]\n{line}')
    return CONFIG + "\n" + place.format(line) + "\n" + client("tests")


def test_the_table_has_every_time():
    """A time is a setting whose default is one, or whose text says how long or how often."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = set()
    for key, default, text in re.findall(r"^\| `([^`]+)` \| ([^|]*) \| (.*) \|$", page, re.MULTILINE):
        is_time = re.fullmatch(r'`"\d+(ms|s|m|h|d|days|y)"`', default.strip())
        if is_time or re.match(r"How (long|often|much longer|far)\b|The longest lifetime", text):
            found.add(key.rsplit(".", 1)[-1])
    # Counts and sizes that are told like times.
    found -= {"json_depth"}
    assert found, "the page has changed its form"
    assert found <= LEAVES, f"times that are not tried here: {found - LEAVES}"


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_time_ends_the_program_in_a_panic(world, setting):
    for value, says in ABSURD.items():
        world.configure(written(setting, value))
        checked = world.run("config", "check")
        shown = f"{setting} = {value!r}: {checked.returncode}\n{checked.stderr}"
        assert "panicked" not in checked.stderr, shown
        if says is None:
            assert checked.returncode in (0, 78), shown
        else:
            assert checked.returncode == 78, shown
            complaint = [line for line in checked.stderr.splitlines() if line.startswith("countersign: ")]
            assert len(complaint) == 1 and len(complaint[0]) < 500, shown
            assert says in complaint[0] and setting.rsplit(".", 1)[-1] in complaint[0], shown


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_config_check_accepts_serves(world, setting):
    for value in ("0s", "1ns", "1h", "3650days"):
        port = world.configure(written(setting, value))
        if world.run("config", "check").returncode != 0:
            continue
        process = world.serve()
        until(lambda: wire.get(f"http://127.0.0.1:{port}", "/healthz").status == 200, f"{setting} = {value}")
        process.terminate()
        assert process.wait(timeout=20) == 0, f"{setting} = {value}"
    assert "panicked" not in (world.log if (world.folder / "log").exists() else "")


@pytest.mark.parametrize(
    "line, says",
    [
        ("connections = 0", "limits.connections"),
        ("connections = 9999999", "limits.connections"),
        ("connections_per_address = 0", "limits.connections_per_address"),
        ("connections_per_address = 9999999", "limits.connections_per_address"),
        ("body_bytes = 0", "limits.body_bytes"),
        ("body_bytes = 999999999", "limits.body_bytes"),
        ("header_bytes = 8191", "limits.header_bytes"),
        ("url_bytes = 63", "limits.url_bytes"),
        ("token_bytes = 255", "limits.token_bytes"),
        ("json_depth = 2", "limits.json_depth"),
        ('per_client = "0/s"', "limits.per_client"),
        ('per_client = "4294967295/s"', "limits.per_client"),
        ('per_address = "99999999999/s"', "limits.per_address"),
    ],
)
def test_sizes_and_rates_have_bounds(world, line, says):
    world.configure(CONFIG + f"\n[limits]\n{line}\n" + client("tests"))
    world.fails(78, says, "config", "check")
