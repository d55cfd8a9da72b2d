"""What ingress-nginx makes of the example's manifests, for an nginx without Lua.

The program beside this (`ingress-nginx/main.go`) renders the controller's own template with its own functions. Debian's
nginx has no Lua and not the module headers-more, so what needs them is taken out here: `*_by_lua_block`, `lua_*`, `more_*`, the
block `stream`, the controller's servers for itself, and what it would fill in from the machine it runs on. Backends are chosen in
Lua, so the upstream gets the service's address. What authenticates a request is left as it is: `auth_request`, its
location, and the headers on both sides.
"""

import re
import subprocess

import toolchains

#: What is taken out, by the first word of a directive or block. Those of the second line are numbers or paths of the machine.
DROPPED = re.compile(
    r"\w+_by_lua_block|lua_\w+|more_\w+|stream|http2|ssl_\w+|load_module"
    r"|daemon|worker_\w+|pid|use|server_names_hash_\w+|error_log|access_log|log_format|include|client_body_temp_path|fastcgi_temp_path|proxy_temp_path"
    r"|proxy_cache_path|opentelemetry\w*"
)
#: Needs a folder of its own for everything, and one process that the test can end.
OWN = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\n"
PATHS = "".join(f"{name}_temp_path temp_{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def rendered(manifests, port):
    """The controller's configuration, as it is."""
    made = toolchains.ingress_nginx()
    done = subprocess.run(
        [made / "program", manifests, made / "nginx.tmpl", str(port)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def statements(text, at=0):
    """Directives as (words, None) and blocks as (words, statements), up to the brace that ends them; and where that is."""
    found, words = [], ""
    while at < len(text):
        if text[at] == "#":
            at = text.find("\n", at)
        elif text[at] in "\"'":
            end = re.compile(r"(?<!\\)" + text[at]).search(text, at + 1).end()
            words, at = words + text[at:end], end
        elif text[at] == ";":
            if words.strip():
                found.append((words.strip(), None))
            words, at = "", at + 1
        elif text[at] == "{" and re.search(r"_by_lua_block\s*$", words):
            # Lua is not read: braces are counted, and comments and texts in it hold none that do not match.
            depth, at = 1, at + 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            found.append((words.strip(), []))
            words = ""
        elif text[at] == "{":
            inner, at = statements(text, at + 1)
            found.append((words.strip(), inner))
            words = ""
        elif text[at] == "}":
            return found, at + 1
        else:
            words, at = words + text[at], at + 1
    return found, at


def without_lua(found, service):
    """The statements that this nginx can run."""
    kept = []
    for words, inner in found:
        name = words.split()[0]
        if DROPPED.fullmatch(name) or (name == "server" and inner is not None and not has_auth(inner)):
            continue
        if name == "upstream":
            inner = [(f"server {service}", None), ("keepalive 8", None)]
        if name == "listen":
            words = f"listen 127.0.0.1:{words.split()[1]}"
            if words.endswith(":0"):
                continue
        if name == "events":
            continue
        kept.append((words, inner if inner is None or name == "upstream" else without_lua(inner, service)))
    return kept


def has_auth(server):
    return any(words.startswith("auth_request ") for _, inner in server for words, _ in inner or [])


def text(found, depth=0):
    lines = []
    for words, inner in found:
        end = ";" if inner is None else " {\n" + text(inner, depth + 1) + "\t" * depth + "}"
        lines.append("\t" * depth + words + end + "\n")
    return "".join(lines)


def for_nginx(manifests, port, service):
    """A configuration for an nginx of this machine, which listens on `port` and hands on to `service`."""
    found, _ = statements(rendered(manifests, port))
    return OWN + text(without_lua(found, service)).replace("http {\n", "http {\n" + PATHS + "access_log off;\n", 1)
