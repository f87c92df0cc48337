"""Class folders through ingest, crop and split, as DVC runs them."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.crop.packed import open_faces
from pipelines.__main__ import run_stage
from tests.photosets import encode, photo, picture

FOLDER = "data/folder"


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`train/` with 12 photos and `validation/` with 3 of each class, in a folder that every user may enter."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for seed in range(15 * 7):
        part, name = "train" if seed < 12 * 7 else "validation", EXPRESSIONS[seed % 7]
        file = root / FOLDER / part / name / f"{seed}.{'png' if seed % 2 else 'jpg'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(picture(48, 48, seed), "PNG" if seed % 2 else "JPEG"))
    monkeypatch.chdir(root)
    yield root
    shutil.rmtree(root)


def run_all() -> None:
    run_stage("ingest", ["data=folder"])
    run_stage("crop", ["data=folder", "crop=grey48"])
    run_stage("split", ["split=grouped"])


def quarantine() -> dict[str, str]:
    rows = pd.read_csv("build/crop/quarantine.csv", keep_default_na=False)
    return dict(zip(rows["where"], rows["reason"], strict=True))


def test_a_validation_folder_stays_and_the_test_part_comes_out_of_training(workspace: Path) -> None:
    run_all()
    parts = {name: pd.read_parquet(f"build/split/{name}.parquet") for name in ("train", "val", "test")}
    assert set(parts["val"]["source_split"]) == {"val"} and len(parts["val"]) == 21
    assert set(parts["test"]["source_split"]) == set(parts["train"]["source_split"]) == {"train"}
    assert len(parts["test"]) + len(parts["train"]) == 84 and len(parts["test"]) >= 14
    assert json.loads(Path("reports/split.json").read_text())["official_split"]
    packed = open_faces(workspace / "build/crop")
    assert packed.pixels.shape == (105, 48, 48, 1)
    assert (packed.index[["top", "left", "right", "bottom"]] == (0, 0, 48, 48)).all(axis=None)


def test_broken_photos_stand_in_quarantine_with_their_path_and_class(workspace: Path) -> None:
    bad = Path(FOLDER) / "train/sad"
    for form in ("JPEG", "PNG", "WEBP"):
        data = encode(picture(48, 48, 500), form)
        (bad / f"short.{form.lower()}").write_bytes(data[: len(data) * 3 // 4])
    (bad / "nothing.png").write_bytes(b"")
    (bad / "text.jpg").write_text("this is no photo")
    (bad / "Thumbs.db").write_bytes(photo())
    run_stage("ingest", ["data=folder"])
    run_stage("crop", ["data=folder", "crop=grey48"])
    assert quarantine() == {
        **{f"train/sad/short.{form}": "truncated" for form in ("jpeg", "png", "webp")},
        "train/sad/nothing.png": "empty_file",
        "train/sad/text.jpg": "not_an_image",
        "train/sad/Thumbs.db": "not_a_photo",
    }
    dropped = json.loads(Path("reports/crop.json").read_text())["dropped"]
    assert all(set(classes) == {"sad"} for classes in dropped.values())


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Root may read everything; so, where the tests run as root, somebody else for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_photo_that_may_not_be_read_is_named(workspace: Path) -> None:
    forbidden = Path(FOLDER) / "train/sad/4.jpg"
    forbidden.chmod(0)
    Path(FOLDER, "train/happy/twin.jpg").write_bytes(b"x" * forbidden.stat().st_size)  # which makes ingest look closer
    workspace.chmod(0o777)
    with ordinary_user():
        run_stage("ingest", ["data=folder"])
        run_stage("crop", ["data=folder", "crop=grey48"])
    assert quarantine() == {"train/sad/4.jpg": "unreadable_file", "train/happy/twin.jpg": "not_an_image"}


def test_a_folder_that_may_not_be_read_stops_the_stage(workspace: Path) -> None:
    Path(FOLDER, "train/sad").chmod(0)
    workspace.chmod(0o777)
    with ordinary_user(), pytest.raises(PermissionError, match="train/sad"):  # run_stage makes a sentence of it
        run_stage("ingest", ["data=folder"])
