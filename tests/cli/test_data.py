"""`mien data` in a checkout with the project's own configuration."""

import shutil
from pathlib import Path

import pytest

from mien.sources.source import source_class, source_names
from tests.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text("data: sample\n")
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    return tmp_path


def rows(out: str) -> dict[str, list[str]]:
    """The lines of the first table, by data set."""
    lines = [line.replace("*", " ").split() for line in out.split("what it expects")[0].splitlines()]
    return {words[0]: words for words in lines if words}


def test_every_data_set_is_listed_and_whether_it_is_there(mien: Command, here: Path) -> None:
    (here / "data/sample").mkdir(parents=True)
    (here / "data/sample/label.lst").touch()
    (here / "data/expw").mkdir()
    out = mien("data").out
    table = rows(out)
    assert {file.stem for file in (here / "conf/data").glob("*.yaml")} <= set(table)
    assert {name: table[name][-1] for name in ("sample", "expw", "folder")} == {
        "sample": "yes",
        "expw": "no",  # an empty folder is no data set
        "folder": "no",
    }
    assert [line.split()[1] for line in out.splitlines() if line.strip().startswith("* ")] == ["sample"]
    assert max(map(len, out.splitlines())) <= 80


def test_every_source_is_listed_with_what_it_expects_and_its_options(
    mien: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = mien("data").out.splitlines()
    for name in source_names():
        (line,) = [line for line in lines if line.split()[:1] == [name] and source_class(name).expects in line]
        assert ("class_names" in line) == (name == "folder")


def test_without_a_checkout_it_says_where_to_go(mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = mien("data")
    assert (done.code, done.out) == (1, "")
    assert "go to a checkout of mien" in done.err
