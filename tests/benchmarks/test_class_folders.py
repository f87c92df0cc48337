"""FER2013 written out as class folders is FER2013; the faces that the search for duplicates is measured on."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.class_folders import write_class_folders
from benchmarks.duplicates import enlarged, measure
from mien.base.errors import UserError
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.sources.fer2013 import Fer2013
from mien.sources.folder import Folder
from mien.sources.source import Source
from tests.fer_csv import row, unpacked_fer2013, write_csv
from tests.photosets import picture

USAGES = ("Training", "Training", "Training", "PublicTest", "PrivateTest")


def cropped(source: Source, folder: Path, out: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """What identifies each packed face, and the pixels, both in the order of the csv's rows."""
    out.mkdir()
    config = CropConfig(size=48, colour="grey", workers=1)
    crop_faces(source.ingest(folder).faces, source.photos(folder, out / "unpacked"), config, out, progress=False)
    packed = open_faces(out)
    index = packed.index.assign(name=packed.index["image"].map(lambda image: Path(image).stem))
    order = index.sort_values("name").index.to_numpy()
    return index.loc[order, ["name", "label", "source_split"]].reset_index(drop=True), packed.pixels[order]


@pytest.mark.parametrize(("form", "farthest"), [("png", 0), ("jpg", 40)])
def test_the_folders_give_the_faces_of_the_csv(tmp_path: Path, form: str, farthest: int) -> None:
    write_csv(tmp_path / "csv", [row(i, label=i % 7, usage=USAGES[i % 5]) for i in range(70)])
    report = write_class_folders(tmp_path / "csv", tmp_path / "folders", form)
    assert report == {"faces": {"train": 42, "validation": 14, "test": 14}, "problems": {}}
    index, pixels = cropped(Fer2013(), tmp_path / "csv", tmp_path / "a")
    written, read_back = cropped(Folder(), tmp_path / "folders", tmp_path / "b")
    pd.testing.assert_frame_equal(index, written)
    assert np.abs(pixels.astype(int) - read_back).max() <= farthest


def test_numbered_folders_hold_so_many_rows_of_each_expression(tmp_path: Path) -> None:
    write_csv(tmp_path / "csv", [row(i, label=i % 7, usage=USAGES[i % 5]) for i in range(70)])
    report = write_class_folders(tmp_path / "csv", tmp_path / "folders", "png", numbered=40)
    assert report == {"faces": 40, "problems": {}}
    written = Folder(numbering="fer2013").ingest(tmp_path / "folders").faces
    whole = Fer2013().ingest(tmp_path / "csv").faces.set_index("image")["label"]
    assert len(written) == 40
    assert written["source_split"].eq("").all()
    assert written["label"].tolist() == [whole[Path(image).stem] for image in written["image"]]
    with pytest.raises(UserError, match="has 70 usable faces, and 71 were asked for"):
        write_class_folders(tmp_path / "csv", tmp_path / "more", "png", numbered=71)


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    write_csv(tmp_path / "csv", [row(0)])
    with pytest.raises(UserError, match="is there already; remove it"):
        write_class_folders(tmp_path / "csv", tmp_path / "csv", "png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["csv"]


@pytest.mark.slow
@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_whole_of_fer2013_and_its_conflicting_labels(tmp_path: Path) -> None:
    unpacked_fer2013(tmp_path / "csv")
    write_class_folders(tmp_path / "csv", tmp_path / "folders", "png")
    ingested = Folder().ingest(tmp_path / "folders")
    assert ingested.problems["reason"].value_counts().to_dict() == {"conflicting_labels": 160}  # in 57 groups
    assert len(ingested.faces) == 35_887 - 160
    kept = Folder(conflicting_labels="keep").ingest(tmp_path / "folders").faces
    assert kept["source_split"].value_counts().to_dict() == {"train": 28_709, "val": 3_589, "test": 3_589}


def drawn() -> np.ndarray:
    return np.stack([picture(48, 48, seed, blur=12)[..., :1] for seed in range(60)])


def test_the_search_finds_the_copies() -> None:
    report = measure(enlarged(drawn(), 200))
    assert report["pairs"] >= 100
    assert report["near_duplicates"] >= 100 and report["groups"] <= 80


def test_copies_are_the_same_each_time_and_none_is_its_original() -> None:
    faces = enlarged(drawn(), 100)
    np.testing.assert_array_equal(faces, enlarged(drawn(), 100))
    assert len(np.unique(faces.reshape(100, -1), axis=0)) == 100
    np.testing.assert_array_equal(enlarged(drawn(), 20), drawn()[:20])
