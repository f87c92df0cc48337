"""`mien data add` and `mien train`: a folder of photos becomes a data set that the stages read."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from mien.base.settings import build_settings, read_settings, read_yaml
from mien.sources.fingerprints import short_digest
from mien.sources.source import DataConfig, get_source
from mien.split.parts import assign_groups
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


def album(folder: Path, *classes: str, part: str = "", whole: bool = True, photos: int = 3, first: int = 0) -> Path:
    """Class folders of drawn photographs, or of their faces."""
    for k, name in enumerate(classes):
        (folder / part / name).mkdir(parents=True)
        for i in range(first, first + photos):
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


@pytest.fixture
def lab(mien: Command, here: Path, tmp_path: Path) -> Path:
    """Twelve faces in data/lab, which DVC tracks."""
    assert mien("data", "add", album(tmp_path / "lab", "angry", "sad", whole=False, photos=6)).code == 0
    return here / "data/lab"


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_photos_join_a_data_set_and_the_moved_faces_are_counted(mien: Command, lab: Path, tmp_path: Path) -> None:
    before = content(lab)
    source = get_source(build_settings(DataConfig, read_yaml(lab.parents[1] / "conf/data/lab.yaml"), "lab"))
    more = album(tmp_path / "M\u00e4rz 1", "angry", "unhappy", whole=False, first=6, photos=4)
    (more / "angry/Thumbs.db").write_text("no photo")
    done = mien("data", "add", more, "--to", "lab", "--map", "unhappy=sad")
    assert done.code == 0, done.err
    assert "8 faces in 8 photos" in done.out and "angry 4" in done.out and "sad 4" in done.out
    assert "not added: 0 photos already there, 1 other file" in done.out
    added = {name.replace("unhappy", "sad"): data for name, data in content(more).items() if "Thumbs" not in name}
    assert content(lab) == before | added
    parts = []
    for present in (before, content(lab)):  # as `split` draws them, from faces that are all photos of their own
        faces = source.ingest(lab).faces
        faces = faces[faces["image"].isin(present)].sort_values("image", ignore_index=True)
        faces["photo_digest"] = [short_digest(content(lab)[name]) for name in faces["image"]]
        config = read_settings(lab.parents[1] / "conf", "split", "grouped")
        parts.append(dict(zip(faces["image"], assign_groups(faces, np.arange(len(faces)), config), strict=True)))
    moved = sum(parts[1][name] != part for name, part in parts[0].items())
    assert f"data/lab has 20 faces now; of the 12 before, {moved} change part." in done.out and moved
    assert (
        subprocess.check_output([sys.executable, "-m", "dvc", "status", "-q", "data/lab.dvc"], cwd=lab.parents[1])
        == b""
    )
    again = mien("data", "add", more, "--to", "lab", "--map", "unhappy=sad", "--move")
    assert "No face of" in again.out and "8 photos already there" in again.out
    assert list(content(more)) == ["angry/Thumbs.db"] and content(lab) == before | added


def test_an_addition_that_does_not_fit_adds_nothing(mien: Command, lab: Path, tmp_path: Path) -> None:
    before = content(lab)
    clash = album(tmp_path / "clash", "sad", "angry", whole=False, photos=1)
    refused(
        mien("data", "add", clash, "--to", "lab"), "two different photos would be data/lab/angry/0.jpg; rename yours."
    )
    for inside in (lab, lab / "sad", lab.parent):
        refused(mien("data", "add", inside, "--to", "lab", "--move"), "lie in each other")
    parts = album(tmp_path / "parts", "angry", part="train", whole=False, first=9)
    refused(mien("data", "add", parts, "--to", "lab"), "does not fit data/lab, so nothing is added; --map FOLDER=CLASS")
    near = album(tmp_path / "near", "angry", "suprise", whole=False, first=9)
    refused(mien("data", "add", near, "--to", "lab"), "class_names: {suprise: surprise}")
    eighth = album(tmp_path / "eighth", "contempt", whole=False, first=9)
    refused(mien("data", "add", eighth, "--to", "lab"), "contempt is no class of it; it has angry, disgust, fear,")
    (tmp_path / "other/sad").mkdir(parents=True)
    shutil.copy(lab / "angry/0.jpg", tmp_path / "other/sad/new.jpg")
    refused(mien("data", "add", tmp_path / "other", "--to", "lab"), "angry/0.jpg of it is also among your photos")
    refused(mien("data", "add", clash, "--to", "lba"), "there is no conf/data/lba.yaml (did you mean lab?)")
    refused(mien("data", "add", clash, "--to", "sample"), "sample is read as source expw")
    refused(mien("data", "add", clash, "--to", "lab", "--name", "lab"), "--name makes a data set, and --to adds to one")
    assert content(lab) == before
    assert sorted(file.name for file in lab.parent.iterdir()) == [".gitignore", "lab", "lab.dvc"]


def test_after_a_kill_the_same_command_ends_an_addition(mien: Command, lab: Path, tmp_path: Path) -> None:
    calls = ("shutil.copy2", 2), ("pathlib.Path.rename", 1), ("pathlib.Path.rename", 2), ("shutil.rmtree", 2)
    for k, (name, number) in enumerate(calls):
        before, more = content(lab), album(tmp_path / str(k), "angry", "sad", whole=False, first=6 + k, photos=1)
        kill = f"""
import os, pathlib, shutil
from mien.cli.main import main
done, count = {name}, []
def killed(*arguments, **options):
    count.append(0)
    if len(count) == {number}:
        os.kill(os.getpid(), 9)
    return done(*arguments, **options)
{name} = killed
main()"""
        command = [sys.executable, "-c", kill, "data", "add", str(more), "--to", "lab"]
        around = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        assert subprocess.run(command, env=around, check=False).returncode == -signal.SIGKILL, name
        assert before.items() <= content(lab).items() <= (before | content(more)).items(), name
        assert mien("data", "add", more, "--to", "lab").code == 0
        assert content(lab) == before | content(more), name
        assert sorted(file.name for file in lab.parent.iterdir()) == [".gitignore", "lab", "lab.dvc"]


def test_train_needs_a_checkout_and_hands_on_how_the_stages_end(
    mien: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(mien("train"), "there is no dvc.yaml")
    (here / "dvc.yaml").write_text("stages:\n  one:\n    cmd: exit 3\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert mien("train").code not in (0, 3)
