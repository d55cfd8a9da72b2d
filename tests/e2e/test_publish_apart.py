"""What is published is read by everybody, so no target is the store, in it or around it, nor holds a sealing key."""

import pytest
from e2e.program import CONFIG, client, private


@pytest.mark.parametrize("place", [".", "countersign", "countersign/../countersign", "link"])
def test_a_folder_that_holds_the_store_is_refused(world, place):
    world.configure()
    world.done("keys", "init")
    (world.folder / "link").symlink_to("countersign")
    line = world.fails(78, "holds the store, ", "publish", place)
    assert "everybody reads what is published" in line and "./public" in line
    assert line == world.fails(78, "holds the store", "keys", "rotate", "--publish", place)
    assert not list(world.folder.rglob(".well-known"))
    world.done("publish", "countersign/public")


def test_a_folder_that_holds_the_sealing_key_is_refused(world):
    (world.folder / "site").mkdir()
    world.configure(CONFIG + '\n[sealing]\nkey = "file:../site/sealing.key"\n' + client("tests"))
    world.done("keys", "init")
    world.fails(78, "site holds a sealing key, ", "publish", "site")
    world.done("publish", "public")


def test_a_folder_with_the_store_of_another_configuration_is_refused(world):
    world.configure()
    world.done("keys", "init")
    (world.folder / "site").mkdir()
    world.done("keys", "init", env={"COUNTERSIGN_STORE__URL": f"sqlite:{world.folder}/site/other.store"})
    world.fails(78, "site holds a store of Countersign", "publish", "site")
    (world.folder / "site/other.store").unlink()
    (world.folder / "site/not-ours.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    world.done("publish", "site")


@pytest.mark.parametrize(
    "store, target, refused",
    [
        ("s3://my-bucket/countersign", "s3://my-bucket/countersign", True),
        ("s3://my-bucket/countersign", "s3://my-bucket/countersign/public/", True),
        ("s3://my-bucket/countersign", "s3://my-bucket", True),
        ("s3://my-bucket", "S3://my-bucket/public", True),
        ("s3://my-bucket/countersign", "s3://my-bucket/countersign-public", False),
        ("s3://my-bucket/countersign", "s3://other-bucket/countersign", False),
    ],
)
def test_a_bucket_that_is_the_store_is_refused_before_anybody_is_asked(full_world, store, target, refused):
    world = full_world
    text = CONFIG + f'\n[store]\nurl = "{store}?region=eu-west-1"\n\n[publish]\ntarget = "{target}"\n'
    world.configure(text + client("tests"))
    done = world.run("config", "check")
    if not refused:
        assert done.returncode in (0, 78) and "overlap" not in done.stderr, done
        return
    assert done.returncode == 78 and "publish.target: " in done.stderr and "overlap" in done.stderr, done
    keys = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert "overlap" in world.fails(78, "store.url", "publish", target, env=keys)


def test_a_target_that_is_none_is_found_by_the_check(full_world):
    full_world.configure(CONFIG + '\n[publish]\ntarget = "https://my-bucket.example"\n' + client("tests"))
    line = full_world.fails(78, "publish.target: https://my-bucket.example is neither a folder nor a bucket", "config", "check")
    assert "s3://BUCKET/PREFIX" in line


def test_what_is_not_ours_may_be_there(world):
    world.configure()
    world.done("keys", "init")
    (world.folder / "site").mkdir()
    private(world.folder / "site/sealing.key", "somebody else's")
    world.done("publish", "site")
