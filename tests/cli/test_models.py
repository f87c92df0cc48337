"""`mien models` in a checkout with the project's own configuration."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text("model: cnn5x5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path


def test_every_model_is_listed_with_its_faces_parameters_and_cost(mien: Command, here: Path) -> None:
    lines = mien("models").out.splitlines()
    rows = {line.replace("*", " ").split()[0]: line for line in lines if line.strip()}
    assert {file.stem for file in (here / "conf/model").glob("*.yaml")} <= set(rows)
    for name, says in {
        "vgg64": ("64 px, rgb", "4,967,623", "153.4 M"),
        "cnn48": ("48 px, grey", "2,513,543"),
        "cnn5x5": ("48 px, grey", "1,375,175"),
        "mobilenetv2": ("any, at 224 px", "2,396,551", "299.7 M"),
        "resnet32": ("any", "1,227,623", "35.6 M"),
    }.items():
        assert all(part in rows[name] for part in says), rows[name]
    assert rows["cnn5x5"].strip().startswith("*")


def test_a_checkout_without_models_says_where_to_go(mien: Command, here: Path) -> None:
    shutil.rmtree(here / "conf/model")
    done = mien("models")
    assert done.code == 1
    assert "go to a checkout of mien" in done.err
