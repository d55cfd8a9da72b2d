"""What is built for these tests: once, and whole or not at all. What a machine lacks is said, or fails where `CI` is set."""

import fcntl
import shutil

import pytest
import toolchains
from judges import LIBRARIES, Judges


def test_a_build_is_kept_and_one_that_failed_is_not(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    with pytest.raises(ZeroDivisionError), toolchains.built(folder) as draft:
        draft.mkdir()
        raise ZeroDivisionError
    assert not folder.exists()
    with toolchains.built(folder) as draft:
        draft.mkdir()
        (draft / "program").write_text("1")
    with toolchains.built(folder) as draft:
        assert draft is None, "it is there"
    assert (folder / "program").read_text() == "1"
    with open(tmp_path / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", lambda *_: pytest.fail("it waits for the build of another program"))
        with toolchains.built(folder) as draft:
            assert draft is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "lock"]


def test_a_build_is_named_by_every_byte_it_is_made_from(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    files = [tmp_path / "a", tmp_path / "b"]
    name = toolchains.digest(files, tmp_path, "go1")
    assert name == toolchains.digest(files[::-1], tmp_path, "go1")
    assert name != toolchains.digest(files, tmp_path, "go2")
    (tmp_path / "b").write_text("3")
    assert name != toolchains.digest(files, tmp_path, "go1")


def test_a_machine_without_go_and_java_says_which_libraries_are_left_out(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name in ("go", "java", "javac", "mvn") else name)
    monkeypatch.delenv("CI", raising=False)
    bare = Judges()
    try:
        assert set(bare.missing) == {"Go", "Java"} and bare.libraries == LIBRARIES["Python"] + LIBRARIES["Node"]
        with pytest.warns(UserWarning, match="NOT TESTED: .*go-oidc, golang-jwt, jwx, because there is no Go"):
            assert bare.lacks("jwx")
        with pytest.warns(UserWarning, match="NOT TESTED: .*Nimbus.*, because there is no JDK with Maven"):
            assert bare.lacks("Nimbus")
        assert not bare.lacks("PyJWT")
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception, match="NOT TESTED: .*jwx"):
            bare.lacks("jwx")
    finally:
        bare.end()
