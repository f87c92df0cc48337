"""`mien preset`, `mien data`, `mien models` and `mien detector` on the project's own configuration."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from mien.sources.source import source_class, source_names
from tests.cli.conftest import Command, refused

ROOT = Path(__file__).resolve().parents[2]


PARAMS = """\
# Which file of each group is used.
data: sample  # drawn
crop: grey48

# the network
model: resnet16
mine: 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the project's conf/ and a params.yaml that somebody has worked in; entered at a folder below."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    return tmp_path


def test_the_presets_are_listed_with_what_they_are_and_the_one_in_force_is_marked(mien: Command, here: Path) -> None:
    out = mien("preset").out
    for file in (ROOT / "conf/preset").glob("*.yaml"):
        assert file.stem in out
        first = file.read_text().splitlines()[0].removeprefix("# ")
        assert first in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert not [line for line in out.splitlines() if line.strip().startswith("* ")]
    mien("preset", "sample")
    (marked,) = [line for line in mien("preset").out.splitlines() if line.strip().startswith("* ")]
    assert "sample" in marked


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "conf/preset").glob("*.yaml")))
def test_every_preset_can_be_applied(mien: Command, here: Path, name: str) -> None:
    assert mien("preset", name).code == 0
    chosen = yaml.safe_load((here / "params.yaml").read_text())
    assert chosen.pop("mine") == 3
    assert chosen == yaml.safe_load((ROOT / f"conf/preset/{name}.yaml").read_text())


def test_comments_and_order_stay_and_the_changes_are_told_once(mien: Command, here: Path) -> None:
    out = mien("preset", "expw-vgg64").out
    assert "data      sample → expw" in out
    assert "optim     (none) → adam" in out
    assert "dvc repro" in out
    text = (here / "params.yaml").read_text()
    kept = ["# Which file of each group is used.", "data: expw # drawn", "# the network", "model: vgg64", "mine: 3"]
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert [line for line in lines if line in kept] == kept
    assert not list(here.glob("*.partial"))
    assert "→" not in mien("preset", "expw-vgg64").out
    assert (here / "params.yaml").read_text() == text


def test_without_params_they_are_written(mien: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    (here / "params.yaml").unlink()
    assert mien("preset", "sample").code == 0
    assert yaml.safe_load((here / "params.yaml").read_text())["data"] == "sample"


def test_what_is_wrong_is_named_and_nothing_is_written(mien: Command, here: Path) -> None:
    (here / "conf/preset/mine.yaml").write_text("# mine\nmodel: gone\n")
    for name, reason in (
        ("fer2103", "no preset 'fer2103' (did you mean fer2013?); the presets are expw, expw-cnn48"),
        ("mine", "there is no conf/model/gone.yaml"),
    ):
        done = mien("preset", name)
        assert (done.code, done.out) == (1, "") and reason in done.err
    assert (here / "params.yaml").read_text() == PARAMS
    (here / "params.yaml").write_text("data: [sample\n")
    assert "params.yaml, line 2 is not valid YAML" in mien("preset", "expw").err


def rows(out: str) -> dict[str, list[str]]:
    """The lines of the first table, by data set."""
    lines = [line.replace("*", " ").split() for line in out.split("expected files")[0].splitlines()]
    return {words[0]: words for words in lines if words}


def test_every_data_set_is_listed_and_whether_it_is_there(mien: Command, here: Path) -> None:
    (here / "data/sample").mkdir(parents=True)
    (here / "data/sample/label.lst").touch()
    (here / "data/expw").mkdir()
    out = mien("data").out
    table = rows(out)
    assert {file.stem for file in (here / "conf/data").glob("*.yaml")} <= set(table)
    there = {"sample": "yes", "expw": "no", "folder": "no"}  # an empty folder is no data set
    assert {name: table[name][-1] for name in there} == there
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


@pytest.mark.parametrize("command", ["preset", "data", "models"])
def test_without_a_checkout_it_says_where_to_go(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(mien(command), "change to a checkout of mien")


def test_every_model_is_listed_with_its_faces_parameters_and_cost(
    mien: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "conf/model/broken.yaml").write_text("name: resnet\nwidht: 4\n")
    (here / "params.yaml").write_text("model: cnn5x5\n")
    monkeypatch.setenv("COLUMNS", "140")
    lines = mien("models").out.splitlines()
    rows = {line.replace("*", " ").split()[0]: line for line in lines if line.strip()}
    assert {file.stem for file in (here / "conf/model").glob("*.yaml")} <= set(rows)
    for name, says in {
        "vgg64": ("64 px, rgb", "4,967,623", "153.4 M"),
        "cnn48": ("48 px, grey", "2,513,543"),
        "cnn5x5": ("48 px, grey", "1,375,175"),
        "mobilenetv2": ("any, at 224 px", "2,396,551", "299.7 M"),
        "resnet32": ("any", "1,227,623", "35.6 M"),
        "broken": ("conf/model/broken.yaml: there is no key",),
        "ensemble": ("its members decide",),
    }.items():
        assert all(part in rows[name] for part in says), rows[name]
    assert rows["cnn5x5"].strip().startswith("*")


def test_the_detectors_and_the_chosen_one(mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "haar cascade, frontal faces only comes with OpenCV" in " ".join(mien("detector").out.split())
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/predict.yaml").write_text("detector: yunet\n")
    assert "* yunet network, faster, finds more comes with mien" in " ".join(mien("detector").out.split())
    assert [row["chosen"] for row in json.loads(mien("detector", "--json").out)] == [True, False]
