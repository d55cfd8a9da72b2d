"""The README's commands, and the runner that runs them and those of other pages."""

from pathlib import Path

import pytest
from e2e.blocks import blocks, environment as environment_of, is_taken, run
from ports import free_port

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture
def environment(binary, tmp_path):
    return environment_of(binary, tmp_path)


def test_the_readme_does_what_it_says(environment, tmp_path):
    assert README.exists(), "there is no README.md"
    found = blocks(README.read_text(encoding="utf-8"))
    assert found, "README.md has no block marked for testing"
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment)


EXAMPLE = """
<!-- test: start background -->
```sh
countersign serve --listen 127.0.0.1:@PORT@
```
<!-- output -->
```text
issuer: http://127.0.0.1:@PORT@
  curl -u first:… http://127.0.0.1:@PORT@/sign
```
Not marked: it would fail.
```sh
false
```
<!-- test: mint -->
```sh
countersign sign --claims '{"sub":"alice"}' > token
```
<!-- test: verify -->
```sh
countersign verify "$(cat token)"
```
<!-- output -->
```text
valid: signed with RS256 by key …
```
"""


def test_the_runner_itself_runs_blocks_and_fails_on_wrong_ones(environment, tmp_path):
    number = str(free_port())
    example = EXAMPLE.replace("@PORT@", number)
    for name, text in [("good", example), ("failing", example + "<!-- test: x -->\n```sh\nfalse | true\n```\n"),
                       ("silent", example + "<!-- test: y -->\n```sh\necho a\n```\n<!-- output -->\n```text\nb\n```\n")]:
        folder = tmp_path / name / "work"
        folder.mkdir(parents=True)
        if name == "good":
            run(blocks(text), folder, dict(environment))
        else:
            with pytest.raises(AssertionError, match="exit code 1" if name == "failing" else "not in"):
                run(blocks(text), folder, dict(environment))
        assert not is_taken(int(number))
    with pytest.raises(AssertionError):
        blocks("<!-- test: lost -->\nno block\n")
