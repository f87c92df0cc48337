"""`mien labels` as a person types it."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.labels.conftest import cropped, turn_labels
from tests.pipelines.workspace import ROOT

__all__ = ["cropped"]


@pytest.fixture
def workspace(cropped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout after split, with small settings."""
    root = tmp_path / "checkout"
    shutil.copytree(cropped, root)
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    (root / "build/tune").mkdir()
    (root / "build/tune/best.yaml").write_text("values: {train.batch_size: 16, augment.strength: 0.0}\n")
    turn_labels(root)
    monkeypatch.chdir(root)
    return root


def test_it_says_what_it_found_and_where_it_is(mien: Command, workspace: Path) -> None:
    done = mien("labels", "--folds", "2", "--epochs", "1")
    assert done.code == 0, done.err
    assert "labels are suspected" in done.out and "nothing was changed" in done.out
    assert done.err.splitlines() == ["fold 1 of 2 done", "fold 2 of 2 done"]
    page = (workspace / "reports/labels/labels.html").read_text()
    assert "drawn sample: of" in page and "2 folds of\n    resnet16, at most 1 epoch each" in page
    assert (workspace / "reports/labels/labels.csv").is_file()


def test_mistakes_are_one_sentence(mien: Command, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "build/tune/best.yaml").write_text("values: {train.size: 16}\n")
    done = mien("labels")
    assert done.code == 1 and "there is no train.size" in done.err and done.err.count("\n") == 1
    (workspace / "build/tune/best.yaml").unlink()
    shutil.rmtree(workspace / "build/split")
    done = mien("labels")
    assert done.code == 1 and "split.json is missing; `dvc repro split`" in done.err and done.err.count("\n") == 1
    monkeypatch.setattr("mien.evaluation.label_noise.find_spec", lambda name: None)
    done = mien("labels")
    assert done.code == 1 and done.err == (
        "mien: `mien labels` needs cleanlab, which is not installed: "
        "`pip install -c constraints.txt '.[noise]'` brings it.\n"
    )
