"""The Haar cascade on drawn and, where they are, on real photos."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.inference.detectors import CascadeDetector
from mien.runtime.cut import Box
from tests.inference.conftest import overlap, portrait, portraits


@pytest.fixture(scope="module")
def detector() -> CascadeDetector:
    return CascadeDetector()


def test_finds_most_drawn_faces_where_they_were_drawn(detector: CascadeDetector) -> None:
    hits = [any(overlap(found.box, box) > 0.3 for found in detector.detect(photo)) for photo, box in portraits()]
    assert sum(hits) >= len(hits) / 2


def test_two_faces_come_from_left_to_right_and_lie_in_the_photo(detector: CascadeDetector) -> None:
    photo, box = portrait()
    height, width = photo.shape[:2]
    found = detector.detect(np.concatenate([photo, photo], axis=1))
    assert len(found) == 2
    assert found[0].box.left < found[1].box.left
    assert overlap(found[1].box, Box(box.top, box.left + width, box.right + width, box.bottom)) > 0.4
    assert all(0 <= b.top < b.bottom <= height and 0 <= b.left < b.right <= 2 * width for b, _ in found)


def test_a_grey_photo_gives_the_same_boxes(detector: CascadeDetector) -> None:
    photo, _ = portrait()
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    assert detector.detect(grey) == detector.detect(photo)


def test_boxes_of_a_large_photo_are_in_its_own_pixels() -> None:
    photo, box = portrait()
    larger = cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    shrinking = CascadeDetector(longest=2 * max(photo.shape))  # searched at a third of its size
    (found,) = shrinking.detect(larger)
    assert overlap(found.box, Box(*(6 * edge for edge in box))) > 0.4
    assert shrinking.smallest(*larger.shape[:2]) == 120
    assert shrinking.smallest(*photo.shape[:2]) == 40


@pytest.mark.parametrize("shape", [(1, 1, 3), (30, 400, 3), (39, 39, 1), (1, 5000, 3)])
def test_a_photo_too_small_for_a_face_has_none(detector: CascadeDetector, shape: tuple[int, ...]) -> None:
    assert detector.detect(np.full(shape, 128, np.uint8)) == []


@pytest.mark.parametrize("wrong", [{"scale_step": 1.0}, {"neighbours": 0}, {"smallest": 10}, {"longest": 30}])
def test_settings_that_find_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        CascadeDetector(**wrong)


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA names no folder of real photos")
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("bald_guys.jpg", 23, 25), ("selfie-many-people.jpg", 4, 7), ("couple.jpg", 2, 2), ("dogs.jpg", 0, 0)],
)
def test_people_and_no_dogs(detector: CascadeDetector, name: str, least: int, most: int) -> None:
    photo = cv2.imread(str(Path(os.environ["MIEN_REAL_DATA"]) / "photos" / name), cv2.IMREAD_COLOR_RGB)
    assert least <= len(detector.detect(photo)) <= most
