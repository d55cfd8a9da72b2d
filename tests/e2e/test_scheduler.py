"""`keys rotate --publish --check`: one command for a scheduler, its exit code, and runs that are cut off anywhere.

nginx serves the folder; days pass by faketime, for it and for the scheduler. The recipes of docs/scheduler.md are checked by those who read them: systemd,
actionlint, Kubernetes' schemas, a shell.
"""

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import toolchains
import yaml
from e2e import clocks, own_machine, wire
from e2e.program import CONFIG, client, free_port
from e2e.static_site import NGINX, nginx

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "deploy/scheduler"
JWKS = "/.well-known/jwks.json"
ROTATES = CONFIG.replace("[rings.default]", '[rotation]\nobserve_every = "1h"\n\n[rings.default]') + """
rotate_every = "3days"
consumers = ["pyjwt"]
longest_token = "12h"
"""
TURN = ("keys", "rotate", "--publish", "site", "--check")


class Scheduled:
    def __init__(self, world, port):
        self.world, self.issuer = world, f"http://127.0.0.1:{port}"
        self.jwks = world.folder / ("site" + JWKS)

    def clock(self, hour):
        """What time it is for everybody but the scheduler."""
        clocks.put(self.world.folder / "clock", hour * 3600)

    def at(self, hour, *arguments, env=None, elsewhere=None):
        self.clock(hour if elsewhere is None else elsewhere)
        return subprocess.run(
            clocks.at(f"+{hour} hours", self.world.binary, *arguments), cwd=self.world.folder,
            env=self.world.environment | (env or {}), capture_output=True, text=True, timeout=60,
        )

    def turn(self, hour, code=0, **more):
        done = self.at(hour, *TURN, "--json", **more)
        assert done.returncode == code, (hour, done)
        return json.loads(done.stdout)

    def states(self):
        return {key["kid"]: key["state"] for key in self.world.keys()}

    def shown(self):
        return {key["kid"] for key in wire.get(self.issuer, JWKS).json()["keys"]}


@pytest.fixture
def scheduled(world):
    port = world.configure(ROTATES + client("tests", more='audiences = ["a"]\nmax_lifetime = "12h"\nclaims = { allow = ["*"] }'))
    scheduled = Scheduled(world, port)
    scheduled.clock(0)
    with nginx(world.folder, port, clock=world.folder / "clock"):
        world.done("keys", "init")
        yield scheduled


def test_by_a_clock_that_is_wrong_no_step_is_taken(scheduled):
    scheduled.turn(0)
    for hour in range(60, 74, 2):
        scheduled.turn(hour)
    states = scheduled.states()
    assert sorted(states.values()) == ["active", "retired"]
    # The retired key would go, and its tokens live for hours.
    for wrong in (72 + 48, 72 - 48):
        done = scheduled.at(wrong, *TURN, elsewhere=72)
        assert done.returncode == 70 and "no key is made, activated or removed: it is " in done.stderr, done
        assert "rotation.skew" in done.stderr and f"{scheduled.issuer}{JWKS}" in done.stderr, done
        said = scheduled.turn(wrong, code=70, elsewhere=72)
        assert said["error"] == "clock_differs" and "done" not in said["turn"], said
        assert scheduled.states() == states and scheduled.shown() == set(states)
    assert scheduled.turn(72)["done"] == []


def test_one_command_rotates_publishes_and_checks(scheduled):
    said = scheduled.turn(0)
    assert {"done", "seen", "published", "documents"} <= set(said) and JWKS in said["published"]["written"]
    assert {row["cause"] for row in said["documents"]} == {None} and len(said["documents"]) > 5
    text = scheduled.at(0, *TURN).stdout.splitlines()
    assert text[0] == "nothing is due" and text[1].startswith("0 of ") and text[2].endswith("are what they should be"), text
    [first] = scheduled.states()
    steps = {}
    for hour in range(60, 76, 2):
        said = scheduled.turn(hour)
        steps |= {step["step"]: hour for step in said["done"]}
        # Whatever was made is in public in the same run.
        assert scheduled.shown() == set(scheduled.states())
    assert list(steps) == ["make", "activate"] and steps["activate"] == 72
    assert scheduled.states()[first] == "retired"
    assert "remove" in [step["step"] for step in scheduled.turn(110)["done"]] and first not in scheduled.shown()


def test_a_key_that_is_missing_in_public_is_put_there_and_what_cannot_be_mended_fails(scheduled):
    scheduled.turn(0)
    # Somebody has emptied the JWKS, long after verifiers should know the key.
    scheduled.jwks.write_text('{"keys":[]}')
    done = scheduled.at(30, "keys", "rotate", "--once")
    assert done.returncode == 1 and "verifiers refuse its tokens" in done.stderr
    done = scheduled.at(30, "keys", "rotate", "--check")
    assert done.returncode == 1 and "verifiers refuse its tokens" in done.stderr and "is older than" not in done.stderr, done
    done = scheduled.at(30, *TURN)
    assert done.returncode == 0 and "before this run, key" in done.stderr, "it is there now, and the log says that it was not"
    assert scheduled.shown() == set(scheduled.states())
    # The address leads to another folder: publishing mends nothing.
    scheduled.jwks.write_text('{"keys":[]}')
    elsewhere = ("keys", "rotate", "--publish", "elsewhere", "--check", "--json")
    done = scheduled.at(30, *elsewhere)
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["error"] == "active_key_not_public", done
    assert {row["url"].removeprefix(scheduled.issuer): row["cause"] for row in said["turn"]["documents"]}[JWKS] == "differs"
    assert said["turn"]["published"]["written"], "what could be done was done"


def test_each_step_is_taken_whatever_became_of_the_one_before(scheduled):
    scheduled.turn(0)
    # The target cannot be written: the turn is taken all the same, and the look says what the world sees.
    site = scheduled.world.folder / "site"
    moved = site.rename(scheduled.world.folder / "away")
    site.write_text("no folder")
    said = scheduled.turn(69, code=78)
    assert [step["step"] for step in said["turn"]["done"]] == ["make"] and "cannot be" in said["message"]
    assert said["error"] == "bad_configuration" and {row["cause"] for row in said["turn"]["documents"]} == {"fetch_status"}
    site.unlink()
    moved.rename(site)
    said = scheduled.turn(69)
    assert said["done"] == [] and JWKS in said["published"]["written"] and scheduled.shown() == set(scheduled.states())
    # What cannot be meant is told before anything is done.
    for wrong in (["--cloudfront", "E2"], ["--publish", "gs://bucket"], ["--publish", "site", "--cloudfront", "E2"], ["--publish", "site", "--wait"]):
        assert scheduled.world.run("keys", "rotate", *wrong).returncode == 2, wrong


def test_newer_keys_in_public_are_not_replaced(scheduled):
    scheduled.turn(0)
    newer = json.loads(scheduled.jwks.read_text()) | {"countersign_sequence": 1000}
    scheduled.jwks.write_text(json.dumps(newer))
    done = scheduled.at(0, *TURN)
    assert done.returncode == 78 and "newer" in done.stderr, done
    assert json.loads(scheduled.jwks.read_text()) == newer


CALLS = "rename,renameat,renameat2,link,linkat,unlink,fsync,fdatasync,ftruncate,mkdir"


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(scheduled, tmp_path):
    """At each change of the file system in turn; the next run ends well and leaves what an undisturbed one leaves."""
    world = scheduled.world
    scheduled.turn(0)
    [first] = scheduled.states()
    start = tmp_path / "start"
    shutil.copytree(world.folder, start, ignore=shutil.ignore_patterns("*.pid", "nginx*", "t[0-9]", "log", "clock"))
    killed = 0
    scheduled.clock(69)
    for number in range(1, 200):
        for name in ("countersign", "site"):
            shutil.rmtree(world.folder / name)
            shutil.copytree(start / name, world.folder / name)
        # Without the wrapper, which would be killed, too.
        clock = ["-E", f"LD_PRELOAD={clocks.LIBRARY}", "-E", "FAKETIME=+69h"]
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", f"--inject={CALLS}:signal=SIGKILL:when={number}", "-e", f"trace={CALLS}", *clock]
        done = subprocess.run([*trace, world.binary, *TURN], cwd=world.folder, env=world.environment, capture_output=True, timeout=120)
        if done.returncode == 0:
            break
        killed += 1
        assert done.returncode in (-signal.SIGKILL, 137), done
        # Whatever it left: the key that signs is in public, and no file is half there.
        assert first in scheduled.shown()
        scheduled.turn(69)
        states = scheduled.states()
        assert sorted(states.values()) == ["active", "published"] and states[first] == "active", (number, states)
        assert scheduled.shown() == set(states)
    assert killed > 5 and done.returncode == 0, killed


def test_two_at_once_do_no_harm(scheduled):
    scheduled.turn(0)
    for hour in (69, 72):
        scheduled.clock(hour)
        runs = [subprocess.Popen(clocks.at(f"+{hour} hours", scheduled.world.binary, *TURN), cwd=scheduled.world.folder,
                                 env=scheduled.world.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
        for run in runs:
            run.communicate(timeout=120)
        scheduled.turn(hour)
        assert len(scheduled.states()) == 2 and scheduled.shown() == set(scheduled.states())


def test_the_page_has_the_recipes_as_they_are():
    page = (ROOT / "docs/scheduler.md").read_text()
    shown = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert shown and all((ROOT / name).read_text() == text for name, text in shown)
    assert all(f"](../deploy/scheduler/{file.name})" in page for file in RECIPES.iterdir())


def test_the_units_are_in_order_and_the_timer_starts_the_service(world):
    units = [world.folder / name for name in ("countersign-rotate.service", "countersign-rotate.timer")]

    def complaints(change=lambda text: text):
        for unit in units:
            unit.write_text(change((RECIPES / unit.name).read_text().replace("/usr/bin/countersign", str(world.binary))))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=120)
        return [line for line in done.stderr.splitlines() if "countersign" in line]

    assert complaints() == []
    assert complaints(lambda text: text.replace("ProtectSystem=strict", "ProtectSystem=very").replace("*:0/10", "*:0/x")) != []
    server, rotates = ((ROOT / "deploy/debian/countersign.service").read_text(), (RECIPES / units[0].name).read_text())
    restricted = server.split("AmbientCapabilities=")[1].split("[Install]")[0]
    assert restricted.strip() == rotates.split("AmbientCapabilities=")[1].strip(), "it may do as little as the server"


def arguments(command):
    """What the program is called with."""
    return re.search(r"countersign (keys rotate [^\n|]*?)(?: 2>&1|$|\))", command.replace('"$SITE"', "site"), re.MULTILINE)[1].split()


def test_every_recipe_calls_the_program_as_it_is(scheduled):
    unit = re.search(r"ExecStart=(.*)", (RECIPES / "countersign-rotate.service").read_text())[1]
    cron = (RECIPES / "crontab").read_text().splitlines()[-1]
    action = yaml.safe_load((RECIPES / "rotate.yml").read_text())["jobs"]["rotate"]["steps"][-1]["run"]
    [container] = yaml.safe_load((RECIPES / "cronjob.yaml").read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    here = {"/etc/countersign/countersign.toml": "countersign/countersign.toml", "/var/lib/countersign/site": "site", "s3://my-site/auth": "site"}
    for called in (arguments(unit), arguments(cron), arguments(action), container["args"]):
        done = scheduled.world.run(*[here.get(word, word) for word in called])
        assert done.returncode == 0 and "are what they should be" in done.stdout, (called, done)


def test_the_line_for_cron_speaks_only_where_something_is_wrong(scheduled):
    line = (RECIPES / "crontab").read_text().splitlines()[-1]
    schedule, command = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert schedule == ["*/10", "*", "*", "*", "*"] and "%" not in command, "cron takes % for a line end"
    command = command.replace("/var/lib/countersign/site", "site").replace("/var/lib/countersign/", "").replace("/etc/countersign/", "countersign/")
    command = command.replace(" countersign keys", f" {scheduled.world.binary} keys")
    run = lambda: subprocess.run(["sh", "-c", command], cwd=scheduled.world.folder, env=scheduled.world.environment, capture_output=True, text=True)  # noqa: E731
    done = run()
    assert (done.stdout, done.stderr) == ("", ""), done
    scheduled.jwks.write_text(json.dumps(json.loads(scheduled.jwks.read_text()) | {"countersign_sequence": 1000}))
    done = run()
    assert done.stdout.startswith("exit code 78: ") and "newer" in done.stdout and "countersign: " in done.stdout, done


WEB_SERVER = """mkdir /var/lib/web
ln -s /var/lib/countersign/site /var/lib/web/site
cat >/var/lib/web/nginx.conf <<'NGINX'
{nginx}NGINX
chown -R www-data /var/lib/web
as www-data nginx -c /var/lib/web/nginx.conf &
until (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done
"""


def test_the_line_for_cron_publishes_where_a_web_server_reads_and_nobody_else_holds_its_lock(binary):
    """In the folder as the package makes it, and after the lines of the page. The web server is nginx as www-data."""
    [shown] = re.findall(r"test_scheduler.py runs this -->\n```sh\n(.*?)```", (ROOT / "docs/scheduler.md").read_text(), re.DOTALL)
    line, port = (RECIPES / "crontab").read_text().splitlines()[-1].split(" ", 5)[5], free_port()
    configuration = (ROOT / "deploy/debian/countersign.toml").read_text().replace("https://auth.example.com", f"http://127.0.0.1:{port}")
    server = NGINX.replace("@LISTEN@", f"listen 127.0.0.1:{port};").replace("@FOLDER@", "/var/lib/web")
    said = own_machine.run(f"""useradd --system --user-group --no-create-home --home-dir /var/lib/countersign countersign
install -d -m 700 -o countersign -g countersign /var/lib/countersign
as countersign countersign keys init --config /etc/countersign/countersign.toml
{WEB_SERVER.format(nginx=server, port=port)}
turn() {{ as countersign sh -c {shlex.quote(line)}; }}
say closed turn
{shown}
say open turn
say site as www-data ls /var/lib/countersign/site/.well-known
for file in sealing.key countersign.db; do say $file as www-data cat /var/lib/countersign/$file; done
say 'lock of another' as www-data flock -n /var/lib/countersign/rotate.lock true
as countersign flock /var/lib/countersign/rotate.lock sleep infinity &
until ! as countersign flock -n /var/lib/countersign/rotate.lock true; do sleep 0.1; done
rm -r /var/lib/countersign/site
say skipped turn
say 'nothing published' ls /var/lib/countersign
""", binary, configuration)
    assert said["closed"].startswith("exit code 70: ") and "403" in said["closed"], said
    assert said["open"] == "" and "jwks.json" in said["site"], said
    for name in ("sealing.key", "countersign.db", "lock of another"):
        assert "Permission denied" in said[name], said
    assert said["skipped"] == "" and "site" not in said["nothing published"].split(), said


def test_the_workflow_passes_its_linter(tmp_path):
    try:
        actionlint = toolchains.actionlint()
    except toolchains.Missing as why:
        return toolchains.not_tested("actionlint", why)

    def lint(text):
        file = tmp_path / ".github/workflows/rotate.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return subprocess.run([actionlint, "-no-color", "-shellcheck=", file], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    workflow = (RECIPES / "rotate.yml").read_text()
    done = lint(workflow)
    assert done.returncode == 0, done.stdout + done.stderr
    for wrong in (workflow.replace("*/15 * * * *", "*/15 * * *"), workflow.replace("id-token: write", "id-token: readable")):
        assert lint(wrong).returncode == 1


def test_the_cron_job_is_one_of_kubernetes(tmp_path):
    job = yaml.safe_load((RECIPES / "cronjob.yaml").read_text())
    for version in ("1.30", "1.37"):
        kubernetes_validate.validate(job, version, strict=True)
    wrong = yaml.safe_load((RECIPES / "cronjob.yaml").read_text().replace("backoffLimit", "backofLimit"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)
