"""The pages of docs/aws: their commands are run, their configurations checked, and what they link to is there.

A ```toml block behind `<!-- config -->` is a configuration, or a part of one: the issuer is added where it is missing.
What needs an AWS account is not marked; a page says so with the words "with an account".
"""

import re
from pathlib import Path

import pytest
from e2e.blocks import blocks, environment, run
from e2e.program import free_port, private, secret_hash

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "aws").glob("*.md"))
CONFIG = re.compile(r"^<!-- config -->\n+```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Pages without commands: an index, and one about what a single machine cannot show.
ONLY_TEXT = {"README.md", "high-availability.md"}


def text_of(page):
    return page.read_text(encoding="utf-8")


def configurations(page):
    found = CONFIG.findall(text_of(page))
    assert text_of(page).count("<!-- config -->") == len(found), "a mark without a block right behind it"
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ONLY_TEXT], ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(page, binary, tmp_path):
    found = blocks(re.sub(r"\b8080\b", str(free_port()), text_of(page)))
    assert found and any(block.expected for block in found), "a page whose commands show nothing"
    folder = tmp_path / "work"
    folder.mkdir()
    run(found, folder, environment(binary, tmp_path))


CONFIGURED = [(page, number) for page in PAGES for number in range(len(configurations(page)))]


@pytest.mark.parametrize(("page", "number"), CONFIGURED, ids=lambda value: value.stem if isinstance(value, Path) else str(value))
def test_the_configurations_of_a_page_are_good(page, number, full_world, pem):
    text = configurations(page)[number].replace("sha256:…", secret_hash())
    if not text.startswith("issuer"):
        text = f'issuer = "https://auth.example.com"\n\n{text}'
    private(full_world.folder / "countersign.toml", text)
    if "jaas" in text:
        variables = {"JAAS_APP_ID": "vpaas-magic-cookie-1", "JAAS_API_KID": "vpaas-magic-cookie-1/1", "PRIVATE_KEY": pem["rsa"].read_text()}
        full_world.environment |= variables
    full_world.done("config", "check", "--config", "countersign.toml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text_of(page)):
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text_of(other), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_settings_that_a_page_names_exist(page):
    known = text_of(ROOT / "docs" / "configuration.md").replace("rings.NAME.", "rings.")
    sections = "store|sealing|server|tokens|jwks|rotation|limits|log|rings|profiles|publish|gate|clients|trust"
    for name in re.findall(rf"`((?:{sections})\.[a-z_0-9]+)", text_of(page)):
        assert f"`{name}`" in known or f"`{name.replace('.', '[].', 1)}`" in known, f"{page.name}: {name}"


def test_the_index_names_every_page():
    index = text_of(ROOT / "docs" / "aws" / "README.md")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index] == []
