"""What the pages say exists: links, commands, presets, make targets."""

import dataclasses
import re
from importlib import import_module
from pathlib import Path

import pytest

from mien.base.settings import GROUPS
from tools.reference import pages

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_make_target_and_command_exists(page: Path) -> None:
    from mien.cli.main import app

    text = page.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", text)) <= targets
    commands = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    commands |= {group.name or "" for group in app.registered_groups}
    assert set(re.findall(r"`mien ([a-z]+)", text)) <= commands


def test_the_results_list_every_reference_preset() -> None:
    results = (ROOT / "docs/evidence/results.md").read_text()
    assert all(f"\n| {p.stem} |" in results for p in (ROOT / "conf/preset").glob("expw-*.yaml"))


def test_the_configuration_page_lists_every_group_and_choice() -> None:
    table = [line for line in CONFIGURATION.splitlines() if line.startswith("| `")]
    for group in GROUPS:
        (row,) = [line for line in table if line.startswith(f"| `{group}` |")]
        listed = set(re.findall(r"`([^`]+)`", row.split("|")[3]))
        assert listed == {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}, group


def test_the_configuration_page_names_the_optional_keys() -> None:
    (line,) = re.findall(r"Optional, as(.*?)\n- ", CONFIGURATION, flags=re.DOTALL)
    optional = {
        field.name
        for module, schema in GROUPS.values()
        for field in dataclasses.fields(getattr(import_module(module), schema))
        if field.metadata.get("optional")
    }
    assert set(re.findall(r"`([^`]+)`", line)) == optional | {
        "data",
        "split",
        "model",
        "augment",
        "optim",
        "train",
        "tune",
    }


@pytest.mark.parametrize("page", pages())
def test_the_reference_is_that_of_the_code(page: str) -> None:
    written = pages()[page]
    assert (ROOT / "docs/reference" / page).read_text() == written, "out of date; run python -m tools.reference"
    assert "|  |" not in written  # each key and each option has its meaning
