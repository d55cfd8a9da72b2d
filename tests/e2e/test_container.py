"""The container: its tree of files is made by the script that the Dockerfile runs, and the program runs in it.

There is no Docker daemon where these tests run, so no image is built. The tree is entered with `unshare` and `chroot`, as the
user and with what is writable that the Dockerfile and the compose file say. The Dockerfile is read by hadolint and by rules of
our own, the compose file by the latter alone.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import httpx
import pytest
import yaml
from e2e import wire
from e2e.program import SECRET, client, free_port, private, until

#: Mounts and chroot are root's.
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
CONTAINER = Path(__file__).parents[2] / "deploy" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
#: A root that nobody can write to, but for /data, and /dev/null, which every container has; and in it the user without any right.
ENTER = """mount --bind "$1" "$1"
mkdir -p "$1/dev"
mount -t tmpfs -o mode=0755 tmpfs "$1/dev"
touch "$1/dev/null"
mount --bind /dev/null "$1/dev/null"
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs "$1/data"
mount -o remount,bind,ro "$1"
exec setpriv --no-new-privs --bounding-set=-all,+setuid,+setgid,+sys_chroot \
  chroot --userspec=65532:65532 --groups= "$@"
"""


def instructions(text):
    """The instructions of a Dockerfile in order, each with its text; lines that go on are one."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    return [line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def last_stage(text):
    """The instructions of the image itself."""
    found = instructions(text)
    return found[max(number for number, (name, _) in enumerate(found) if name == "FROM") :]


def one(name):
    (value,) = [value for found, value in last_stage(DOCKERFILE) if found == name]
    return value


def variables():
    return dict(re.findall(r"(\w+)=(\S+)", one("ENV")))


def faults(text):
    """What is wrong with a Dockerfile, by the rules that matter here."""
    found, stage = instructions(text), last_stage(text)
    names = [name for name, _ in stage]
    user = next((value for name, value in stage if name == "USER"), "0")
    health = next((value for name, value in stage if name == "HEALTHCHECK"), "")
    complaints = {
        "a base without a version": any(
            name == "FROM" and not re.match(r"scratch\b|\S+:\S+", value) for name, value in found
        ),
        "a base that is `latest`": any(name == "FROM" and ":latest" in value for name, value in found),
        "the image runs as root": not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user),
        "no health check": "CMD" not in health or "/readyz" not in health,
        "something is downloaded without a check": any(name == "ADD" or re.search(r"curl|wget .*http", value) for name, value in found if name in ("ADD", "RUN")),
        "a secret in the image": any(re.search(r"(?i)(password|secret|token)\s*=", value) for name, value in found if name in ("ENV", "ARG")),
        "a command in a shell": any(not value.startswith("[") for name, value in stage if name in ("ENTRYPOINT", "CMD")),
        "a build in the image": "RUN" in names,
    }
    return {complaint for complaint, wrong in complaints.items() if wrong}


def test_the_dockerfile_has_none_of_the_faults_and_the_check_finds_each():
    assert faults(DOCKERFILE) == set()
    for old, new, fault in [
        ("FROM rust:${RUST}-slim-bookworm", "FROM rust", "a base without a version"),
        ("FROM rust:${RUST}-slim-bookworm", "FROM rust:latest", "a base that is `latest`"),
        ("USER 65532:65532", "USER root", "the image runs as root"),
        ("USER 65532:65532\n", "", "the image runs as root"),
        ("/readyz", "/", "no health check"),
        ("COPY . .", "ADD https://example.com/x /x", "something is downloaded without a check"),
        ("ARG FEATURES", "ARG PASSWORD=x\nARG FEATURES", "a secret in the image"),
        ('CMD ["serve"]', "CMD serve", "a command in a shell"),
        ("FROM scratch\n", "FROM scratch\nRUN true\n", "a build in the image"),
    ]:
        assert old in DOCKERFILE and fault in faults(DOCKERFILE.replace(old, new)), fault


def test_the_image_is_built_where_it_is_asked_for():
    """COUNTERSIGN_DOCKER_BUILD=1: with a daemon, a registry, and a quarter of an hour. Otherwise a run says at its end that it was not."""
    if os.environ.get("COUNTERSIGN_DOCKER_BUILD") != "1":
        warnings.warn("NOT TESTED: docker build and docker compose up, which need a daemon; COUNTERSIGN_DOCKER_BUILD=1 has the former", stacklevel=1)
        return
    build = ["docker", "build", "--quiet", "-f", CONTAINER / "Dockerfile", "-t", "countersign-tested", CONTAINER.parents[1]]
    subprocess.run(build, check=True, timeout=3600)
    shown = subprocess.run(["docker", "run", "--rm", "--read-only", "countersign-tested", "--version"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and shown.stdout.startswith("countersign "), shown


def test_hadolint_has_nothing_to_say(tmp_path):
    hadolint = Path(sys.executable).with_name("hadolint")
    assert hadolint.exists(), f"{hadolint} is not there; scripts/test installs it"
    lint = lambda file: subprocess.run([hadolint, "--no-color", file], capture_output=True, text=True, timeout=60)  # noqa: E731
    done = lint(CONTAINER / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, ""), done
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.replace("FROM rust:${RUST}-slim-bookworm", "FROM rust:latest"))
    assert "DL3007" in lint(bad).stdout


@pytest.fixture(scope="session")
def rootfs(full_binary, tmp_path_factory):
    """The tree of the image, with the program that has everything in it."""
    folder = tmp_path_factory.mktemp("container") / "rootfs"
    made = subprocess.run([*AS_ROOT, CONTAINER / "rootfs", full_binary, folder], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0 and re.search(r"^\d+ bytes in the image$", made.stdout, re.MULTILINE), made
    return folder


def enter(rootfs, *command, environment=None, **rest):
    """Starts a command in the container, in a mount namespace of its own."""
    # What enters needs PATH, and what is entered gets the variables of the image.
    given = [f"{name}={value}" for name, value in ({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | (environment or {})).items()]
    inside = ["unshare", "--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", ENTER, "enter", str(rootfs), *command]
    return subprocess.Popen([*AS_ROOT, "env", "-i", *given, *inside], stdin=subprocess.DEVNULL, **rest)


def asked(rootfs, *command, environment=None):
    process = enter(rootfs, *command, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_the_tree_has_the_program_and_what_it_needs_and_nothing_that_is_set_user_id(rootfs):
    files = {str(path.relative_to(rootfs)) for path in rootfs.rglob("*") if path.is_file()}
    libraries = {name for name in files if "/lib" in f"/{name}" and ".so" in name}
    assert files - libraries == {
        "bin/busybox", "usr/bin/countersign", "etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt",
    }
    assert any("libc.so.6" in name for name in libraries) and len(libraries) < 8, libraries
    assert not [path for path in rootfs.rglob("*") if path.lstat().st_mode & 0o6000]
    code, said = asked(rootfs, "/usr/bin/countersign", "--version")
    assert code == 0 and said.startswith("countersign "), said


def test_nothing_but_data_can_be_written_and_nobody_becomes_root(rootfs):
    def tried(*command):
        return asked(rootfs, "/bin/busybox", *command)

    assert tried("id")[1].split()[:2] == ["uid=65532(countersign)", "gid=65532(countersign)"]
    for place in ("/", "/etc", "/usr/bin", "/tmp", "/bin"):
        code, said = tried("touch", f"{place}/x")
        assert code != 0 and ("Read-only file system" in said or "Permission denied" in said), (place, said)
    assert tried("touch", "/data/x") == (0, "")


def health_command():
    """The health check as an array, as Docker reads it."""
    return json.loads(one("HEALTHCHECK").split("CMD", 1)[1])


def test_the_program_serves_and_the_health_check_tells_when_it_is_ready(rootfs, tmp_path):
    port = free_port()
    # The image has port 8080; here others run beside this test.
    health = [part.replace("8080", str(port)) for part in health_command()]
    assert asked(rootfs, *health)[0] != 0, "nothing runs yet"
    environment = variables() | {
        "COUNTERSIGN_SERVER__LISTEN": f"127.0.0.1:{port}", "COUNTERSIGN_ISSUER": f"http://127.0.0.1:{port}",
        "COUNTERSIGN_STORE__URL": "sqlite:/data/countersign.db", "COUNTERSIGN_STORE__FIRST_KEYS": "create",
        "COUNTERSIGN_SEALING__KEY": "file:/data/sealing.key",
    }
    config = rootfs / "etc/countersign/countersign.toml"
    config.write_text(f'issuer = "http://127.0.0.1:{port}"\n[rings.default]\nalgorithm = "ES256"\n' + client("tests"))
    with open(tmp_path / "log", "wb") as log:
        server = enter(rootfs, *json.loads(one("ENTRYPOINT")), *json.loads(one("CMD")), environment=environment, stdout=log, stderr=log)
    try:
        until(lambda: asked(rootfs, *health)[0] == 0 or server.poll() is not None, "it is healthy")
        assert server.poll() is None, (tmp_path / "log").read_text()
        headers = {"Authorization": wire.basic("tests", SECRET), "Content-Type": "application/json"}
        assert wire.ask(f"http://127.0.0.1:{port}", "POST", "/sign", headers, b'{"data":{"sub":"alice"}}').status == 200
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert re.search(r"^Uid:\s+65532\s+65532\s+65532\s+65532$", status, re.MULTILINE), status
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE) and re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE), status
        server.terminate()
        assert server.wait(timeout=60) == 0, "it drains and ends"
    finally:
        config.unlink()
        if server.poll() is None:
            server.kill()
            server.wait()


def test_variables_alone_are_a_configuration_with_the_lines_of_the_page(rootfs):
    page = (CONTAINER.parents[1] / "docs" / "packages.md").read_text(encoding="utf-8")
    [block] = re.findall(r"test_container.py runs this -->\n```text\n(.*?)```", page, re.DOTALL)
    said = dict(line.split("=", 1) for line in block.splitlines())
    secrets = {"DATABASE_URL": "sqlite:/data/countersign.db", "SEALING_KEY": base64.b64encode(os.urandom(32)).decode()}

    def made(environment):
        code, output = asked(rootfs, *json.loads(one("ENTRYPOINT")), "keys", "init", environment=environment)
        return code, output.splitlines()[-1]

    code, output = made(variables() | said | secrets)
    assert code == 0 and output.startswith("made key "), output
    # A mount that is forgotten is an error, and nothing is made, whatever the other variables say.
    named = {name: value for name, value in said.items() if name != "COUNTERSIGN_CONFIG"}
    code, output = made(variables() | named | secrets)
    assert code == 78 and "named by COUNTERSIGN_CONFIG, and nothing was made" in output, output


# Compose.


def test_only_the_issuer_is_published_and_only_on_loopback():
    services = COMPOSE["services"]
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert published == {"issuer": ["127.0.0.1:8080:8080"], "postgres": []}
    assert COMPOSE["networks"]["store"]["internal"] is True and services["postgres"]["networks"] == ["store"]
    assert not any(service.get("privileged") or service.get("network_mode") or service.get("pid") for service in services.values())
    issuer = services["issuer"]
    assert issuer["read_only"] is True and issuer["cap_drop"] == ["ALL"] and issuer["user"] == one("USER")
    assert issuer["security_opt"] == ["no-new-privileges:true"]
    # Nothing secret stands in the file itself.
    for service in services.values():
        assert not [name for name in service.get("environment", {}) if "PASSWORD" in name and not name.endswith("_FILE")]
    assert {secret["file"].split("/")[0] for secret in COMPOSE["secrets"].values()} == {"secrets"}
    for service in services.values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_the_configuration_of_compose_runs_against_a_postgres(full_world, postgres, tmp_path):
    """With the paths and the host that this machine has in place of the container's."""
    folder = tmp_path / "container"
    shutil.copytree(CONTAINER, folder)
    for _ in range(2):
        subprocess.run([folder / "make-secrets"], check=True, timeout=60)
        made = {file.name: file.read_text() for file in (folder / "secrets").iterdir()}
    assert set(made) == {"sealing-key", "postgres-password", "database-url"} == set(COMPOSE["secrets"])
    assert made == {file.name: file.read_text() for file in (folder / "secrets").iterdir()}, "a second run changes nothing"
    assert made["postgres-password"].strip() in made["database-url"] and (folder / "secrets").stat().st_mode & 0o077 == 0
    port = free_port()
    text = (folder / "countersign.toml").read_text().replace("/run/secrets/", f"{folder}/secrets/").replace("8080", str(port))
    (folder / "secrets" / "database-url").chmod(0o644)
    (folder / "secrets" / "database-url").write_text(postgres.database())
    assert tomllib.loads(text)["store"]["first_keys"] == "create"
    full_world.file.parent.mkdir()
    private(full_world.file, f"{text}\n[server]\nlisten = \"127.0.0.1:{port}\"\n")
    del full_world.environment["COUNTERSIGN_STORE__FIRST_KEYS"]
    full_world.serve()
    until(lambda: is_ready(port), "it is ready")
    assert len(httpx.get(f"http://127.0.0.1:{port}/.well-known/jwks.json").json()["keys"]) == 1


def is_ready(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
