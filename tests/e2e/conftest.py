"""What the end-to-end tests have beyond the shared fixtures: folders of their own, and keys made by openssl."""

import subprocess

import pytest
import toolchains
from e2e import aws, program
from e2e import mongo as mongo_server
from e2e import postgres as postgres_server
from servers.mongo_java import MongoJava


@pytest.fixture
def world(binary, tmp_path):
    """An empty folder and the program in it; whatever was started there is killed at the end."""
    one = program.World(binary, tmp_path)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def full_world(full_binary, tmp_path):
    """The same with the program that has everything in it."""
    one = program.World(full_binary, tmp_path)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture(scope="session")
def postgres():
    """A running Postgres; a test that stops it starts it again."""
    server = postgres_server.Postgres()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def mongo(tmp_path_factory, request):
    """A running MongoDB, of which a test that stops it starts it again; the stand-in where there is no Java."""
    try:
        server = MongoJava(tmp_path_factory.mktemp("mongo"))
    except toolchains.Missing as why:
        toolchains.not_tested("mongo-java-server as MongoDB", why)
        yield request.getfixturevalue("mongo_stand_in")
        return
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def mongo_stand_in():
    """The stand-in of the tests' own, for what no other has."""
    server = mongo_server.Mongo()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def relay(ministack):
    """A port in front of MiniStack, for anyone who wants to see, spoil or shut off what it is asked."""
    yield from relayed(ministack)


@pytest.fixture
def s3_relay(s3):
    """The same in front of S3."""
    yield from relayed(s3)


def relayed(server):
    one = aws.Relay(server.port)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def aws_world(full_world, ministack):
    """The program with everything in it, where it finds credentials and a region."""
    own = {name: value for name, value in full_world.environment.items() if not name.startswith("AWS_")}
    full_world.environment = own | aws.variables(ministack.url)
    return full_world


def openssl(*arguments, input=None):
    return subprocess.run(
        ["openssl", *map(str, arguments)], input=input, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.fixture(scope="session")
def pem(tmp_path_factory):
    """Private keys by name, each a PEM file: rsa (2048 bits, PKCS#8), rsa1024, ec (P-256)."""
    folder = tmp_path_factory.mktemp("pem")
    made = {name: folder / f"{name}.pem" for name in ("rsa", "rsa1024", "ec")}
    rsa = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt"]
    openssl(*rsa, "rsa_keygen_bits:2048", "-out", made["rsa"])
    openssl(*rsa, "rsa_keygen_bits:1024", "-out", made["rsa1024"])
    openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", made["ec"])
    return made
