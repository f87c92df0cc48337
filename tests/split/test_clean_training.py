"""What the audit says of identical pixels, and what a clean training leaves out."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.cropping import crop_faces
from mien.crop.packed import open_faces
from mien.crop.selection import CropConfig
from mien.sources.fer2013 import Fer2013
from mien.split.parts import SplitConfig, split_faces
from tests.fer_csv import unpacked_fer2013
from tests.split.test_parts import packed

PLAIN = SplitConfig(near_duplicates=False)
CLEAN = SplitConfig(near_duplicates=False, clean_training=True)
OFFICIAL = ["train"] * 60 + ["val"] * 20 + ["test"] * 20


def test_identical_pixels_are_counted_within_and_across_parts() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 91: 70, 75: 6, 20: 10, 21: 10, 95: 93})
    for config in (PLAIN, CLEAN):
        assert split_faces(faces, config).audit["identical_pixels"] == {
            "groups": 5,
            "groups_with_conflicting_labels": 4,
            "test_faces_also_in_train": 1,
            "test_faces_also_in_train_or_val": 2,
            "val_faces_also_in_train": 1,
        }


def test_a_clean_training_leaves_out_copies_repeats_and_constant_faces() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 91: 70, 75: 6, 20: 10, 21: 10})
    for row, colour in ((30, 0), (31, 0), (32, 200), (80, 0)):
        faces.pixels[row] = colour
        faces.index.loc[row, "face_digest"] = f"one colour {colour}"
    split = split_faces(faces, CLEAN)
    assert split.left_out[["face_id", "reason"]].to_numpy().tolist() == [
        ["f5", "copy_of_val_or_test"],
        ["f6", "copy_of_val_or_test"],
        ["f20", "repeat"],
        ["f21", "repeat"],
        ["f30", "constant_face"],
        ["f31", "constant_face"],
        ["f32", "constant_face"],
    ]
    assert split.left_out["detail"].tolist()[1:3] == ["the pixels of f75", "the pixels of f10, which stays"]
    kept = {f"f{i}" for i in range(60)} - set(split.left_out["face_id"])
    assert set(split.parts["train"]["face_id"]) == kept
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [53, 20, 20]
    cleaned = split.audit["clean_training"]
    assert cleaned["reasons"] == {"constant_face": 3, "copy_of_val_or_test": 2, "repeat": 2}
    assert (cleaned["left_out"], cleaned["repeats_labelled_otherwise"]) == (7, 1)
    # what leaked from training alone leaks no more; what validation and test share still does
    leaked = {name: set(rows.loc[rows["leaked"], "face_id"]) for name, rows in split.parts.items()}
    assert leaked == {"train": set(), "val": set(), "test": {"f91"}}
    assert split.digest != split_faces(faces, PLAIN).digest


def test_without_the_option_nothing_is_left_out() -> None:
    split = split_faces(packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 20: 10}), PLAIN)
    assert split.left_out.empty and list(split.left_out) == ["face_id", "image", "label", "reason", "detail"]
    assert split.audit["clean_training"] is None
    assert len(split.parts["train"]) == 60


def test_a_training_of_nothing_but_copies_is_refused() -> None:
    faces = packed([0, 1, 0, 1], official=["train", "train", "val", "test"], twins={0: 2, 1: 3})
    with pytest.raises(UserError, match="clean_training leaves no face to train on"):
        split_faces(faces, CLEAN)


def test_a_data_set_without_a_split_of_its_own_is_cleaned_after_it_was_shared_out() -> None:
    faces = packed([i % 2 for i in range(200)], twins={i: i - 1 for i in range(1, 40, 2)})
    split = split_faces(faces, CLEAN)
    parts = pd.concat(split.parts.values())
    assert len(parts) + len(split.left_out) == 200 and set(split.left_out["reason"]) == {"repeat"}
    assert split.parts["train"]["face_digest"].is_unique


def test_a_near_copy_leaks_as_an_exact_one_does_and_stays_in_a_clean_training() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5})
    faces.pixels[:] = np.random.default_rng(0).integers(0, 256, faces.pixels.shape)  # so that no others are alike
    faces.pixels[90] = faces.pixels[5]
    faces.pixels[91] = faces.pixels[7] // 2 + 50  # the same face, duller
    faces.index.loc[91, "face_digest"] = "duller"
    leaked = {}
    for clean in (False, True):
        split = split_faces(faces, SplitConfig(clean_training=clean))
        leaked[clean] = set(split.parts["test"].loc[split.parts["test"]["leaked"], "face_id"])
    assert leaked == {False: {"f90", "f91"}, True: {"f91"}}


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_audit_of_the_real_fer2013(tmp_path: Path) -> None:
    unpacked_fer2013(tmp_path / "data")
    source = Fer2013()
    photos = source.photos(tmp_path / "data", tmp_path / "unpacked")
    config = CropConfig(size=48, colour="grey")
    crop_faces(
        source.ingest(tmp_path / "data").faces, photos, config, tmp_path, classes=EXPRESSIONS, progress=False
    )  # fmt: skip
    faces = open_faces(tmp_path)
    audit = split_faces(faces, PLAIN).audit
    assert audit["identical_pixels"] == {
        "groups": 1516,
        "groups_with_conflicting_labels": 57,
        "test_faces_also_in_train": 288,
        "test_faces_also_in_train_or_val": 314,
        "val_faces_also_in_train": 280,
    }
    assert audit["constant_faces"] == 12
    assert (audit["leaked_test_faces"], audit["leaked_val_faces"]) == (314, 280)
    clean = split_faces(faces, CLEAN)
    assert len(clean.parts["train"]) == 26942
    assert clean.audit["clean_training"]["reasons"] == {
        "constant_face": 11,
        "copy_of_val_or_test": 692,
        "repeat": 1064,
    }
    left = np.stack([faces.pixels[row].ravel() for row in clean.parts["train"]["row"]])
    assert len(np.unique(left, axis=0)) == 26942
