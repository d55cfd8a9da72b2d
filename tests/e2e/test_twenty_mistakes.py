"""The twenty most natural mistakes of a first hour, each with what is wrong, where, and what to do, in one line.

`what` is the cause, `where` the file, variable, option, part or place in a text that it is in, `do` what to write or run instead. What
works in spite of the mistake (a mark of byte order, CRLF, quotation marks) is taken, and says what it took off.
Beside them are the messages with too little in them that were found on the way.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest
from e2e import wire
from e2e.conftest import openssl
from e2e.program import CONFIG, FILE, World, client, free_port, private


@dataclass
class Mistake:
    """A command that ends with `code`, and what its one line says. `before` makes the scene, `env` and `input` go with it."""

    number: str
    code: int
    arguments: list
    what: str
    where: str
    do: str
    env: dict = None
    input: str = None
    before: callable = None


@pytest.fixture(scope="module")
def at(full_binary, tmp_path_factory):
    """A world with an authority, a token of it (`token`) and files of keys."""
    world = World(full_binary, tmp_path_factory.mktemp("mistakes"))
    world.environment["COUNTERSIGN_LOG__LEVEL"] = "error"
    world.configure()
    world.token = world.done("sign", "--claims", '{"sub":"alice"}').strip()
    world.issuer = json.loads(wire.claims(world.token))["iss"]
    jwks = world.done("keys", "export")
    [key] = json.loads(jwks)["keys"]
    world.kid = key["kid"]
    write = lambda name, text: private(world.folder / name, text)  # noqa: E731
    write("jwks.json", jwks)
    write("wrong.json", jwks.replace(world.kid, "another"))
    write("unnamed.json", json.dumps({"keys": [{name: value for name, value in key.items() if name != "kid"}] * 2}))
    write("empty.json", '{"keys":[]}')
    write("scope.json", '{"sub":"alice"}')
    openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", world.folder / "key.pem")
    openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", world.folder / "short.pem")
    openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", world.folder / "other.key")
    write("public.pem", openssl("pkey", "-in", world.folder / "key.pem", "-pubout"))
    write("certificate.pem", openssl("req", "-x509", "-key", world.folder / "key.pem", "-subj", "/CN=a", "-days", "2"))
    write("encrypted.pem", openssl("pkey", "-in", world.folder / "key.pem", "-aes128", "-passout", "pass:abcdef"))
    subprocess.run(["openssl", "pkey", "-in", world.folder / "key.pem", "-outform", "DER", "-out", world.folder / "key.der"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", world.folder / "ssh"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", world.folder / "ssh25519"], check=True)
    write("other.pem", openssl("pkey", "-in", world.folder / "other.key", "-pubout"))
    openssl("genpkey", "-quiet", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", world.folder / "pss.pem")
    openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-out", world.folder / "k1.pem")
    write("bundle.p7b", openssl("crl2pkcs7", "-nocrl", "-certfile", world.folder / "certificate.pem"))
    subprocess.run(["openssl", "x509", "-in", world.folder / "certificate.pem", "-outform", "DER", "-out", world.folder / "certificate.der"], check=True)
    yield world
    world.end()


def configured(text, more=""):
    """Makes a configuration `wrong.toml` of the world's with `text` changed or put behind it."""
    def write(at):
        base = at.file.read_text(encoding="utf-8")
        at.folder.joinpath("w").mkdir(exist_ok=True)
        private(at.folder / "w/wrong.toml", text(base) if callable(text) else base + text)
    return write


def bytes_of(data):
    def write(at):
        at.folder.joinpath("w").mkdir(exist_ok=True)
        (at.folder / "w/wrong.toml").write_bytes(data)
    return write


CHECK = ["config", "check", "--config", "w/wrong.toml"]
OWN = ["config", "check"]
IMPORT = ["keys", "import"]


MISTAKES = [
    # 1: what stands around a token is taken off (test_pasted.py); what is in it is not.
    Mistake("1", 1, ["verify", lambda at: at.token.replace(".", '".', 1)], "there is a quotation mark", "the header of the token", "character"),
    Mistake("1", 2, ["verify", "tok.jwt"], "is a file and not a token", "tok.jwt", "write @tok.jwt",
            before=lambda at: private(at.folder / "tok.jwt", at.token)),
    # 2 is asked over HTTP, 3 is accepted, below.
    Mistake("4", 1, ["verify", lambda at: at.token, "--audience", "api://other"], "`aud` is not the expected one",
            'expected "api://other", found "api://default"', "`countersign explain` shows every check"),
    Mistake("4", 1, ["verify", lambda at: at.token, "--issuer", lambda at: at.issuer + "/", "--jwks", "jwks.json"], "issuer is not trusted",
            "expected \"http://127.0.0.1:", "they differ in the slash at the end"),
    Mistake("4", 1, ["verify", lambda at: at.token, "--issuer", "https://other.example", "--jwks", "jwks.json"], "issuer is not trusted",
            'expected "https://other.example", found "http://127.0.0.1:', "`countersign explain`"),
    Mistake("5", 1, ["verify", lambda at: at.token, "--jwks", "wrong.json"], "no key fits the token's `kid`", 'expected "another", found "',
            "`countersign explain`"),
    Mistake("5", 1, ["verify", lambda at: at.token, "--jwks", "wrong.json"], "no key fits the token's `kid`",
            "the keys are those of wrong.json", "get the issuer's keys anew"),
    Mistake("5", 1, ["verify", lambda at: at.token, "--jwks", "unnamed.json"], "expected keys that have no `kid`, of which none is named, found",
            "the keys are those of unnamed.json", "get the issuer's keys anew"),
    Mistake("5", 1, ["verify", lambda at: at.token, "--jwks", "other.pem"], "the signature does not verify",
            "the keys are those of other.pem", "it is another key than the issuer's"),
    Mistake("5", 1, ["verify", lambda at: at.token, "--jwks", "empty.json"], "there is no key to verify with", "the set in empty.json is empty",
            "get the issuer's keys anew"),
    Mistake("6", 2, ["init", "--issuer", "tokens.example", "--config", "w/new.toml"], "no scheme", "--issuer", "write https:// in front"),
    Mistake("6", 2, ["init", "--issuer", "http://tokens.example", "--config", "w/new.toml"], "lets anyone on the network replace your keys",
            "--issuer", "use https://"),
    Mistake("6", 2, ["init", "--issuer", "https://bücher.example", "--config", "w/new.toml"], "letters that are not ASCII", "--issuer",
            "write it in its ASCII form, xn--bcher-kva.example"),
    Mistake("6", 78, OWN, "no scheme", "the environment variable COUNTERSIGN_ISSUER", "write https:// in front",
            env={"COUNTERSIGN_ISSUER": "tokens.example"}),
    Mistake("7", 2, ["init", "--issuer", "https://a.example/.well-known/openid-configuration", "--config", "w/new.toml"],
            "the address of the discovery document", "--issuer", "what stands in front of /.well-known/"),
    Mistake("8", 78, CHECK, "unknown field `max_agee`", "line 16, column 1", "did you mean `max_age`", before=configured('\n[jwks]\nmax_agee = "5m"\n')),
    Mistake("8", 78, CHECK, "unknown field `jwkss`", "line 15, column 2", "did you mean `jwks`", before=configured('\n[jwkss]\nmax_age = "5m"\n')),
    Mistake("9", 78, CHECK, "found a number", "line 16, column 11: jwks.max_age", 'like "5m"', before=configured("\n[jwks]\nmax_age = 300\n")),
    Mistake("9", 78, CHECK, '"300" has no unit', "jwks.max_age", "write 300s", before=configured('\n[jwks]\nmax_age = "300"\n')),
    Mistake("9", 78, OWN, '"300" has no unit', "the environment variable COUNTERSIGN_JWKS__MAX_AGE", "write 300s",
            env={"COUNTERSIGN_JWKS__MAX_AGE": "300"}),
    Mistake("10", 78, CHECK, "expected a list", "line 9, column 1: clients", "write [[clients]] on the line above",
            before=configured(lambda text: text.replace("[[clients]]", "[clients]"))),
    Mistake("10", 78, CHECK, "expected a list", "clients[0].workloads", "write [[clients.workloads]] on the line above",
            before=configured('\n[clients.workloads.trust]\npreset = "github-actions"\n')),
    # 11 is taken, below.
    Mistake("12", 78, CHECK, "it is UTF-16, as Windows PowerShell", "w/wrong.toml", "save it as UTF-8", before=bytes_of("issuer = ''".encode("utf-16"))),
    Mistake("12", 78, CHECK, "it is not UTF-8 text", "w/wrong.toml", "name the file that was meant", before=bytes_of(b"\x7fELF\x02\x01\xfe\xff")),
    Mistake("12", 78, CHECK, "it is compressed", "w/wrong.toml", "unpack it first", before=bytes_of(b"\x1f\x8b\x08\x00\xff")),
    Mistake("12", 78, CHECK, "it is UTF-16, or not text", "w/wrong.toml", "save it as UTF-8", before=bytes_of("issuer = ''".encode("utf-16-le"))),
    Mistake("12", 78, CHECK, "this looks like JSON", "line 1, column 1", 'a configuration is TOML: name = "value"', before=bytes_of(b'{"issuer": "https://a.example"}')),
    Mistake("12", 78, CHECK, "this looks like YAML", "line 1, column 4", 'a configuration is TOML: name = "value"', before=bytes_of(b"---\nissuer: https://a.example\n")),
    Mistake("12", 78, CHECK, "this is PEM and not a configuration", "line 1, column 1", "`keys import`", before=lambda at: bytes_of((at.folder / "key.pem").read_bytes())(at)),
    Mistake("12", 78, ["config", "check", "--config", "w"], "it is a folder", "/w cannot be read", "name the file in it", before=bytes_of(b"")),
    Mistake("13", 78, OWN, "unknown field `isuer`", "the environment variable COUNTERSIGN_ISUER", "did you mean `issuer`", env={"COUNTERSIGN_ISUER": "x"}),
    Mistake("14", 78, OWN, "there is no such setting", "the environment variable COUNTERSIGN_STORE_URL", "COUNTERSIGN_STORE__URL",
            env={"COUNTERSIGN_STORE_URL": "sqlite:x"}),
    Mistake("14", 78, OWN, "there is no such setting", "the environment variable COUNTERSIGN_RINGS_DEFAULT_ALGORITHM", "write two underscores: COUNTERSIGN_RINGS__DEFAULT__ALGORITHM",
            env={"COUNTERSIGN_RINGS_DEFAULT_ALGORITHM": "ES256"}),
    Mistake("14", 78, OWN, "which does not exist either: unknown field `uri`", "the environment variable COUNTERSIGN_STORE_URI", "did you mean `url`?", env={"COUNTERSIGN_STORE_URI": "memory:"}),
    Mistake("14", 78, OWN, "there is no such setting", "the environment variable COUNTERSIGN_LISTEN", "for server.listen write COUNTERSIGN_SERVER__LISTEN",
            env={"COUNTERSIGN_LISTEN": "127.0.0.1:8080"}),
    Mistake("14", 78, CHECK, "unknown field `listen`", "line 1, column 1", "`listen` is a setting of [server]", before=configured(lambda text: 'listen = "127.0.0.1:8080"\n' + text)),
    Mistake("15", 78, CHECK, "expected a string and found a number", "server.listen", 'like "127.0.0.1:8080"',
            before=configured(lambda text: re.sub(r'(?m)^listen = .*$', "listen = 8080", text))),
    Mistake("15", 2, ["serve", "--listen", "::1:8080"], "an IPv6 address needs brackets", "--listen", "write [::1]:8080"),
    Mistake("15", 2, ["serve", "--listen", "127.0.0.1:80800"], "80800 is not a port, which is at most 65535", "--listen", "write 127.0.0.1:8080"),
    # RFC 5737: an address of nobody.
    Mistake("15", 78, ["serve", "--listen", "192.0.2.1:8080"], "no network of this machine has this address", "cannot listen on 192.0.2.1:8080", "127.0.0.1:8080 is this machine alone"),
    Mistake("15", 2, ["serve", "--listen", "8080"], "is a port without an address", "--listen", "write 127.0.0.1:8080"),
    Mistake("15", 2, ["serve", "--listen", ":8080"], "has no address in front of the port", "--listen", "write 127.0.0.1:8080"),
    Mistake("15", 78, OWN, "has no address in front of the port", "the environment variable COUNTERSIGN_SERVER__LISTEN", "write 127.0.0.1:8080",
            env={"COUNTERSIGN_SERVER__LISTEN": ":8080"}),
    # 16 needs a port that is taken, 17 another mode of a file, below.
    Mistake("18", 1, [*IMPORT, "public.pem"], "this is a public key", "public.pem", "private"),
    Mistake("18", 1, [*IMPORT, "encrypted.pem"], "encrypted", "encrypted.pem", "openssl pkey -in"),
    Mistake("18", 1, [*IMPORT, "short.pem", "--algorithm", "RS256"], "1024", "short.pem", "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
    Mistake("19", 1, [*IMPORT, "ssh"], "it is an OpenSSH key", "ssh: ", "ssh-keygen -p -m PEM -f COPY"),
    Mistake("19", 2, [*IMPORT, "key.der"], "it is DER", "key.der", "openssl pkey -inform DER"),
    Mistake("19", 1, [*IMPORT, "certificate.pem"], "it is a certificate", "certificate.pem", 'grep -rl "PRIVATE KEY-"'),
    Mistake("19", 1, [*IMPORT, "ssh.pub"], "it is an OpenSSH public key", "ssh.pub", "the private key is in the file without .pub"),
    Mistake("19", 1, [*IMPORT, "ssh25519"], "it is an OpenSSH key", "ssh25519", "openssl genpkey -algorithm ED25519"),
    Mistake("19", 2, [*IMPORT, "certificate.der"], "it is DER", "certificate.der", "openssl x509 -inform DER"),
    Mistake("18", 1, [*IMPORT, "pss.pem"], "it is an RSA key for PSS alone", "pss.pem", "openssl genrsa"),
    Mistake("18", 1, [*IMPORT, "k1.pem"], "it is an EC key of the curve secp256k1", "k1.pem", "EC (P-256, P-384, P-521)"),
    Mistake("19", 1, [*IMPORT, "bundle.p7b"], "it is PKCS#7", "bundle.p7b", "openssl pkcs7 -print_certs"),
    Mistake("20", 78, ["serve", "--config", "w/absent.toml"], "there is no configuration", "w/absent.toml", "countersign init --config"),
    # Those with too little in them.
    Mistake("env", 78, OWN, "found another AppID", "the environment variable JAAS_API_KID", "as the JaaS console shows it",
            env={"JAAS_APP_ID": "vpaas-1", "JAAS_API_KID": "vpaas-2/a", "PRIVATE_KEY": "x"}),
    Mistake("env", 78, OWN, "found no slash in it", "the environment variable JAAS_API_KID", "a slash and the key id",
            env={"JAAS_APP_ID": "vpaas-1", "JAAS_API_KID": "a", "PRIVATE_KEY": "x"}),
    Mistake("env", 78, OWN, "no key found", "the environment variable PRIVATE_KEY", "expected PEM",
            env={"JAAS_APP_ID": '"vpaas-1"', "JAAS_API_KID": "'vpaas-1/a'", "PRIVATE_KEY": "x"}),
    Mistake("env", 78, OWN, "is not set, and JAAS_APP_ID is", "the environment variable PRIVATE_KEY", "needs JAAS_APP_ID, JAAS_API_KID and PRIVATE_KEY",
            env={"JAAS_APP_ID": "vpaas-1", "JAAS_API_KID": "vpaas-1/a"}),
    Mistake("env", 78, OWN, "is not TOML", "the environment variable COUNTERSIGN_TRUST", "write a list like",
            env={"COUNTERSIGN_TRUST": '[{"issuer": "https://a.example"}]'}),
    Mistake("env", 78, OWN, "is a table", "the environment variable COUNTERSIGN_LOG", "COUNTERSIGN_LOG__PART", env={"COUNTERSIGN_LOG": "debug"}),
    Mistake("env", 78, OWN, "expected a list", "the environment variable COUNTERSIGN_RINGS__DEFAULT__CONSUMERS", 'write ["a", "b"]',
            env={"COUNTERSIGN_RINGS__DEFAULT__CONSUMERS": "a,b"}),
    Mistake("claims", 2, ["sign", "--claims", "scope.json"], "is a file and not JSON", "--claims", "write --claims @scope.json"),
    Mistake("claims", 1, ["sign", "--claims", '{"aud":"x"}'], "the claim `aud` is set by the issuer", "leave it out of --claims", "--audience"),
    Mistake("claims", 1, ["sign", "--claims", '{"exp":1}'], "the claim `exp` is set by the issuer", "leave it out of --claims", "--lifetime"),
    Mistake("ring", 1, ["keys", "export", "--ring", "nope"], "there is no ring nope", "only default", "[rings.nope]"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: f"{one.number}: {one.what}")
def test_a_mistake_is_told_with_what_where_and_what_to_do(at, mistake):
    if mistake.before:
        mistake.before(at)
    arguments = [one(at) if callable(one) else one for one in mistake.arguments]
    done = at.run(*arguments, env=mistake.env, input=mistake.input)
    shown = f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == mistake.code and done.stdout == "", shown
    # Options that are wrong are clap's: a line, and where help is.
    complaint = [line for line in done.stderr.splitlines() if line][0]
    for part in (mistake.what, mistake.where, mistake.do):
        assert part in complaint, (part, shown)
    assert len(complaint) < 700, "nobody reads that"
    assert not (at.folder / "w/new.toml").exists() and not (at.folder / "w/absent.toml").exists()


def test_json_that_is_sent_as_a_form_is_told_so(at):
    port = free_port()
    at.configure(CONFIG + client("tests"), port)
    listens = f"http://{at.serve().printed['listen']}"
    headers = {"Authorization": wire.basic("tests", "cssec_a-secret-that-only-these-tests-know-0123456789"),
               "Content-Type": "application/x-www-form-urlencoded"}
    answer = wire.ask(listens, "POST", "/sign", headers, b'{"data":{"sub":"alice"}}')
    assert answer.status == 400
    said = answer.json()["error_description"]
    assert "JSON" in said and "Content-Type" in said and "application/json" in said, said
    # 16: the port that it has is taken for the next.
    busy = at.fails(78, f"listens on 127.0.0.1:{port}", "serve")
    assert "another program" in busy and "--listen" in busy


def test_an_issuer_that_ends_in_a_slash_is_told_so(at):
    issuer = "https://tokens.example/"
    told = at.run("config", "check", env={"COUNTERSIGN_LOG__LEVEL": "warn", "COUNTERSIGN_ISSUER": issuer})
    assert told.returncode == 0 and "ends in `/`" in told.stderr and issuer in told.stderr and "leave it out" in told.stderr, told
    assert "ends in" not in at.run("config", "check", env={"COUNTERSIGN_LOG__LEVEL": "warn", "COUNTERSIGN_ISSUER": issuer[:-1]}).stderr


def test_what_is_taken_in_spite_of_it(at):
    # 3: what was not expected is said.
    assert "not checked: iss, aud (name what you expect with --issuer and --audience)" in at.done("verify", at.token, "--jwks", "jwks.json")
    # 7: a slash at the end is another issuer, and a good one.
    at.done("init", "--issuer", "https://a.example/x/", "--config", "slash/countersign.toml")
    # 11: CRLF, a mark of byte order, tabs.
    for change in (lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: text.replace(" = ", "\t=\t")):
        configured(change)(at)
        at.done("config", "check", "--config", "w/wrong.toml")
    # Quotation marks that docker --env-file keeps.
    quoted = {"JAAS_APP_ID": '"vpaas-1"', "JAAS_API_KID": "'vpaas-1/a'", "PRIVATE_KEY": f'"{(at.folder / "key.pem").read_text()}"'}
    token = at.done("sign", "--profile", "jaas", "--claims", '{"room":"a"}', env=quoted).strip()
    assert wire.header(token)["kid"] == "vpaas-1/a" and json.loads(wire.claims(token))["sub"] == "vpaas-1"


def test_a_sealing_key_that_others_can_read_is_told_with_its_mode_and_the_command(at):
    copy = at.folder / "open"
    shutil.copytree(at.folder / "countersign", copy)
    (copy / "sealing.key").chmod(0o644)
    line = at.fails(78, "can be read by other users (mode 0644)", "keys", "list", "--config", "open/countersign.toml")
    assert "open/sealing.key" in line and "run: chmod 600 " in line


def test_every_one_of_the_twenty_is_here():
    elsewhere = {"2", "3", "11", "16", "17"}
    assert {one.number for one in MISTAKES} >= {str(number) for number in range(1, 21)} - elsewhere
    assert FILE == "countersign/countersign.toml"


def test_the_keys_of_an_issuer_that_cannot_be_had_are_told_with_the_address_that_was_asked(at):
    port = free_port()
    asked = f"http://127.0.0.1:{port}/keys"
    assert "hidden-part cannot be had: " + asked + ": " in at.fails(1, f"cannot be had: {asked}: ", "verify", at.token, "--jwks", asked + "?key=hidden-part")
    event = {"type": "TOKEN", "authorizationToken": f"Bearer {at.token}", "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/x"}
    (at.folder / "event.json").write_text(json.dumps(event))
    for keys, url in [("", f"{at.issuer}/.well-known/openid-configuration"), (f'keys_url = "{asked}?key=hidden-part"\n', asked)]:
        private(at.folder / "gate.toml", f'[[trust]]\nissuer = "{at.issuer}"\n{keys}audiences = ["api://default"]\nalgorithms = ["ES256"]\n')
        done = at.run("authorize", "--config", "gate.toml", "--event", "event.json")
        assert done.returncode == 1 and f"the keys of {at.issuer} cannot be had: {url}: " in done.stderr, done
        assert "hidden-part" not in done.stderr


def test_the_gates_own_variables_are_blamed_for_what_is_in_them(at):
    own = {"JWT_ISSUER_JWKS_URI": "http://127.0.0.1:9/x", "JWT_AUTHORIZED_AUDIENCES": "a"}
    empty = World(at.binary, at.folder / "empty")
    empty.folder.mkdir()
    (empty.folder / "event.json").write_text("{}")
    run = ("authorize", "--event", "event.json")
    empty.fails(78, 'the environment variable AUTHORIZED_APIS: "x" is not an ARN', *run, env=own | {"AUTHORIZED_APIS": "x"})
    empty.fails(78, "JWT_AUTHORIZED_AUDIENCES is not; name the audiences", *run, env={"JWT_ISSUER_JWKS_URI": "http://127.0.0.1:9/x"})
    empty.fails(78, "the environment variable JWT_ISSUER_JWKS_URI: ", *run, env=own | {"JWT_ISSUER_JWKS_URI": "ftp://a"})
