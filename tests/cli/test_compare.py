"""`mien compare` on a real store: the table, the page, JSON, and its sentences."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.comparison.conftest import STRONG, WEAK, id_of, store

__all__ = ["store"]


def test_it_prints_a_table_and_writes_a_page_that_holds_everything(mien: Command, store: Path) -> None:
    a, b = id_of(WEAK), id_of(STRONG)
    done = mien("compare", a[:10], b[:10])
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80 or "/" in done.out.splitlines()[-1]
    assert re.search(r"accuracy +0\.\d{3} +0\.\d{3} +\+0\.\d{3} +\+0\.\d{3} to \+0\.\d{3} +B", done.out)
    assert "settings that differ: none" in done.out
    page = (store / "reports/compare.html").read_text()
    for said in (a[:8], b[:8], "Who is right", "McNemar", "Only B is right", "How they learnt", "B is more accurate"):
        assert said in page
    assert page.count("data:image/png") > 10  # the faces on which they disagree, and the curves
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page


def test_without_the_crop_faces_are_named(mien: Command, store: Path, tmp_path: Path) -> None:
    shutil.rmtree(store / "build/crop")
    page = tmp_path / "new" / "page.html"
    assert mien("compare", id_of(WEAK), id_of(STRONG), "--out", page).code == 0
    text = page.read_text()
    assert text.count("data:image/png") == 2  # the curves, light and dark
    assert "Without pictures" in text
    assert re.search(r"<th>p\d+-\d</th>", text)


def test_json_is_all_that_is_printed(mien: Command, store: Path) -> None:
    done = mien("compare", id_of(WEAK), ".", "--json")
    found = json.loads(done.out)
    assert found["paired"]["differences"]["accuracy"]["low"] > 0
    assert found["b"]["source"] == str(store)
    assert len(found["paired"]["disagreements"]) > 0
    assert not (store / "reports/compare.html").exists()


@pytest.mark.parametrize(
    ("said", "reason"),
    [("nothing-like-it", "there is no run 'nothing-like-it'"), ("half done", "has no evaluation/predictions.csv")],
)
def test_what_cannot_be_compared_is_one_sentence(mien: Command, store: Path, said: str, reason: str) -> None:
    done = mien("compare", said, ".")
    assert (done.code, done.out) == (1, "")
    assert reason in done.err and done.err.startswith("mien: ") and done.err.count("\n") == 1
