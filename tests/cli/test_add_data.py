"""`mien data add` and `mien train`: a folder of photos becomes a data set that the stages read."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mien.base.settings import build_settings, read_yaml
from mien.sources.source import DataConfig, get_source
from tests.cli.conftest import Command, refused
from tests.inference.conftest import jpeg
from tools.sample.photo import draw_photo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository with the project's conf/ and choices, entered at a folder below."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copy(ROOT / "params.yaml", root)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    (root / "docs").mkdir()
    monkeypatch.chdir(root / "docs")
    return root


def album(folder: Path, *classes: str, part: str = "", whole: bool = True, photos: int = 3) -> Path:
    """Class folders of drawn photographs, or of their faces."""
    for k, name in enumerate(classes):
        (folder / part / name).mkdir(parents=True)
        for i in range(photos):
            photo, faces = draw_photo(np.random.default_rng([k, i]), [k % 7])
            top, left, right, bottom = faces[0].box
            shown = photo if whole else photo[max(top, 0) : bottom, max(left, 0) : right]
            (folder / part / name / f"{i}.jpg").write_bytes(jpeg(shown))
    return folder


def test_photographs_are_copied_described_chosen_and_tracked(mien: Command, here: Path, tmp_path: Path) -> None:
    photos = album(tmp_path / "My Photos", "angry", "joyful", "sad")
    (photos / "sad/note.jpg").write_text("no photo")
    before = {file: file.read_bytes() for file in photos.rglob("*.jpg")}
    refused_first = mien("data", "add", photos)
    assert refused_first.code == 1 and "--map FOLDER=CLASS" in refused_first.err and "joyful" in refused_first.err
    assert sorted(file.name for file in (here / "conf/data").iterdir()) == sorted(
        file.name for file in (ROOT / "conf/data").iterdir()
    )
    done = mien("data", "add", photos, "--map", "joyful=happy")
    assert done.code == 0, done.err
    assert "9 faces in 9 photos" in done.out and "whole photographs in which YuNet finds the faces" in done.out
    assert "angry 3, disgust 0, fear 0, happy 3, sad 3" in done.out
    assert "1 row or file cannot be used: not_an_image 1" in done.out and "sad/note.jpg: " in done.out
    assert not (here / "docs/.mien").exists()  # what was found is the checkout's, and `ingest` need not search again
    data = here / "data/my-photos"
    assert {file: (data / file.relative_to(photos)).read_bytes() for file in before} == before
    assert (here / "data/my-photos.dvc").is_file()
    chosen = yaml.safe_load((here / "params.yaml").read_text())
    assert chosen == {**yaml.safe_load((here / "conf/preset/small.yaml").read_text()), "data": "my-photos"}
    config = build_settings(DataConfig, read_yaml(here / "conf/data/my-photos.yaml"), "my-photos")
    assert len(get_source(config).ingest(here / config.path).faces) == 9
    assert "*  my-photos" in mien("data").out


def test_cut_faces_with_parts_are_taken_whole_and_may_be_moved(mien: Command, here: Path, tmp_path: Path) -> None:
    faces = album(tmp_path / "faces", "angry", "sad", part="train", whole=False)
    album(faces, "angry", "sad", part="test", whole=False, photos=1)
    done = mien("data", "add", faces, "--name", "lab", "--move")
    assert done.code == 0, done.err
    assert "8 faces in 8 photos" in done.out and "YuNet" not in done.out and "parts: train 6, test 2" in done.out
    assert not faces.exists() and len(list((here / "data/lab").rglob("*.jpg"))) == 8
    assert read_yaml(here / "conf/data/lab.yaml")["options"] == {}


def test_nothing_is_overwritten_and_mistakes_are_one_sentence(mien: Command, here: Path, tmp_path: Path) -> None:
    photos = album(tmp_path / "faces", "angry", "sad", whole=False)
    refused(mien("data", "add", photos, "--name", "sample"), "conf/data/sample.yaml is there already")
    refused(mien("data", "add", tmp_path / "gone"), "gone: there is no such folder.")
    refused(mien("data", "add", photos, "--map", "angry"), "--map takes FOLDER=CLASS")
    refused(mien("data", "add", photos, "--name", "a b"), "name must be letters")
    refused(mien("data", "add", here.parent), "contains this checkout's data/")
    (here / "data/faces.partial/angry").mkdir(parents=True)  # of a run that was killed
    assert mien("data", "add", photos).code == 0
    refused(mien("data", "add", photos), "data/faces is there already")
    assert sorted(file.name for file in (here / "data").iterdir()) == [".gitignore", "faces", "faces.dvc"]


def test_train_needs_a_checkout_and_hands_on_how_the_stages_end(
    mien: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(mien("train"), "there is no dvc.yaml")
    (here / "dvc.yaml").write_text("stages:\n  one:\n    cmd: exit 3\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert mien("train").code not in (0, 3)
