"""What a configuration, a command or a request is told where it cannot be what was meant: what was found, and what to do."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e.program import CONFIG, client, private

RING = CONFIG.replace("ES256", "RS256").replace("[rings.default]\n", "[rings.default]\n{}\n")

#: Lines of the ring `default`, and what is said of the two numbers that clash.
TIMES = {
    "shorter than a documented cache": (
        'propagation = "10s"\nconsumers = ["aws-http-api", "envoy"]',
        "rings.default.propagation: 10s is shorter than 2h, for which aws-http-api goes on"),
    "what it would be": ('propagation = "10s"\nconsumers = ["aws-http-api"]', "leave it out (2h 5m then)"),
    "the slowest of them": ('propagation = "11m"\nconsumers = ["jitsi", "envoy"]', "11m is shorter than 6h, for which jitsi"),
    "who goes by `max-age`": ('propagation = "4m"\nconsumers = ["kubernetes"]', "4m is shorter than 5m, for which kubernetes goes on"),
    "too often": ('rotate_every = "1h"\npropagation = "2h"', "rotate_every 1h is shorter than a key takes to become known, 2h "),
    "kept too short": ('keep_retired = "1h"', "keep_retired 1h is shorter than the longest token 1day, the skew"),
    "longer than the ring's": ('longest_token = "30m"', "may live 1h, longer than 30m"),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_that_break_a_verifier_do_not_start_and_are_told_in_words(world, name):
    lines, says = TIMES[name]
    world.configure(RING.format(lines) + client("tests"))
    world.fails(78, says, "config", "check")


def test_a_max_age_that_is_longer_than_the_time_of_who_goes_by_it_counts(world):
    for max_age, consumer, code in [("12h", "jitsi", 78), ("7h", "jitsi", 0), ("12h", "envoy", 0)]:
        ring = RING.format(f'propagation = "7h"\nconsumers = ["{consumer}"]')
        world.configure(f'{ring}\n[jwks]\nmax_age = "{max_age}"\n')
        done = world.run("config", "check")
        assert done.returncode == code, (max_age, consumer, done)
        assert code == 0 or "7h is shorter than 12h, for which jitsi goes on" in done.stderr, done


@pytest.mark.parametrize("lines", [
    'propagation = "2h"\nconsumers = ["aws-http-api", "envoy"]', 'propagation = "10s"\nconsumers = ["aws-rest-api", "jose"]',
    'propagation = "10s"', 'propagation = "10s"\nconsumers = []', 'propagation = "5m"\nconsumers = ["kubernetes"]',
])
def test_times_that_no_verifier_is_known_to_break_by_start_without_a_word(world, lines):
    world.configure(RING.format(lines) + client("tests"))
    done = world.run("config", "check")
    assert (done.returncode, done.stderr) == (0, ""), done


def test_a_time_that_is_only_assumed_of_a_consumer_is_told(world):
    world.configure(RING.format('propagation = "10s"\nconsumers = ["aws-alb"]'))
    done = world.run("config", "check")
    [line] = done.stderr.splitlines()
    assert done.returncode == 0 and "10s is shorter than 1day, for which aws-alb is assumed" in json.loads(line)["message"]


#: Settings of a kind of upload, and what is said.
NUMBERS = {
    'max_bytes = "10MB"': "expected a whole number, without quotes and without a unit, like 10000000",
    "max_bytes = -1": "expected a whole number that is not below 0",
    "max_bytes = 1.5": "expected a whole number",
    'max_bytes = 1000\nrequire_sha256 = "yes"': "expected true or false, without quotes",
}


@pytest.mark.parametrize("lines", NUMBERS)
def test_a_number_with_a_unit_is_told_how_to_write_it(world, lines):
    world.configure(CONFIG + f'[uploads.photos]\nbucket = "b"\nregion = "eu-west-1"\nkey = "{{sub}}"\ncontent_types = ["image/png"]\n{lines}\n')
    world.fails(78, NUMBERS[lines], "config", "check")


UPLOAD = """
[uploads.photos]
bucket = "photos"
region = "eu-west-1"
key = "uploads/{sub}/{uuid}"
content_types = ["image/png"]
max_bytes = 1000
access_key_id = "id"
secret_access_key = "file:upload.secret"
"""


def test_an_audience_of_uploads_is_an_origin(full_world):
    def uploader(profiles, audience):
        more = f'profiles = {json.dumps(profiles)}\nuploads = ["photos"]\naudiences = ["{audience}"]\nclaims = {{ allow = ["sub"] }}'
        full_world.configure(CONFIG + UPLOAD + client("web", more=more))
        private(full_world.file.parent / "upload.secret", "secret")

    uploader(["upload"], "https://app.example.com/")
    full_world.fails(78, 'clients.web.audiences: "https://app.example.com/" is no origin', "config", "check")
    uploader(["upload", "jwt"], "https://app.example.com/")
    done = full_world.run("config", "check")
    assert done.returncode == 0 and 'write \\"https://app.example.com\\"' in done.stderr, done
    for good in ("https://app.example.com", "http://127.0.0.1:8000", "my-app"):
        uploader(["upload"], good)
        done = full_world.run("config", "check")
        assert done.returncode == 0 and "audience" not in done.stderr, done


def test_a_prepared_key_is_published_first(world):
    world.configure()
    world.done("keys", "init")
    kid = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.fails(1, f"is prepared, so no verifier can know it; publish it first with `countersign keys publish {kid}`", "keys", "activate", kid)


def pem():
    key = ec.generate_private_key(ec.SECP256R1())
    private_form = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public_form = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private_form.decode(), public_form.decode()


def test_what_is_imported_is_told_what_it_is(world):
    world.configure()
    secret, public = pem()
    private(world.folder / "key.pem", secret)
    private(world.folder / "public.pem", public)
    world.fails(2, "to read the variable KEY, write --env KEY", "keys", "import", "env:KEY")
    world.fails(2, "write key.pem, without what stands before it", "keys", "import", "file:key.pem")
    world.fails(2, "is --kms alias/mine", "keys", "import", "alias/mine")
    world.fails(1, 'grep -rl "PRIVATE KEY-" FOLDER', "keys", "import", "public.pem")
    world.done("keys", "import", "key.pem", "--kid", "first")
    done = world.run("keys", "import", "key.pem", "--kid", "second")
    assert done.returncode == 0 and 'the same key is there as \\"first\\" (ring default, active)' in done.stderr, done
    assert "the same key" not in world.run("keys", "import", "key.pem", "--kid", "first").stderr


def test_claims_in_the_quotes_of_a_shell_are_told_so(world):
    world.configure()
    world.done("keys", "init")
    for typed in ("{'sub':'a'}", "{sub:a}"):
        world.fails(2, "double quote", "sign", "--claims", typed)


def test_an_unknown_member_is_named_and_claims_go_into_data(world):
    world.configure()
    world.done("keys", "init")
    world.fails(2, 'unknown member "sub" in `upload`', "sign", "--profile", "upload", "--claims", "{}", "--upload", '{"sub":1}')


def test_a_look_that_failed_is_told_once(world):
    world.configure()
    world.done("keys", "init")
    kid = json.loads(world.done("keys", "prepare", "--json"))["kid"]
    world.done("keys", "publish", kid)
    done = world.run("keys", "rotate")
    assert done.returncode == 70 and done.stdout.startswith("nothing seen at "), done
    assert done.stderr.count("os error 111") == 1, done
