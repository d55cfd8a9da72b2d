"""Keys in AWS KMS and a sealing key under it, in AWS as MiniStack plays it: what a server does with them, and without them."""

import base64
import json
import sqlite3
import subprocess

import boto3
import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from e2e import aws, wire
from e2e.program import SECRET, client, until
from e2e.test_reseal import Load, listening
from e2e.test_rotation import RINGS as RINGS_THAT_TURN
from e2e.test_rotation import configuration as rotating
from e2e.test_s3 import Container

HEAD = """issuer = "http://127.0.0.1:@PORT@"

[server]
listen = "127.0.0.1:@PORT@"

[store]
refresh = "100ms"
"""
#: A ring in KMS, and one that is not, which the profile `jwt` takes in its place.
RINGS = """
[profiles.jwt]
ring = "RING"

[rings.kms]
algorithm = "ES256"
signer = "kms"

[rings.local]
algorithm = "ES256"
"""
ENV = {"COUNTERSIGN_LIMITS__PER_ADDRESS": "off"}


def configuration(ring="kms", sealing="", more=""):
    return HEAD + sealing + RINGS.replace("RING", ring) + more + client("tests")


def sign(issuer):
    headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
    return wire.ask(issuer, "POST", "/sign", headers, b'{"data":{"sub":"alice"}}')


def verified(issuer):
    """The header of a new token that PyJWT verifies with the JWKS as it is served."""
    answer = sign(issuer)
    assert answer.status == 200, answer
    token = answer.json()["access_token"]
    header = jwt.get_unverified_header(token)
    keys = {key["kid"]: jwt.PyJWK(key) for key in httpx.get(f"{issuer}/.well-known/jwks.json").json()["keys"]}
    claims = jwt.decode(token, keys[header["kid"]], algorithms=[header["alg"]], audience="api://default", issuer=issuer)
    assert claims["sub"] == "alice"
    return header


def new_key(ministack, **more):
    """The ARN of a key that is made now."""
    return ministack.client("kms").create_key(**more)["KeyMetadata"]["Arn"]


def kms_public_key(ministack, arn):
    return ministack.client("kms").get_public_key(KeyId=arn)["PublicKey"]


@pytest.fixture
def kms(full_world, relay):
    """The program with AWS behind the relay."""
    full_world.environment |= aws.variables(relay.url) | ENV
    return full_world


def test_a_ring_in_kms_signs_tokens_that_verify_and_its_certificate_is_of_the_kms_key(kms, ministack):
    kms.configure(configuration())
    issuer = listening(kms.serve())
    kid = verified(issuer)["kid"]
    (key,) = [key for key in kms.keys() if key["ring"] == "kms"]
    arn = key["kms"]
    assert arn.startswith("arn:aws:kms:") and key["sealed_by"] is None and key["kid"] == kid
    assert arn in kms.done("keys", "list")
    metadata = ministack.client("kms").describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["KeySpec"], metadata["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    tags = {tag["TagKey"]: tag["TagValue"] for tag in ministack.client("kms").list_resource_tags(KeyId=arn)["Tags"]}
    assert tags == {"countersign-issuer": issuer, "countersign-ring": "kms"}

    pem = httpx.get(f"{issuer}/.well-known/x509.json").json()[kid]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    spki = kms_public_key(ministack, arn)
    assert certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
    certificate.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    (kms.folder / "cert.pem").write_text(pem)
    done = subprocess.run(
        ["openssl", "verify", "-check_ss_sig", "-CAfile", "cert.pem", "cert.pem"],
        cwd=kms.folder, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # The same without a server, and nothing private is exported.
    assert json.loads(kms.done("sign", "--claims", "{}", "--json"))
    (shown,) = [key for key in json.loads(kms.done("keys", "export", "--public"))["keys"] if key["kid"] == kid]
    assert "d" not in shown
    assert any(event.get("decision") == "kms_key_made" and event.get("kms") == arn for event in flat(kms))


def flat(world):
    """The records of the log with their fields at the top."""
    return [event | event.get("fields", {}) for event in world.events()]


def test_a_ring_in_kms_is_rotated_by_hand_and_by_itself(kms, ministack):
    kms.configure(configuration())
    issuer = listening(kms.serve())
    first = verified(issuer)["kid"]
    next_kid = json.loads(kms.done("keys", "prepare", "--ring", "kms", "--json"))["kid"]
    kms.done("keys", "activate", next_kid, "--force")
    until(lambda: verified(issuer)["kid"] == next_kid, "the next key signs")
    said = kms.done("keys", "revoke", next_kid)
    arn = next(key["kms"] for key in kms.keys() if key["kid"] == next_kid)
    assert f"aws kms disable-key --key-id {arn}" in said
    # Between the mark and its successor no key signs.
    until(lambda: sign(issuer).json().get("kid") not in (None, first, next_kid), "a third key signs")
    assert verified(issuer)
    states = {key["kid"]: key["state"] for key in kms.keys() if key["ring"] == "kms"}
    assert sorted(states.values()) == ["active", "retired", "revoked"]
    assert ministack.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["Enabled"] is True


def test_the_rotation_makes_the_next_key_in_kms(kms, ministack):
    kms.configure(rotating(RINGS_THAT_TURN + 'signer = "kms"\n'))
    kms.done("sign", "--claims", "{}", "--lifetime", "3s")

    def made():
        # Nothing is served at the issuer's address, which is what this ends with.
        report = json.loads(kms.run("keys", "rotate", "--once", "--json").stdout)
        assert report["error"] == "public_keys_unreachable", report
        return [step["kid"] for step in report["turn"]["done"] if step["step"] == "make"]

    (kid,) = until(made, "the next key is due")
    keys = {key["kid"]: key for key in kms.keys()}
    assert len(keys) == 2 and len({key["kms"] for key in keys.values()}) == 2
    assert ministack.client("kms").describe_key(KeyId=keys[kid]["kms"])["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_key_of_kms_is_imported_by_its_arn(kms, ministack):
    port = kms.configure(configuration(more='\n[rings.reports]\nalgorithm = "PS256"\n'))
    arn = new_key(ministack, KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
    kms.fails(78, "does not sign with ES256", "keys", "import", "--kms", arn, "--ring", "local", "--algorithm", "ES256")
    kms.fails(78, "NotFoundException", "keys", "import", "--kms", "alias/nobody", "--ring", "local")
    kms.fails(78, "not for SIGN_VERIFY", "keys", "import", "--kms", new_key(ministack, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"),
              "--ring", "local", "--algorithm", "RS256")
    said = kms.done("keys", "import", "--kms", arn, "--ring", "local", "--algorithm", "PS256", "--kid", "k1", "--activate")
    assert "imported: key k1 in ring local, active" in said
    assert "already there: key k1" in kms.done("keys", "import", "--kms", arn, "--ring", "local", "--algorithm", "PS256", "--kid", "k1")
    kms.configure(kms.file.read_text().replace('ring = "kms"', 'ring = "local"'), port)
    header = verified(listening(kms.serve()))
    assert (header["alg"], header["kid"]) == ("PS256", "k1")


def test_without_kms_a_ring_of_it_answers_503_and_a_local_one_goes_on(kms, relay, ministack):
    port = kms.configure(configuration())
    in_kms = listening(kms.serve())
    kms.configure(configuration("local"), port)
    local = listening(kms.serve("--listen", "127.0.0.1:0"))
    assert verified(in_kms) and sign(local).status == 200
    relay.shut()
    answer = sign(in_kms)
    assert (answer.status, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert sign(local).status == 200
    assert any("KMS is not available" in json.dumps(event) for event in kms.events())
    # Starting needs no KMS either: the public halves are in the keyring.
    kms.configure(configuration("kms"), port)
    assert sign(listening(kms.serve("--listen", "127.0.0.1:0"))).status == 503
    relay.unshut()
    until(lambda: sign(in_kms).status == 200, "KMS is back")
    (key,) = [key for key in kms.keys() if key["ring"] == "kms"]
    ministack.client("kms").disable_key(KeyId=key["kms"])
    answer = sign(in_kms)
    assert (answer.status, answer.json()["error"]) == (500, "server_error")
    assert "DisabledException" not in answer.body.decode()
    assert any("DisabledException" in json.dumps(event) and key["kms"] in json.dumps(event) for event in kms.events())


def test_the_sealing_key_is_under_kms_and_a_running_server_needs_it_no_more(kms, relay, ministack):
    arn = new_key(ministack)
    sealing = f'\n[sealing]\nkey = "kms:{arn}"\n'
    kms.configure(configuration("local", sealing))
    issuer = listening(kms.serve())
    assert not (kms.file.parent / "sealing.key").exists()
    sealed = {key["sealed_by"] for key in kms.keys()} - {None}
    assert len(sealed) == 1
    report = json.loads(kms.done("store", "check", "--json"))
    assert (report["data_keys"], report["kms"], report["others"], report["keys_opened"]) == (1, 1, 0, True)
    # A copy has everything that it takes to open it, in one file.
    kms.done("store", "copy", "sqlite:countersign/countersign.db", "sqlite:copy.db")
    of_the_copy = json.loads(kms.done("store", "check", "sqlite:copy.db", "--json"))
    [remark] = of_the_copy.pop("remarks")
    assert of_the_copy == report and "no write-ahead log" in remark
    relay.shut()
    assert sign(issuer).status == 200
    kms.fails(70, "KMS is not available", "sign", "--claims", "{}")
    # What is read has to be proven authentic, which takes the sealing key; to revoke takes none (test_revoke.py).
    kms.fails(70, "KMS is not available", "keys", "list")
    relay.unshut()
    ministack.client("kms").disable_key(KeyId=arn)
    kms.fails(78, "DisabledException", "sign", "--claims", "{}")
    assert sign(issuer).status == 200
    ministack.client("kms").enable_key(KeyId=arn)
    other = new_key(ministack)
    kms.configure(configuration("local", f'\n[sealing]\nkey = "kms:{other}"\n'))
    # As KMS documents it; MiniStack does not look at the key that a request names.
    relay.spoil = lambda method, path: (400, b'{"__type":"IncorrectKeyException","message":"another key"}')
    kms.fails(78, "under another KMS key", "sign", "--claims", "{}")


def test_one_server_asks_for_the_credentials_of_kms_once_for_all_that_it_uses_it_for(kms, relay, ministack):
    arn = new_key(ministack)
    kms.configure(configuration("kms", f'\n[sealing]\nkey = "kms:{arn}"\n', "\n[rings.second]\nalgorithm = \"ES256\"\nsigner = \"kms\"\n"))
    with Container(seconds=3600) as container:
        issuer = listening(kms.serve(env=container.environment))
        for _ in range(3):
            assert verified(issuer)
        targets = {headers.get("x-amz-target") for _, _, headers in lower(relay.asked)}
        assert {"TrentService.CreateKey", "TrentService.GenerateDataKey", "TrentService.Sign"} <= targets, targets
        assert len(container.handed) == 1


def test_a_process_in_another_region_signs_with_the_replica_of_the_same_key(kms, relay, ministack):
    kms.configure(configuration().replace('signer = "kms"', 'signer = "kms"\nkms_replicas = ["eu-west-1", "ap-south-1"]'))
    issuer = listening(kms.serve())
    kid = verified(issuer)["kid"]
    arn = next(key["kms"] for key in kms.keys() if key["ring"] == "kms")
    assert arn.startswith("arn:aws:kms:us-east-1:") and ":key/mrk-" in arn
    regions = {}
    for region in ("us-east-1", "eu-west-1", "ap-south-1"):
        client = boto3.client(
            "kms", endpoint_url=ministack.url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test"
        )
        there = arn.replace("us-east-1", region)
        tags = {tag["TagKey"]: tag["TagValue"] for tag in client.list_resource_tags(KeyId=there)["Tags"]}
        regions[region] = client.get_public_key(KeyId=there)["PublicKey"], tags["countersign-ring"], set(tags)
    assert len({(public, ring, frozenset(tags)) for public, ring, tags in regions.values()}) == 1
    assert regions["eu-west-1"][1:] == ("kms", {"countersign-issuer", "countersign-ring"})
    for region in ("eu-west-1", "us-east-1", "ap-south-1"):
        relay.asked.clear()
        token = kms.done("sign", "--claims", '{"sub":"alice"}', "--audience", "api://default", env={"AWS_REGION": region}).strip()
        asked = [headers["authorization"] for _, _, headers in lower(relay.asked)]
        assert asked and all(f"/{region}/kms/" in one for one in asked), asked
        assert jwt.get_unverified_header(token)["kid"] == kid
        kms.done("verify", "--issuer", issuer, token)
    # Where there is no replica the key is not found, which is said with its name there.
    kms.fails(70, ":kms:sa-east-1:000000000000:key/mrk-", "sign", "--claims", "{}", env={"AWS_REGION": "sa-east-1"})
    # The next key has its replicas before anybody hears of it.
    kms.done("keys", "prepare", "--ring", "kms")
    following = {key["kms"] for key in kms.keys() if key["ring"] == "kms"} - {arn}
    assert len(following) == 1
    europe = boto3.client("kms", endpoint_url=ministack.url, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    assert europe.get_public_key(KeyId=following.pop().replace("us-east-1", "eu-west-1"))["PublicKey"]


def test_a_key_that_cannot_be_replicated_is_given_up_and_nobody_hears_of_it(kms, ministack):
    # A key of KMS has no replica in its own region.
    kms.configure(configuration().replace('signer = "kms"', 'signer = "kms"\nkms_replicas = ["eu-west-1", "us-east-1"]'))
    europe = boto3.client("kms", endpoint_url=ministack.url, region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    before = {key["KeyArn"] for key in ministack.client("kms").list_keys()["Keys"]}
    kms.fails(78, "AlreadyExistsException", "sign", "--claims", "{}")
    made = {key["KeyArn"] for key in ministack.client("kms").list_keys()["Keys"]} - before
    assert made
    for arn in made:
        assert ministack.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"].startswith("Pending")
        assert europe.describe_key(KeyId=arn.replace("us-east-1", "eu-west-1"))["KeyMetadata"]["KeyState"] == "PendingDeletion"
    kms.configure(configuration())
    assert not [key for key in kms.keys() if key["kms"] in made]


@pytest.mark.parametrize("setting, says", [
    ('kms_replicas = ["eu-west-1"]', "only keys in KMS have replicas"),
    ('signer = "kms"\nkms_replicas = ["Europe"]', "not a region"),
    ('signer = "kms"\nkms_replicas = ["eu-west-1", "eu-west-1"]', "twice"),
])
def test_replicas_that_cannot_be_are_refused_at_start(full_world, setting, says):
    full_world.configure(configuration("local").replace('[rings.local]\n', f"[rings.local]\n{setting}\n"))
    assert "rings.local.kms_replicas" in full_world.fails(78, says, "config", "check")


def lower(requests):
    return [(method, path, {name.lower(): value for name, value in headers.items()}) for method, path, headers in requests]


def test_from_a_file_to_kms_to_a_new_data_key_and_back_under_load(kms, ministack):
    alias = "alias/seal-" + base64.b32encode(str(kms.folder).encode()[-20:]).decode().strip("=")
    arn = new_key(ministack)
    ministack.client("kms").create_alias(AliasName=alias, TargetKeyId=arn)
    file = f'\n[sealing]\nkey = "file:sealing.key"\nalso = ["kms:{alias}"]\n'
    in_kms = f'\n[sealing]\nkey = "kms:{alias}"\nalso = ["file:sealing.key"]\n'
    port = kms.configure(configuration("local", file))
    one = listening(kms.serve())
    kms.configure(configuration("local", in_kms), port)
    two = listening(kms.serve("--listen", "127.0.0.1:0"))
    load = Load([one, two])
    try:
        seen = [{key["sealed_by"] for key in kms.keys()} - {None}]
        for arguments in ([], ["--new-data-key"]):
            done = json.loads(kms.done("keys", "reseal", *arguments, "--json"))
            assert done["resealed"] == 1 and done["kms"] == 1
            seen.append({key["sealed_by"] for key in kms.keys()} - {None})
        kms.configure(configuration("local", file), port)
        assert json.loads(kms.done("keys", "reseal", "--json"))["resealed"] == 1
        assert {key["sealed_by"] for key in kms.keys()} - {None} == seen[0]
        assert len({tuple(ids) for ids in seen}) == 3
        before = load.minted
        until(lambda: load.minted > before + 20, "minting on")
    finally:
        load.stop()
    assert "cannot be read again" not in kms.log
    text = (kms.folder / "countersign/sealing.key").read_text().strip()
    assert text not in kms.log


def test_servers_without_a_region_or_credentials_say_what_is_missing(full_world):
    full_world.environment |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    full_world.configure(configuration())
    full_world.fails(78, "no AWS region is set", "sign", "--claims", "{}")
    env = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    full_world.fails(78, "no AWS credentials were found", "sign", "--claims", "{}", env=env)
    text = configuration().replace('algorithm = "ES256"\nsigner', 'algorithm = "HS256"\nsigner')
    full_world.configure(text)
    full_world.fails(78, "AWS KMS has no keys for HS256", "config", "check")


def test_no_log_level_shows_a_data_key(kms, ministack):
    kms.environment |= {"COUNTERSIGN_LOG__LEVEL": "trace"}
    arn = new_key(ministack)
    kms.configure(configuration("local", f'\n[sealing]\nkey = "kms:{arn}"\n'))
    kms.serve()
    kms.serve("--listen", "127.0.0.1:0")  # the second one opens what the first one made
    database = sqlite3.connect(f"{(kms.folder / 'countersign/countersign.db').as_uri()}?mode=ro", uri=True)
    ((document,),) = database.execute("SELECT bytes FROM documents WHERE key = 'keyring'").fetchall()
    database.close()
    text = json.loads(document)["data_key"]["ciphertext"]
    ciphertext = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    plain = ministack.client("kms").decrypt(CiphertextBlob=ciphertext, EncryptionContext={"purpose": "countersign-sealing"})["Plaintext"]
    log = (kms.folder / "log").read_bytes()
    assert b"aws_smithy" not in log, "what the library says is not logged at all"
    shown = [plain, base64.b64encode(plain), base64.urlsafe_b64encode(plain).rstrip(b"="), plain.hex().encode()]
    shown += [str(list(plain)).encode(), str(plain)[2:-1].encode()]
    assert not [form for form in shown if form in log]
