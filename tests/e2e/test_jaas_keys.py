"""`countersign keys generate --jaas`: from an empty folder to a token that PyJWT and jose verify with the PEM that was printed."""

import json
import re
import shlex
import stat
import subprocess
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from e2e.program import CONFIG

TESTS = Path(__file__).parents[1]
APP = "vpaas-magic-cookie-0123456789abcdef"
PROFILE = f'\n[profiles.jaas]\napp_id = "{APP}"\n'
SIGN = ("sign", "--profile", "jaas", "--claims", '{"room":"standup","user":{"name":"Zoë"},"moderator":true}')
#: What 8x8 does with a token: the key that was uploaded under its `kid`, and the constants.
JOSE = """
import { importSPKI, jwtVerify } from "jose"
const [pem, token] = process.argv.slice(1)
const { payload, protectedHeader } = await jwtVerify(token, await importSPKI(pem, "RS256"),
  { audience: "jitsi", issuer: "chat", subject: "%s", algorithms: ["RS256"], typ: "JWT" })
console.log(JSON.stringify({ payload, protectedHeader }))
""" % APP


def generate(world, *arguments):
    printed = world.done("keys", "generate", "--jaas", *arguments)
    pem = re.match(r"-----BEGIN PUBLIC KEY-----\n.*?-----END PUBLIC KEY-----\n", printed, re.S)
    assert pem, printed
    return pem[0], printed[pem.end():]


def test_the_printed_steps_lead_to_a_token_that_the_uploaded_key_verifies(world):
    world.configure(CONFIG + PROFILE)
    pem, steps = generate(world)
    file = world.folder / "jaas-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_pem_public_key(pem.encode()).key_size == 4096, "as in 8x8's own instructions"
    assert "https://jaas.8x8.vc" in steps and "Delete jaas-key.pem" in steps
    [line] = [line.strip() for line in steps.splitlines() if line.strip().startswith("countersign keys import")]
    command = shlex.split(line.replace("KEYID", "4f4910"))
    world.done(*command[1:])
    file.unlink()
    token = world.done(*SIGN).strip()
    claims = jwt.decode(token, pem, algorithms=["RS256"], audience="jitsi", issuer="chat", subject=APP)
    node = ["node", "--input-type=module", "-e", JOSE, "--", pem, token]
    done = subprocess.run(node, cwd=TESTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    verified = json.loads(done.stdout)
    assert verified["payload"] == claims
    assert verified["protectedHeader"] == {"alg": "RS256", "typ": "JWT", "kid": f"{APP}/4f4910"}
    # The next key signs once it is imported, and the old one is 8x8's to forget.
    after, steps = generate(world, "--out", "next.pem", "--rsa-bits", "2048")
    assert "delete the old one in the console" in steps
    world.done("keys", "import", "next.pem", "--ring", "jaas", "--kid", f"{APP}/5a5a5a", "--activate")
    token = world.done(*SIGN).strip()
    assert jwt.get_unverified_header(token)["kid"] == f"{APP}/5a5a5a"
    jwt.decode(token, after, algorithms=["RS256"], audience="jitsi")
    revoked = world.done("keys", "revoke", f"{APP}/5a5a5a")
    assert "JaaS console" in revoked, revoked


def test_no_key_is_written_over_another_and_nothing_secret_is_printed(world):
    printed = json.loads(world.done("keys", "generate", "--jaas", "--json", "--rsa-bits", "2048"))
    assert set(printed) == {"public_key", "private_key_file", "import"}
    file = world.folder / printed["private_key_file"]
    before = file.read_bytes()
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----\n") and "PRIVATE" not in printed["public_key"]
    world.fails(1, "is there already", "keys", "generate", "--jaas")
    assert file.read_bytes() == before
    # Without a configuration the AppID is not known, and neither store nor configuration is made.
    assert "APPID/KEYID" in printed["import"] and not world.file.exists()
    assert world.run("keys", "generate").returncode == 2
