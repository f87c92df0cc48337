"""A photo goes through the predictor as a training photo goes through the DAG."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.inference.address import load_model_of
from mien.inference.predictor import Predictor
from mien.runtime.cut import Box
from mien.runtime.session import softmax
from mien.sources.detect import Detection, Detector, PredictConfig
from mien.sources.photos import FolderPhotos
from mien.sources.source import faces_table
from tests.inference.conftest import jpeg, pixels_of, portraits, write_model

BOXES = [(20, 30, 90, 95), (-6, 10, 60, 70), (5, 5, 45, 140), (30, 40, 55, 62), (100, 90, 175, 180)]


class GivenBoxes(Detector):
    """A detector that knows beforehand."""

    name = "given boxes"

    def __init__(self, boxes: list[tuple[int, ...]]) -> None:
        self.boxes = [Box(*box) for box in boxes]

    def detect(self, photo: np.ndarray) -> list[Detection]:
        return [Detection(box, 0.9) for box in self.boxes]

    def smallest(self, height: int, width: int) -> int:
        return 1


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("cut", [{}, {"margin": 0.2}, {"square": True}, {"margin": 0.1, "square": True}])
def test_the_same_pixels_as_the_training_packs(tmp_path: Path, colour: str, cut: dict[str, Any]) -> None:
    """Pixel by pixel, through the JPEG file, also where a box leaves the photo."""
    (tmp_path / "photos").mkdir()
    rows: dict[str, list[Any]] = {key: [] for key in ("face_id", "image", "top", "left", "right", "bottom", "label")}
    for number, (photo, _) in enumerate(portraits(4)):
        (tmp_path / f"photos/{number}.jpg").write_bytes(jpeg(photo))
        for i, box in enumerate(BOXES):
            values = (f"{number}-{i}", f"{number}.jpg", *box, 3)
            for key, value in zip(rows, values, strict=True):
                rows[key].append(value)
    config = CropConfig(size=48, colour=colour, workers=1, **cut)
    (tmp_path / "crop").mkdir()
    crop_faces(faces_table(rows), FolderPhotos(tmp_path / "photos"), config, tmp_path / "crop", progress=False)
    packed = open_faces(tmp_path / "crop")
    model = write_model(tmp_path / "build", colour=colour, **cut)
    predictor = Predictor(load_model_of(str(model)), detector=GivenBoxes(BOXES))
    cut_now = {}
    for number in range(4):
        photo = pixels_of(predictor, (tmp_path / f"photos/{number}.jpg").read_bytes())
        inside = [i for i in range(len(BOXES)) if f"{number}-{i}" in set(packed.index["face_id"])]
        faces = predictor.cut(photo, [BOXES[i] for i in inside])
        cut_now.update({f"{number}-{i}": face for i, face in zip(inside, faces, strict=True)})
    assert len(cut_now) == len(packed.index) >= 16
    for row, face_id in zip(packed.index["row"], packed.index["face_id"], strict=True):
        np.testing.assert_array_equal(cut_now[face_id], packed.pixels[row])


def test_probabilities_are_calibrated_and_in_the_order_of_the_expressions(tmp_path: Path) -> None:
    predictor = Predictor(load_model_of(str(write_model(tmp_path, temperature=0.25))), detector=GivenBoxes(BOXES[:2]))
    photo = portraits(1)[0][0]
    first, second = predictor.predict(photo)
    faces = predictor.cut(photo, BOXES[:2])
    expected = softmax(predictor.model.logits(faces), 0.25)
    assert list(first.probabilities) == list(EXPRESSIONS)
    np.testing.assert_allclose([list(f.probabilities.values()) for f in (first, second)], expected, rtol=1e-5)
    assert first.label == EXPRESSIONS[int(expected[0].argmax())]
    assert first.box == BOXES[0]
    np.testing.assert_allclose(predictor.model.probabilities(faces), expected, rtol=1e-5)


def test_of_too_many_faces_the_largest_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    few = Predictor(load_model_of(str(write_model(tmp_path))), GivenBoxes(BOXES), PredictConfig(max_faces=2))
    found = few.find_faces(portraits(1)[0][0])
    assert [tuple(face.box) for face in found.detections] == [BOXES[0], BOXES[4]]
    assert (len(found.pixels), found.left_out) == (2, 3)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_grey_and_colour_photos_suit_every_network(tmp_path: Path, colour: str) -> None:
    predictor = Predictor(load_model_of(str(write_model(tmp_path, colour=colour))), detector=GivenBoxes(BOXES[:1]))
    photo = portraits(1)[0][0]
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    from_grey, from_colour = predictor.cut(grey, BOXES[:1]), predictor.cut(photo, BOXES[:1])
    assert from_grey.shape == from_colour.shape == (1, 48, 48, predictor.model.spec.cut.channels)
    if colour == "grey":
        np.testing.assert_array_equal(from_grey, from_colour)
    assert len(predictor.predict(grey)) == 1


def test_the_temperature_lies_beside_the_weights_or_is_told(tmp_path: Path) -> None:
    model = write_model(tmp_path, temperature=1.7)
    assert Predictor(load_model_of(str(model))).model.spec.temperature == 1.7
    (tmp_path / "evaluate/temperature.json").unlink()
    assert Predictor(load_model_of(str(model))).model.spec.temperature is None


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is no such folder"):
        Predictor(load_model_of(str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=r"holds no model"):
        Predictor(load_model_of(str(tmp_path)))
    model = write_model(tmp_path)
    (model / "lineage.json").write_text("{")
    with pytest.raises(UserError, match=r"lineage\.json is damaged"):
        Predictor(load_model_of(str(model)))
