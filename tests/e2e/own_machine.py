"""A machine of one's own for lines that are root's: its users, `/etc`, `/var/lib` and `/usr/local/bin`
go when the script ends.

Everything is in a mount namespace: `/etc` is a copy, the other two are empty but for `countersign`.
Ports are those of this machine.
"""

import os
import re
import shlex
import subprocess

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
MACHINE = """mount -t tmpfs tmpfs /var/lib
cp -a /etc /var/lib/etc
mount --bind /var/lib/etc /etc
mount -t tmpfs tmpfs /usr/local/bin
touch /usr/local/bin/countersign
mount --bind "$1" /usr/local/bin/countersign
if id countersign >/dev/null 2>&1; then userdel countersign; fi
rm -rf /etc/countersign
mkdir -m 755 /etc/countersign
cat >/etc/countersign/countersign.toml
say() { printf '\\n== %s\\n' "$1"; shift; "$@" 2>&1 || echo "exit code $?"; }
as() { local user=$1; shift; runuser -u "$user" -- "$@"; }
"""
#: What a script leaves running ends with it.
PROCESSES = ["--pid", "--fork", "--kill-child", "--mount-proc"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(script, program, configuration):
    """Runs a bash script there, as root. What `say NAME COMMAND…` prints is in the answer by that name, with its exit code if not 0."""
    enter = ["unshare", "--mount", "--propagation", "private", *PROCESSES, "bash", "-euo", "pipefail", "-c", MACHINE + script, "machine", program]
    # Ended from within: who is not root cannot end what is root's.
    enter = ["timeout", "--signal", "KILL", "100", *enter]
    command = [*AS_ROOT, "env", "-i", f"PATH={PATH}", *map(str, enter)]
    done = subprocess.run(command, input=configuration, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return {name: said.strip() for name, said in re.findall(r"^== (.*)\n((?:(?!== ).*\n?)*)", done.stdout, re.MULTILINE)}
