"""The sealing key is changed while two servers run and sign, and everything says under which one the keys are."""

import base64
import json
import os
import threading

import pytest
from e2e import wire
from e2e.program import CONFIG, SECRET, client, until

HEAD = CONFIG + '\n[store]\nrefresh = "100ms"\nmax_stale = "1s"\n'


def new_key(path):
    path.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    path.chmod(0o600)


def configuration(key="file:sealing.key", also=()):
    return HEAD + f"\n[sealing]\nkey = {json.dumps(key)}\nalso = {json.dumps(list(also))}\n" + client("tests")


def mint(issuer):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"a"}}')


class Load:
    """Mints at both servers until it is told to stop; every answer must be a token."""

    def __init__(self, addresses):
        self.addresses, self.minted, self.failures, self.stopped = addresses, 0, [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            for address in self.addresses:
                answer = mint(address)
                if answer.status == 200:
                    self.minted += 1
                else:
                    self.failures.append(answer)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        assert not self.failures, self.failures[:3]
        assert self.minted > 0


def listening(process):
    return f"http://{process.printed['listen']}"


def sealed_by(world):
    return {key["sealed_by"] for key in world.keys()}


def test_a_sealing_key_is_changed_in_four_steps_without_a_failed_request(world):
    port = world.configure(configuration())
    env = {"COUNTERSIGN_LIMITS__PER_ADDRESS": "off"}
    servers = [world.serve(env=env), world.serve("--listen", "127.0.0.1:0", env=env)]
    folder = world.file.parent
    (old,) = sealed_by(world)
    new_key(folder / "new.key")

    def restart(text):
        """One server after the other, as a deployment does."""
        world.configure(text, port)
        for index, listen in enumerate(([], ["--listen", "127.0.0.1:0"])):
            servers[index].terminate()
            assert servers[index].wait(timeout=120) == 0
            servers[index] = world.serve(*listen, env=env)

    restart(configuration(also=["file:new.key"]))
    assert sealed_by(world) == {old}
    restart(configuration("file:new.key", also=["file:sealing.key"]))
    world.done("keys", "prepare")
    assert len(sealed_by(world)) == 2, "what is new is under the new one"
    assert "under another one: 1 key; `countersign keys reseal` changes that" in world.done("keys", "list")

    load = Load([listening(server) for server in servers])
    before = load.minted
    until(lambda: load.minted > before + 5, "minting")
    said = world.done("keys", "reseal")
    assert "sealed 1 key again under sealing key" in said and f"before under {old}" in said
    (new,) = sealed_by(world)
    assert new != old
    before = load.minted
    until(lambda: load.minted > before + 20, "minting on")
    # What verifiers see is the same, so a server that reads what was sealed again has nothing to tell; one that could not would.
    assert "cannot be read again" not in world.log
    load.stop()
    again = json.loads(world.done("keys", "reseal", "--json"))
    assert again == {"sealing_key": new, "resealed": 0, "unchanged": 2, "kms": 0, "before": []}

    restart(configuration("file:new.key"))
    (folder / "sealing.key").unlink()
    assert mint(listening(servers[0])).status == 200
    report = json.loads(world.done("store", "check", "--json"))
    assert report["sealed_by"] == {new: 2} and report["keys_opened"] is True
    assert f"sealed by {new}: 2 keys" in world.done("store", "check")


def test_a_server_that_was_left_out_keeps_its_keys_and_says_so_until_it_can_read_them_again(world):
    port = world.configure(configuration())
    server = world.serve()
    issuer = listening(server)
    old_text = world.file.read_text()
    new_key(world.file.parent / "new.key")
    world.configure(configuration("file:new.key", also=["file:sealing.key"]), port)
    world.done("keys", "reseal")
    until(lambda: wire.get(issuer, "/readyz").status == 503, "not ready")
    assert b"could not be read" in wire.get(issuer, "/readyz").body
    assert mint(issuer).status == 200, "it goes on with what it has"
    said = [event for event in world.events() if "those last read stay in use" in json.dumps(event)]
    assert len(said) == 1 and "is authenticated with sealing key" in json.dumps(said[0])
    # The way back is the same in the other direction.
    world.file.write_text(old_text.replace("also = []", 'also = ["file:new.key"]'))
    world.done("keys", "reseal")
    until(lambda: wire.get(issuer, "/readyz").status == 200, "ready")
    assert mint(issuer).status == 200


@pytest.mark.parametrize("also", ["file:nobody.key", "env:NOBODY", "plain", "kms:"])
def test_a_sealing_key_that_is_not_there_is_named(world, also):
    world.configure(configuration(also=[also]))
    world.fails(78, "sealing.also", "keys", "list")


def test_without_the_old_key_nothing_is_sealed_again_and_nothing_written(world):
    world.configure(configuration())
    world.done("sign", "--claims", "{}")
    before = world.keys()
    new_key(world.file.parent / "new.key")
    world.configure(configuration("file:new.key"))
    world.fails(78, "is authenticated with sealing key", "keys", "reseal")
    world.configure(configuration())
    assert world.keys() == before
    world.fails(1, "which is not a KMS key", "keys", "reseal", "--new-data-key")


def test_a_build_without_kms_says_so(world):
    world.configure(configuration("kms:alias/x"))
    world.fails(78, "built without AWS KMS", "keys", "list")
    world.configure(CONFIG.replace("[rings.default]", '[rings.default]\nsigner = "kms"') + client("tests"))
    world.fails(78, "rings.default.signer: this program was built without AWS KMS", "keys", "list")
    world.configure()
    world.fails(2, "built without AWS KMS", "keys", "import", "--kms", "alias/x")
