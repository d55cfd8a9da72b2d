"""`keys revoke` as an operator meets it: what it says for each kind of ring, and with what it needs missing."""

import json

from e2e import wire
from e2e.program import CONFIG, client, private, until

RINGS = """
[rings.meetings]
algorithm = "RS256"

[rings.shared]
algorithm = "HS256"
publish = false
"""


def active(world, ring="default"):
    return next(key["kid"] for key in world.keys() if key["ring"] == ring and key["state"] == "active")


def shown(issuer):
    return {key["kid"] for key in json.loads(wire.get(issuer, "/.well-known/jwks.json").body)["keys"]}


def test_it_says_what_is_left_to_do_and_by_when_servers_follow(world):
    world.configure()
    issuer = world.serve().printed["issuer"]
    kid = active(world)
    said = world.done("keys", "revoke", kid)
    assert f"key {kid} in ring default is revoked" in said
    assert "within 5s" in said and "countersign publish" in said and "read the JWKS again" in said
    until(lambda: kid not in shown(issuer), "the server shows the revoked key")
    assert "is revoked already" in world.done("keys", "revoke", kid)
    world.fails(1, "there is no key", "keys", "revoke", "nobody")


def test_what_is_left_to_do_depends_on_the_ring_and_one_that_is_not_configured_any_more_is_no_obstacle(world):
    port = world.configure(CONFIG + RINGS + client("tests"))
    issuer = world.serve().printed["issuer"]
    secret, waits = [json.loads(world.done("keys", "prepare", "--ring", "shared", "--show-secret", "--json"))["kid"] for _ in range(2)]
    assert active(world, "shared") == secret
    said = world.done("keys", "revoke", secret)
    assert "nowhere to withdraw it from" in said and "countersign publish" not in said, said
    assert active(world, "shared") == waits and f"Key {waits} signs in ring shared" in said
    # The server goes on with the ring; the operator's configuration does not have it.
    meetings = active(world, "meetings")
    assert meetings in shown(issuer)
    world.configure(port=port)
    said = json.loads(world.done("keys", "revoke", meetings, "--json"))
    assert said["recorded"] and said["state"] == "revoked" and said["active"] is None, said
    assert "not in the configuration, so no key was made" in world.done("keys", "revoke", meetings)
    until(lambda: meetings not in shown(issuer), "the server shows the revoked key")


def test_without_the_sealing_key_it_still_counts_and_the_server_records_it(world):
    world.configure()
    issuer = world.serve().printed["issuer"]
    kid = active(world)
    key = world.folder / "countersign/sealing.key"
    text = key.read_text()
    key.unlink()
    said = world.done("keys", "revoke", kid)
    assert "is revoked" in said and "could not be recorded" in said and "sealing key is missing" in said
    until(lambda: kid not in shown(issuer), "the server shows the revoked key")
    private(key, text)
    # The server has the sealing key, so the keyring says it now.
    until(lambda: any(k["kid"] == kid and k["state"] == "revoked" for k in world.keys()), "it is not recorded")
    until(lambda: len(shown(issuer)) == 1, "there is no key to take over")


def test_a_key_that_never_signed_is_removed_and_one_that_signs_is_not(world):
    world.configure()
    kid = active_after_first_use(world)
    waiting = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    assert "is removed" in world.done("keys", "remove", waiting)
    assert waiting not in world.done("keys", "list")
    world.fails(1, "it signs", "keys", "remove", kid)


def test_what_is_revoked_is_not_said_to_be_removed(world):
    world.configure()
    kid = active_after_first_use(world)
    world.done("keys", "revoke", kid)
    before = world.keys()
    for more in ([], ["--signed-nothing"]):
        said = f"key {kid} in ring default is revoked and stays so"
        assert said in world.done("keys", "remove", kid, *more)
        report = json.loads(world.done("keys", "remove", kid, *more, "--json"))
        assert report == {"ring": "default", "kid": kid, "state": "revoked", "changed": False}
    assert world.keys() == before
    # One that is marked, and that this command records.
    waiting = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    key = world.folder / "countersign/sealing.key"
    text = key.read_text()
    key.unlink()
    world.done("keys", "revoke", waiting)
    private(key, text)
    assert f"key {waiting} in ring default is revoked and stays so" in world.done("keys", "remove", waiting)
    world.fails(1, "there is no key", "keys", "remove", "nobody")


def test_without_the_sealing_key_a_name_that_the_keyring_does_not_have_is_told(world):
    world.configure()
    kid = active_after_first_use(world)
    (world.folder / "countersign/sealing.key").unlink()
    why = world.fails(1, 'key "mistyped" is marked as revoked, but no key may have that name', "keys", "revoke", "mistyped")
    assert f"it names {kid};" in why and "revoke the key that was meant" in why
    assert f"key {kid} is revoked" in world.done("keys", "revoke", kid)


def active_after_first_use(world):
    world.done("sign", "--claims", "{}")
    return active(world)
