"""Which faces an export is checked and calibrated on: the model's own, and never a test face."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.inference.address import open_measured
from mien.inference.export import NoOwnFaces, export_onnx, generated_faces, own_faces, photo_faces
from mien.inference.predictor import Predictor
from tests.inference.conftest import jpeg, portrait
from tests.inference.tiny import Export


def test_own_faces_are_validation_and_training_faces_never_test(exported: Export) -> None:
    packed = open_faces(exported.root / "build/crop")
    rows = {
        part: pd.read_parquet(exported.root / f"build/split/{part}.parquet")["row"] for part in ("train", "val", "test")
    }
    np.testing.assert_array_equal(exported.faces.checked, packed.pixels[np.sort(rows["val"])])
    assert exported.faces.calibration is not None
    assert set(map(bytes, exported.faces.calibration)) <= set(map(bytes, packed.pixels[rows["train"]]))
    assert not set(map(bytes, exported.faces.calibration)) & set(map(bytes, packed.pixels[rows["test"]]))


def test_a_registered_model_brings_the_digests_of_its_faces(exported: Export, saved: Path) -> None:
    """So that it does not matter how the checkout is split by now."""
    again = own_faces(open_measured(str(saved)), exported.root / "build/crop")
    np.testing.assert_array_equal(again.checked, exported.faces.checked)
    assert again.calibration is not None
    assert exported.faces.calibration is not None
    np.testing.assert_array_equal(again.calibration, exported.faces.calibration)


def test_missing_faces_are_said(exported: Export, tmp_path: Path) -> None:
    measured = exported.measured
    with pytest.raises(NoOwnFaces, match=r"learnt from are not here: .*crop is missing \(`dvc repro crop`\)"):
        own_faces(measured, tmp_path / "crop")
    assert measured.seen is not None
    strangers = dataclasses.replace(measured)
    strangers.__dict__["seen"] = measured.seen.assign(face_digest="0")
    with pytest.raises(NoOwnFaces, match=r"holds no faces that .* was trained and chosen with"):
        own_faces(strangers, exported.root / "build/crop")
    model = measured.loaded.model
    spec = dataclasses.replace(model.spec, cut=dataclasses.replace(model.spec.cut, margin=0.2))
    larger = dataclasses.replace(measured.loaded, model=dataclasses.replace(model, spec=spec))
    with pytest.raises(NoOwnFaces, match="cut otherwise than"):
        own_faces(dataclasses.replace(measured, loaded=larger), exported.root / "build/crop")


def test_a_folder_without_its_split_has_no_own_faces(exported: Export, tmp_path: Path) -> None:
    shutil.copytree(exported.root / "build/train", tmp_path / "build/train")
    with pytest.raises(NoOwnFaces, match="holds no faces"):
        own_faces(open_measured(str(tmp_path / "build/train")), exported.root / "build/crop")


def test_photos_and_generated_pictures_serve_where_there_are_no_own_faces(exported: Export, tmp_path: Path) -> None:
    predictor = Predictor(exported.measured.loaded)
    cut = exported.measured.loaded.spec.cut
    drawn = generated_faces(cut)
    assert drawn.checked.shape == (64, cut.size, cut.size, 1)
    assert drawn.checked.std() > 20
    with pytest.raises(UserError, match=r"int8 needs faces .*, and there are only 64 generated pictures"):
        export_onnx(exported.measured, drawn, tmp_path / "small.onnx", int8=True)
    (tmp_path / "a.jpg").write_bytes(jpeg(portrait()[0]))
    found = photo_faces(predictor, [tmp_path / "a.jpg"] * 40)
    assert len(found.checked) == 20
    assert found.calibration is not None
    assert len(found.calibration) == 20
    (tmp_path / "grey.jpg").write_bytes(jpeg(np.full((90, 90, 3), 100, np.uint8)))
    with pytest.raises(UserError, match="no face is found in these photos"):
        photo_faces(predictor, [tmp_path / "grey.jpg"])
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(UserError, match=r"text\.jpg cannot be used: "):
        photo_faces(predictor, [tmp_path / "text.jpg"])
