"""Programs in Go, Rust and Java that tests run: built once through the package clients, kept in `.tools`.

A build is named by the bytes it is made from, so nothing is built again until they change, and one that
was interrupted is not taken for whole. A machine without the toolchain, or from which packages cannot be
had, is `Missing`; a program that does not compile is an error.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TOOLS = TESTS.parent / ".tools"
JAVA = TESTS / "java"
BUILD_WITHIN = 1800


class Missing(Exception):
    """Why a program cannot be built here."""


def not_tested(what, why):
    """Says at the end of the run what was left out on this machine. Where `CI` is set, nothing may be."""
    if os.environ.get("CI"):
        pytest.fail(f"NOT TESTED: {what}, because {why}", pytrace=False)
    warnings.warn(f"NOT TESTED: {what}, because {why}", stacklevel=2)


def compiler_of_go():
    """Where Go is on this machine, or `None`."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


#: Without inlining and symbols a program takes two fifths less to build.
GO_BUILD = ["build", "-gcflags=all=-l -dwarf=false", "-ldflags=-s -w"]


def go(folder, package=".", cgo=False, tags=""):
    """The program of a package in the Go module in `folder`; `cgo` where there is C in it, `tags` for the build.

    C is not optimised: it is SQLite, which Dex does not use here and Hydra uses little.
    """
    compiler = compiler_of_go()
    if not compiler:
        raise Missing("there is no Go on this machine")
    folder = Path(folder)
    own = {"GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": str(int(cgo)), "CGO_CFLAGS": "-O0"}

    def run(*arguments):
        return subprocess.run(
            [compiler, *arguments], cwd=folder, env=os.environ | own,
            capture_output=True, text=True, timeout=BUILD_WITHIN)

    sources = [*folder.rglob("*.go"), folder / "go.mod", folder / "go.sum"]
    name = digest(sources, folder, run("version").stdout, package, tags, *GO_BUILD)
    with built(TOOLS / "go" / name) as draft:
        if draft:
            had = run("mod", "download")
            if had.returncode:
                raise Missing(f"Go cannot have its modules: {had.stderr[-300:]}")
            done = run(*GO_BUILD, "-tags", tags, "-o", draft / "program", package)
            assert done.returncode == 0, done.stderr
    return TOOLS / "go" / name / "program"


def go_inside(folder, module, *kept):
    """The program of `main.go` in `folder`, built inside a copy of a Go module whose packages are internal; go.mod and go.sum there
    say which. Its folder, with the files `kept` of the module beside it."""
    compiler = compiler_of_go()
    if not compiler:
        raise Missing("there is no Go on this machine")
    folder = Path(folder)
    own = {"GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}

    def run(*arguments, cwd):
        return subprocess.run(
            [compiler, *arguments], cwd=cwd, env=os.environ | own, capture_output=True, text=True, timeout=BUILD_WITHIN)

    sources = [folder / name for name in ("main.go", "go.mod", "go.sum")]
    name = digest(sources, folder, run("version", cwd=folder).stdout, module, *GO_BUILD, *kept)
    with built(TOOLS / "go" / name) as draft:
        if draft:
            had = run("mod", "download", "-json", module, cwd=folder)
            if had.returncode:
                raise Missing(f"Go cannot have its modules: {(had.stderr + had.stdout)[-300:]}")
            copy = draft.parent / "copy"
            # Modules are kept without write permission.
            shutil.copytree(json.loads(had.stdout)["Dir"], copy, copy_function=shutil.copyfile)
            for path in [copy, *copy.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            (copy / "cmd/inside").mkdir(parents=True)
            shutil.copy(folder / "main.go", copy / "cmd/inside")
            had = run("list", "-deps", "./cmd/inside", cwd=copy)
            if had.returncode:
                raise Missing(f"Go cannot have its modules: {had.stderr[-300:]}")
            done = run(*GO_BUILD, "-o", draft / "program", "./cmd/inside", cwd=copy)
            assert done.returncode == 0, done.stderr
            for file in kept:
                shutil.copy(copy / file, draft / Path(file).name)
    return TOOLS / "go" / name


def rust(folder, program):
    """A program of the crate in `folder`, which is in no workspace."""
    if not shutil.which("cargo"):
        raise Missing("there is no cargo on this machine")
    folder = Path(folder)
    version = subprocess.run(["rustc", "--version"], capture_output=True, text=True, timeout=60).stdout
    sources = [*folder.rglob("*.rs"), folder / "Cargo.toml", folder / "Cargo.lock"]
    name = digest(sources, folder, version)
    kept = TOOLS / "rust" / name
    with built(kept) as draft:
        if draft:
            had = subprocess.run(
                ["cargo", "fetch", "--locked"], cwd=folder, capture_output=True, text=True, timeout=BUILD_WITHIN)
            if had.returncode:
                raise Missing(f"cargo cannot have its packages: {had.stderr[-300:]}")
            # Kept, because most of it is other people's crates.
            target = TOOLS / "rust/target"
            done = subprocess.run(
                ["cargo", "build", "--quiet", "--locked", "--offline", "--target-dir", target], cwd=folder,
                capture_output=True, text=True, timeout=BUILD_WITHIN)
            assert done.returncode == 0, done.stderr
            draft.mkdir()
            shutil.copy(target / "debug" / program, draft / "program")
    return kept / "program"


#: What Maven says when it is the network that is not there, and when the compiler is not.
NOT_OURS = ("Could not transfer artifact", "Could not resolve", "could not be resolved", "No compiler is provided")


def java(module):
    """The command that runs a Java program on the classpath of a module of tests/java; its class comes next.

    All modules are built by one run of Maven, into its own local repository and one folder here.
    """
    programs = [shutil.which(name) for name in ("java", "javac", "mvn")]
    if not all(programs):
        raise Missing("there is no JDK with Maven on this machine")
    sources = [file for file in JAVA.rglob("*") if file.is_file()]
    version = subprocess.run([programs[0], "-version"], capture_output=True, text=True, timeout=60).stderr
    name = digest(sources, JAVA, version)
    kept = TOOLS / "java" / name
    if kept.exists() and not all(map(os.path.exists, classpath(kept, module).split(os.pathsep))):
        shutil.rmtree(kept)  # Maven's repository was emptied.
    with built(kept) as draft:
        if draft:
            arguments = ["-q", "-B", "-f", JAVA / "pom.xml", f"-Dbuild.root={draft}", "compile"]
            listed = ["dependency:build-classpath", "-Dmdep.outputFile=${project.build.directory}/classpath"]
            done = subprocess.run(
                [programs[2], *arguments, *listed], capture_output=True, text=True, timeout=BUILD_WITHIN)
            said = done.stdout + done.stderr
            if done.returncode and any(text in said for text in NOT_OURS):
                raise Missing(f"Maven cannot have its packages: {said[:300]}")
            assert done.returncode == 0, said
    return [programs[0], "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath(kept, module)]


def classpath(folder, module):
    """A module's classes and what they need."""
    return os.pathsep.join([str(folder / module / "classes"), (folder / module / "classpath").read_text().strip()])


def digest(files, root, *more):
    """A name for what is made of these files, and of them alone."""
    whole = hashlib.sha256("\0".join(more).encode())
    for file in sorted(files):
        whole.update(f"\0{file.relative_to(root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]


@contextmanager
def built(folder):
    """A folder to build in, which takes the place of `folder` when all went well; None when that is there.

    Of several processes one builds and the others wait, but not for what is there.
    """
    if folder.exists():
        yield None
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
            yield Path(draft) / "new"
            os.rename(Path(draft) / "new", folder)


def versitygw():
    """S3."""
    return [go(TESTS / "servers/versitygw", "github.com/versity/versitygw/cmd/versitygw")]


def mongo_java_server():
    """MongoDB."""
    program, *more = java("mongo-server")
    return [program, "-Xmx256m", *more, "mongo.Serve"]


def dex():
    """An OpenID provider."""
    return go(TESTS / "peers/dex", "github.com/dexidp/dex/cmd/dex", cgo=True)


def verifiers_in_go():
    """The libraries that verify tokens."""
    return go(TESTS / "interop/go")


def oauth_client_in_go():
    """A client that asks with its secret."""
    return go(TESTS / "e2e/go")


def refreshing_client_in_go():
    """A client that refreshes its token."""
    return go(TESTS / "e2e/go", "./refresh")


def oauth_clients_in_rust():
    """Clients of two libraries."""
    return rust(TESTS / "e2e/rust", "oauth-clients")


def actionlint():
    """The linter of GitHub's workflows."""
    return go(TESTS / "e2e/actionlint", "github.com/rhysd/actionlint/cmd/actionlint")


def ingress_nginx():
    """The folder of the controller's template and of what renders it."""
    return go_inside(TESTS / "servers/ingress-nginx", "k8s.io/ingress-nginx", "rootfs/etc/nginx/template/nginx.tmpl")


#: Servers that tests in Rust run against too; name → what makes the command that starts one.
SERVERS = {"versitygw": versitygw, "mongo-java-server": mongo_java_server}
#: What tests in Python run besides; building one with Maven builds all of Java.
OTHERS = [dex, verifiers_in_go, oauth_client_in_go, refreshing_client_in_go, oauth_clients_in_rust, actionlint, ingress_nginx]


def main(names):
    """For a name the command that starts the server, a line for each word; without one everything is built,
    and with `--servers` what has a name.

    Exit code 3 where one cannot be built here, and without a name only where `CI` is set.
    """
    code, wanted = 0, SERVERS | {one.__name__.replace("_", " "): one for one in OTHERS}
    if names == ["--servers"]:
        names, wanted = [], SERVERS
    elif names:
        wanted = {name: SERVERS[name] for name in names}
    for name, make in wanted.items():
        try:
            command = make()
        except Missing as why:
            print(f"NOT TESTED: {name}, because {why}" if not names else why, file=sys.stderr)
            code = 3 if names or os.environ.get("CI") else code
            continue
        if names:
            print(*command, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
