"""A keyring of a format that was not authenticated: refused, shown, and taken over as it was shown."""

import json
import sqlite3

import pytest
from e2e import wire


def stored(world, change):
    """The keyring's document, changed as somebody does who can write to the store."""
    [file] = world.folder.rglob("*.db")
    database = sqlite3.connect(file)
    [[text]] = database.execute("SELECT bytes FROM documents WHERE key = 'keyring'").fetchall()
    document = change(json.loads(text))
    database.execute("UPDATE documents SET bytes = ? WHERE key = 'keyring'", [json.dumps(document).encode()])
    database.commit()
    database.close()


def older(format):
    """The document as an older version wrote it."""

    def change(document):
        rings = document["content"]["rings"]
        for ring in rings.values():
            for key in ring["keys"]:
                for name in ("keep_after", "needed_until", "signing_since"):
                    key.pop(name, None)
                if format < 3:
                    key.pop("certificate", None)
        return {"format": format, "rings": rings}

    return change


@pytest.mark.parametrize("format", [1, 2, 3, 4])
def test_a_keyring_of_an_older_format_is_refused_until_it_is_adopted_as_it_was_shown(world, format):
    world.configure()
    token = world.done("sign", "--claims", "{}").strip()
    kid = wire.header(token)["kid"]
    stored(world, older(format))
    for command in (["sign", "--claims", "{}"], ["keys", "list"], ["keys", "prepare"]):
        world.fails(78, "countersign keys adopt", *command)
    world.fails(1, "countersign keys adopt", "store", "check")

    shown = json.loads(world.done("keys", "adopt", "--json"))
    assert [(key["kid"], key["state"], key["ring"]) for key in shown["keys"]] == [(kid, "active", "default")]
    assert not shown["adopted"] and shown["format"] == format
    text = world.done("keys", "adopt")
    assert kid in text and f"--digest {shown['digest']}" in text

    # What was shown is what is taken: a change in between is noticed.
    stored(world, lambda document: document | {"rings": document["rings"] | {"other": {"keys": []}}})
    world.fails(1, "is not the one with digest", "keys", "adopt", "--digest", shown["digest"])
    digest = json.loads(world.done("keys", "adopt", "--json"))["digest"]
    assert json.loads(world.done("keys", "adopt", "--digest", digest, "--json"))["adopted"]
    assert "nothing to adopt" in world.done("keys", "adopt", "--digest", digest)

    issuer = world.serve().printed["issuer"]
    world.done("verify", "--issuer", issuer, token)
    assert json.loads(world.done("keys", "export", "--public", "--format", "x509")).keys() == {kid}
    assert json.loads(wire.get(issuer, "/.well-known/jwks.json").body)["countersign_sequence"] >= 1


def test_a_revoked_key_of_an_older_format_stays_revoked(world):
    world.configure()
    kid = wire.header(world.done("sign", "--claims", "{}").strip())["kid"]
    world.done("keys", "prepare")

    def change(document):
        document = older(4)(document)
        first, second = document["rings"]["default"]["keys"]
        first |= {"state": "revoked", "revoked_at": first["created_at"]}
        second |= {"state": "active", "activated_at": second["created_at"]}
        return document

    stored(world, change)
    shown = json.loads(world.done("keys", "adopt", "--json"))
    assert [key["state"] for key in shown["keys"]] == ["revoked", "active"]
    world.done("keys", "adopt", "--digest", shown["digest"])
    world.fails(1, "a revoked key never comes back", "keys", "activate", kid)
    assert kid not in world.done("keys", "export", "--public")
