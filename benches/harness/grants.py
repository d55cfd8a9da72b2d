"""`POST /token`: each grant as a ratio to raw signing; client_credentials beside what others wrote; refresh beside what its engine can do."""

import base64
import contextlib
import hashlib
import json
import math
import secrets
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from harness import contract, engines, load, peers, servers
from harness.load import Load
from harness.over_http import RAW, latency
from harness.peers import Peer
from harness.servers import Server
from harness.turns import Plan, compared, details, heading, in_turns

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:"
TYPE = "urn:ietf:params:oauth:token-type:"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LOGIN, THEIRS = "https://login.example", "https://backend.example"
KEY = ec.generate_private_key(ec.SECP256R1())
#: Families that take turns, so that none is turned more often in its window than a client may; and
#: how many requests a turn can need at most.
FAMILIES, MOST_A_SECOND = 1024, 6000


def settings(secret: str) -> str:
    """What is added to the configuration: a client for each grant, a foreign issuer with its key, and a window that lets families turn fast."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).decode().rstrip("=")
    public = jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {
        "kid": "k",
        "alg": "ES256",
        "use": "sig",
    }
    keys = f"jwks = '{json.dumps({'keys': [public]})}'"
    of_secret, of_key = f'secret_hashes = ["sha256:{digest}"]', f"secret_hashes = []\nassertions = {{ {keys} }}"

    def client(id: str, grants: list[str], proof: str = of_secret) -> str:
        own = f'grants = {json.dumps(grants)}\nprofiles = ["access_token"]\naudiences = ["{contract.AUDIENCE}"]\nscopes = ["{peers.SCOPE}"]'
        return f'\n[[clients]]\nid = "{id}"\n{proof}\n{own}\n'

    def rule(client: str, grant: str, more: str, audiences: str = "") -> str:
        trust = f'trust = {{ issuer = "{LOGIN}", {keys}, algorithms = ["ES256"]{audiences} }}'
        return f'\n[[exchange]]\nclients = ["{client}"]\nprovider = "login"\ngrants = ["{grant}"]\nscopes = ["{peers.SCOPE}"]\n{more}\n{trust}\n'

    bearer, exchange = GRANT_TYPE + "jwt-bearer", GRANT_TYPE + "token-exchange"
    return "".join(
        [
            '\n[refresh]\ngrace = "1s"\nidle = "1h"\n\n[rotation]\nskew = "1s"\n',
            client("worker", ["client_credentials"]),
            client("signer", ["client_credentials"], of_key),
            client("often", [bearer]),
            client("once", [bearer]),
            client("backend", [exchange]),
            client("app", [bearer, "refresh_token"]),
            rule("often", bearer, "once = false"),
            rule("once", bearer, ""),
            rule("app", bearer, "once = false\nrefresh = true"),
            rule("backend", exchange, "impersonate = true\nonce = false", f', audiences = ["{THEIRS}"]'),
        ]
    )


@contextlib.contextmanager
def authority(
    programs: Path, folder: Path, name: str = "Countersign", store: str = "", program: Path | None = None
) -> Iterator[Server]:
    """`countersign serve` as in production, with these clients, and without rate limits."""
    port, secret = servers.free_port(), secrets.token_urlsafe(32)
    issuer, configuration = f"http://127.0.0.1:{port}", folder / "countersign" / "countersign.toml"
    command = [str(program or programs / "countersign"), "--json", "--config", str(configuration)]
    subprocess.run(
        [*command, "init", "--issuer", issuer, "--algorithm", "RS256"], check=True, capture_output=True, text=True
    )
    text = configuration.read_text()
    if store:
        text = text.replace('url = "sqlite:countersign.db"', 'url = "env:BENCH_STORE"')
    configuration.write_text(text + settings(secret))
    environment = {"COUNTERSIGN_LIMITS__PER_CLIENT": "off", "COUNTERSIGN_LIMITS__PER_ADDRESS": "off"}
    if store:
        environment |= {"BENCH_STORE": store, "COUNTERSIGN_STORE__FIRST_KEYS": "create"}
    with servers.running(
        name, port, [*command, "serve", "--listen", f"127.0.0.1:{port}"], environment, folder / "countersign.log"
    ) as pid:
        yield Server(name, port, pid, issuer, "worker", secret)


def signed(audience: str, subject: str = "alice", issuer: str = LOGIN) -> str:
    now = int(time.time())
    claims = {"iss": issuer, "sub": subject, "aud": audience, "iat": now, "exp": now + 1800, "jti": str(uuid.uuid4())}
    return jwt.encode(claims, KEY, "ES256", {"kid": "k"})


def client_credentials() -> str:
    return urlencode({"grant_type": "client_credentials", "scope": peers.SCOPE})


def assertion(server: Server) -> str:
    return urlencode(
        {"grant_type": GRANT_TYPE + "jwt-bearer", "scope": peers.SCOPE, "assertion": signed(server.issuer)}
    )


def by_assertion(server: Server) -> str:
    shown = {"client_assertion_type": ASSERTION, "client_assertion": signed(server.issuer, "signer", "signer")}
    return urlencode({"grant_type": "client_credentials", "scope": peers.SCOPE} | shown)


def exchange() -> str:
    shown = {"subject_token": signed(THEIRS), "subject_token_type": TYPE + "access_token"}
    return urlencode({"grant_type": GRANT_TYPE + "token-exchange", "scope": peers.SCOPE} | shown)


def form(server: Server, client: str, body: str, seconds: float, path: str = "/token") -> Load:
    """One request again and again."""
    asked = {"AUTHORIZATION": contract.basic(client, server.secret), "BODY": body}
    return load.wrk(server, path, "form.lua", seconds, asked)


def forms(server: Server, client: str, make: Callable[[], str], folder: Path, seconds: float) -> Load:
    """A request of its own each time, all of them made before."""
    file = folder / "forms.txt"
    file.write_text("\n".join(make() for _ in range(math.ceil(MOST_A_SECOND * seconds))))
    authorization = contract.basic(client, server.secret) if client else ""
    return load.wrk(server, "/token", "forms.lua", seconds, {"AUTHORIZATION": authorization, "BODIES": str(file)})


def refresh(server: Server, folder: Path, seconds: float) -> Load:
    """Families that begin before the turn, each turned whenever its turn comes."""
    tokens = [granted(server, "app", assertion(server))["refresh_token"] for _ in range(FAMILIES)]
    file = folder / "tokens.txt"
    file.write_text("\n".join(tokens))
    asked = {"AUTHORIZATION": contract.basic("app", server.secret), "BODIES": str(file)}
    # An engine that is slower than its deadline for once is no success, and no reason to end the run.
    return load.wrk(server, "/token", "refresh.lua", seconds, asked, forgiven=0.01)


def granted(server: Server, client: str, body: str) -> dict:
    kind = "application/x-www-form-urlencoded"
    status, headers, answer = contract.fetch(server.port, "/token", body, contract.basic(client, server.secret), kind)
    contract.require(server.name, status == 200, f"/token answers {status}: {answer[:300]!r}")
    contract.require(server.name, headers.get("cache-control") == "no-store", "/token may be cached")
    return json.loads(answer)


def measure(programs: Path, rounds: int, seconds: float, folder: Path) -> None:
    # wrk takes whole seconds.
    whole = math.ceil(seconds)
    plan = Plan(rounds, whole, min(2, whole))
    for part, of in [("grants", measure_grants), ("peers", measure_peers), ("refresh", measure_refresh)]:
        own = folder / part
        own.mkdir()
        # Some of the grants wait for the disk.
        with engines.awake():
            of(programs, plan, own)


def measure_grants(programs: Path, plan: Plan, folder: Path) -> None:
    with authority(programs, folder) as ours:
        check(ours)
        # Those that are shown again and again are valid for longer than all of this takes.
        repeated, subject = assertion(ours), exchange()
        grants = {
            "client_credentials": lambda seconds: form(ours, "worker", client_credentials(), seconds),
            "client_credentials, private_key_jwt": lambda seconds: forms(
                ours, "", lambda: by_assertion(ours), folder, seconds
            ),
            "jwt-bearer": lambda seconds: form(ours, "often", repeated, seconds),
            "jwt-bearer, each assertion once": lambda seconds: forms(
                ours, "once", lambda: assertion(ours), folder, seconds
            ),
            "token exchange": lambda seconds: form(ours, "backend", subject, seconds),
            "refresh_token": lambda seconds: refresh(ours, folder, seconds),
        }
        results = in_turns(plan, grants | {RAW: lambda seconds: load.raw_sign(programs, seconds)})
    heading("`POST /token` RS256-2048 over HTTP, one core")
    for name in grants:
        print(f"| {name} | {compared(results[name], RAW, results[RAW], None)} |")
    print()
    for name, rates in results.items():
        details("/token", name, rates, latency(rates))
    print(flush=True)


def check(ours: Server) -> None:
    """Every grant gives a token that PyJWT accepts, and what may be used once is not taken twice."""
    keys = jwt.PyJWKSet.from_dict(json.loads(contract.fetch(ours.port, contract.JWKS)[2]))
    once = assertion(ours)
    begun = granted(ours, "app", assertion(ours))
    answers = [
        granted(ours, "worker", client_credentials()),
        granted(ours, "often", assertion(ours)),
        granted(ours, "once", once),
        granted(ours, "backend", exchange()),
        granted(ours, "app", urlencode({"grant_type": "refresh_token", "refresh_token": begun["refresh_token"]})),
    ]
    for answer in answers:
        token = answer["access_token"]
        jwt.decode(
            token,
            keys[jwt.get_unverified_header(token)["kid"]],
            ["RS256"],
            audience=contract.AUDIENCE,
            issuer=ours.issuer,
        )
        contract.require(ours.name, answer["scope"] == peers.SCOPE, "the token lacks the scope")
    kind = "application/x-www-form-urlencoded"
    shown = by_assertion(ours)
    for body, authorization, refused in [(once, contract.basic("once", ours.secret), 400), (shown, "", 401)]:
        if not authorization:
            contract.require(
                ours.name, contract.fetch(ours.port, "/token", body, "", kind)[0] == 200, "an assertion is refused"
            )
        status = contract.fetch(ours.port, "/token", body, authorization, kind)[0]
        contract.require(ours.name, status == refused, f"what was used gets {status}")


def measure_peers(programs: Path, plan: Plan, folder: Path) -> None:
    hydra = peers.hydra_program(programs)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(authority(programs, folder))
        others = [stack.enter_context(peers.oidc_provider(folder)), stack.enter_context(peers.authlib(folder))]
        if hydra:
            others += [stack.enter_context(peers.hydra(hydra, folder, cheap)) for cheap in (False, True)]
        all_of_them = [Peer(ours, "/token", client_credentials()), *others]
        for one in all_of_them:
            peers.check(one)
        ask = {
            one.server.name: lambda seconds, one=one: form(
                one.server, one.server.client_id, one.form, seconds, one.path
            )
            for one in all_of_them
        }
        results = in_turns(plan, ask)
    heading("client_credentials for a JWT, RS256, over HTTP, one core")
    for one in others:
        name = one.server.name
        print(f"| its key has {one.bits} bits | {compared(results[ours.name], name, results[name], None)} |")
    if not hydra:
        print("| NOT MEASURED: Ory Hydra, because there is no Go on this machine | | | | | | | |")
    print()
    for name, rates in results.items():
        details("client_credentials", name, rates, latency(rates))
    print(flush=True)


def measure_refresh(programs: Path, plan: Plan, folder: Path) -> None:
    of_postgres = programs.parent / "benches" / "countersign-postgres"
    rows = []
    with authority(programs, folder, "SQLite") as ours:
        refresh(ours, folder, 1)
        size = engines.size_of_families(folder / "countersign" / "countersign.db")
        results = in_turns(
            plan,
            {
                "refresh_token": lambda seconds: refresh(ours, folder, seconds),
                "its updates": lambda seconds: engines.sqlite(folder, size, seconds),
            },
        )
        rows.append(("SQLite", results))
    own = folder / "on-postgres"
    own.mkdir()
    with engines.postgres(folder) as postgres, authority(programs, own, "Postgres", postgres.url, of_postgres) as ours:
        postgres.prepare_rows(size)
        results = in_turns(
            plan,
            {
                "refresh_token": lambda seconds: refresh(ours, own, seconds),
                "its updates": lambda seconds: postgres.updates(seconds, load.CONNECTIONS),
            },
        )
        rows.append(("Postgres", results))
    print(
        "| refresh_token over HTTP | turns of families | durable updates of the engine | ratio (lowest to highest) |\n|---|--:|--:|--:|"
    )
    for name, results in rows:
        pairs = list(zip(results["refresh_token"], results["its updates"], strict=True))
        ratios = sorted(mine.per_second / its.per_second for mine, its in pairs)
        middle = [sorted(one.per_second for one in each)[len(each) // 2] for each in results.values()]
        print(
            f"| {name} | {middle[0]:,.0f}/s | {middle[1]:,.0f}/s | {ratios[len(ratios) // 2]:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) |"
        )
    print(f"\na document of a family has {size} bytes; a turn is one read, one signature and one such update\n")
    for name, results in rows:
        for what, rates in results.items():
            each = [one.per_second for one in rates]
            print(f"{name}, {what}: {min(each):,.0f} to {max(each):,.0f}/s{latency(rates)}")
    print(flush=True)
