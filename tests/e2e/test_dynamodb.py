"""Keys in DynamoDB (MiniStack, over the wire): the table, two servers on it, an outage under a running server, the way there and back."""

import base64
import concurrent.futures
import json
from functools import partial
from pathlib import Path

import pytest
from e2e import aws, stores
from e2e.program import free_port
from e2e.stores import configuration, ready, sign

NAMES = iter(range(1_000_000))


@pytest.fixture
def table():
    """A name that no other test has."""
    return f"countersign-{next(NAMES)}"


@pytest.fixture
def dynamo_world(full_world, relay):
    """The program with everything in it, in an empty folder, and credentials and endpoint in its environment."""
    full_world.environment |= aws.variables(relay.url)
    yield full_world
    shown = full_world.log if (full_world.folder / "log").exists() else ""
    for secret in (aws.KEY_ID, aws.SECRET, aws.TOKEN):
        assert secret not in shown


def items(ministack, table):
    """The items of a table, by key."""
    return {item["key"]["S"]: item for item in ministack.client("dynamodb").scan(TableName=table, ConsistentRead=True)["Items"]}


def test_a_table_is_made_once_by_store_create_and_never_by_serve(dynamo_world, ministack, table):
    world, url = dynamo_world, f"dynamodb://{table}"
    world.configure(configuration(f'url = "{url}"'))
    for command in [("serve",), ("keys", "list"), ("store", "check")]:
        world.fails(78, "there is no such table; make it with `countersign store create`", *command)
    assert table not in ministack.client("dynamodb").list_tables()["TableNames"]

    assert world.done("store", "create") == f"made {url}\n"
    assert world.done("store", "create") == f"{url} is there already\n"
    assert json.loads(world.done("store", "create", url, "--json")) == {"made": False, "notes": []}
    client = ministack.client("dynamodb")
    made = client.describe_table(TableName=table)["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST" and made["DeletionProtectionEnabled"]
    assert client.describe_time_to_live(TableName=table)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED", "AttributeName": "ttl",
    }
    world.done("sign", "--claims", "{}")
    checked = json.loads(world.done("store", "check", "--json"))
    (key,) = world.keys()
    assert checked == {
        "documents": 1, "keyrings": 1, "keys": 1, "keys_opened": True, "others": 0,
        "sealed_by": {key["sealed_by"]: 1}, "kms": 0, "data_keys": 0,
    }

    client.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"})
    assert "time to live is off" in world.done("store", "check")
    assert "time to live is off" in json.loads(world.done("store", "check", "--json"))["remarks"][0]
    done = world.done("store", "create")
    assert "is there already" in done and "is on now, on the attribute `ttl`" in done


def test_of_many_that_make_a_table_at_once_one_makes_it_and_all_succeed(dynamo_world, table):
    command = ("store", "create", f"dynamodb://{table}", "--json")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = [json.loads(text) for text in pool.map(lambda _: dynamo_world.done(*command), range(6))]
    assert sorted(one["made"] for one in done) == [False] * 5 + [True], done


def test_a_table_of_another_shape_is_refused(dynamo_world, ministack, table):
    ministack.client("dynamodb").create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
    )
    dynamo_world.configure(configuration(f'url = "dynamodb://{table}"'))
    for command in [("serve",), ("store", "create"), ("store", "check")]:
        dynamo_world.fails(78, 'its partition key is "id"', *command)


def test_two_servers_on_one_empty_table_make_one_key_and_both_take_up_the_next(dynamo_world, table, pem):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    stores.two_servers_make_one_key_and_both_take_up_the_next(dynamo_world, f"dynamodb://{table}", pem)


def test_a_server_goes_on_through_an_outage_of_dynamodb_and_says_so_after_max_stale(dynamo_world, relay, table):
    url = f"dynamodb://{table}"
    dynamo_world.done("store", "create", url)
    assert url in stores.a_server_goes_on_through_an_outage(dynamo_world, url, relay.shut, relay.unshut)


def test_an_assertion_is_taken_once_by_whichever_server(dynamo_world, table):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    stores.an_assertion_is_taken_once_by_whichever_server(dynamo_world, f"dynamodb://{table}")


def test_a_proof_is_taken_once_by_whichever_server(dynamo_world, table):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    stores.a_proof_is_taken_once_by_whichever_server(dynamo_world, f"dynamodb://{table}")


def test_a_family_of_refresh_tokens_lives_through_fire_on_one_table(dynamo_world, table):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    stores.a_family_lives_through_fire(dynamo_world, f"dynamodb://{table}")


def test_a_server_killed_between_its_write_and_its_answer_has_turned_a_family_once(
        dynamo_world, ministack, relay, table):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    killing = partial(stores.killing_over_http, relay)
    families = lambda: {key: item for key, item in items(ministack, table).items() if key.startswith("refresh/")}
    stores.a_server_killed_between_its_write_and_its_answer_has_turned_once(
        dynamo_world, f"dynamodb://{table}", killing, families)


def test_a_family_of_refresh_tokens_lives_with_clocks_apart_on_one_table(dynamo_world, table):
    dynamo_world.done("store", "create", f"dynamodb://{table}")
    stores.a_family_lives_with_clocks_apart_and_lost_answers(dynamo_world, f"dynamodb://{table}")


def test_a_table_that_goes_back_takes_no_key_from_verifiers(dynamo_world, ministack, table):
    url, client = f"dynamodb://{table}", ministack.client("dynamodb")
    dynamo_world.done("store", "create", url)

    def clear():
        for item in client.scan(TableName=table, ConsistentRead=True)["Items"]:
            client.delete_item(TableName=table, Key={"key": item["key"]})

    stores.a_store_that_goes_back_takes_no_key_from_verifiers(dynamo_world, url, clear)


def test_a_store_moves_from_sqlite_to_dynamodb_and_back_and_tokens_made_before_verify_after(dynamo_world, ministack, table):
    url = f"dynamodb://{table}"
    dynamo_world.fails(78, "there is no such table", "store", "check", url)
    dynamo_world.done("store", "create", url)

    def look(later):
        found = items(ministack, table)
        assert found["family/1"]["bytes"] == {"B": b"family/1"} and found["family/1"]["expires_at"] == {"N": str(later)}
        assert "expires_at" not in found["family/2"] and "family/gone" not in found

    def lose():
        ministack.client("dynamodb").delete_item(TableName=table, Key={"key": {"S": "family/2"}})

    stores.a_store_moves_from_sqlite_and_back(dynamo_world, url, look, lose)


def test_check_names_items_that_are_damaged(dynamo_world, ministack, table):
    world = dynamo_world
    world.configure(configuration(f'url = "dynamodb://{table}"'))
    world.done("store", "create")
    world.done("sign", "--claims", "{}")
    client = ministack.client("dynamodb")
    client.put_item(TableName=table, Item={"key": {"S": "foreign"}, "version": {"S": "v"}, "bytes": {"S": "CONTENT"}})
    complaint = world.fails(1, "1 of 2 documents damaged: foreign: ", "store", "check")
    assert "its `bytes` should be binary (B) and is a string (S)" in complaint and "CONTENT" not in complaint


def test_the_table_of_the_documentation_is_one_that_works(dynamo_world, ministack, table):
    page = (Path(__file__).parents[2] / "docs/stores.md").read_text(encoding="utf-8")
    template = page.split("```yaml\n")[1].split("```")[0]
    assert template.count("TableName: countersign\n") == 1
    template = template.replace("TableName: countersign\n", f"TableName: {table}\n")
    ministack.client("cloudformation").create_stack(StackName=table, TemplateBody=template)
    dynamo_world.configure(configuration(f'url = "dynamodb://{table}"'))
    dynamo_world.done("sign", "--claims", "{}")
    assert json.loads(dynamo_world.done("store", "check", "--json"))["keys"] == 1
    # MiniStack's CloudFormation passes over these.
    assert "TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }" in template
    assert ministack.client("dynamodb").describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"]


def test_what_keeps_aws_from_answering_is_said_without_a_secret(dynamo_world, relay, table):
    world, url = dynamo_world, f"dynamodb://{table}"
    world.configure(configuration(f'url = "{url}"'))
    everything = dict(world.environment)

    def says(code, text, without=(), **more):
        world.environment = {name: value for name, value in everything.items() if name not in without} | more
        for command in [("keys", "list"), ("serve",), ("store", "create")]:
            complaint = world.fails(code, text, *command)
            assert not any(secret in complaint for secret in (aws.KEY_ID, aws.SECRET, aws.TOKEN))

    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    says(78, "there are no AWS credentials; set AWS_PROFILE", without=credentials)
    says(78, "no AWS region is set; set AWS_REGION", without=("AWS_REGION",))
    says(70, "cannot be reached", AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    world.environment = everything
    for wrong, text in [
        (f"dynamodb://{aws.KEY_ID}:{aws.SECRET}@{table}", "credentials have no place in it"),
        (f"{url}?endpoint=http://192.0.2.1:8000", "`endpoint` is https://HOST"),
        (f"{url}?token={aws.TOKEN}", "known are region, endpoint"),
    ]:
        complaint = world.fails(78, text, "store", "create", wrong)
        assert aws.SECRET not in complaint and aws.TOKEN not in complaint
    # Region and endpoint of the URL go before the environment.
    del world.environment["AWS_REGION"]
    world.environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    world.done("store", "create", f"{url}?region={aws.REGION}&endpoint={relay.url}")


def test_store_create_makes_the_other_stores_too(full_world, postgres):
    url = postgres.database()
    for typed in ("sqlite:new.db", url):
        made = [json.loads(full_world.done("store", "create", typed, "--json"))["made"] for _ in range(2)]
        assert made == [True, False], typed
    assert (full_world.folder / "new.db").exists()
    assert "tester" not in full_world.done("store", "create", url)
    full_world.fails(78, "there is nothing to make", "store", "create", "memory:")
    full_world.fails(78, "countersign init", "store", "create")


def test_a_build_without_dynamodb_says_which_one_has_it(world, table):
    world.configure()
    for command in [("sign", "--claims", "{}"), ("serve",), ("store", "create")]:
        world.fails(78, "build it with --features dynamodb", *command, env={"COUNTERSIGN_STORE__URL": f"dynamodb://{table}"})


def test_no_level_of_the_log_shows_what_is_sent_to_aws(dynamo_world, ministack, table):
    world = dynamo_world
    world.configure(configuration(f'url = "dynamodb://{table}"'))
    world.done("store", "create")
    server = world.serve(env={"COUNTERSIGN_LOG__LEVEL": "trace"})
    ready(server.printed["issuer"])
    sign(server.printed["issuer"])
    item = items(ministack, table)["keyring"]
    content = item["bytes"]["B"]
    assert "countersign::audit" in world.log, "the log is there"
    private = json.loads(content)["content"]["rings"]["default"]["keys"][0]["private"]["ciphertext"]
    for secret in (aws.KEY_ID, aws.SECRET, aws.TOKEN, private, base64.b64encode(content).decode()[:64]):
        assert secret not in world.log, secret
