"""The detectors behind their one door: settings, files, threads, and photos of odd shapes."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.base.errors import UserError
from mien.inference.annotation import overlap
from mien.runtime.cut import Box
from mien.sources.detect import HAAR, CascadeDetector, Detector, PredictConfig, build_detector, turn_of
from tests.inference.conftest import portrait, portraits

Build = Callable[..., Detector]


@pytest.fixture
def build() -> Build:
    return lambda name, **settings: build_detector(PredictConfig(detector=name, **settings))


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_a_face_is_found_with_its_score_if_there_is_one(build: Build, name: str) -> None:
    photo, box = portrait()
    (found,) = build(name).detect(photo)
    assert overlap(found.box, box) > 0.4
    assert found.score is None if name != "yunet" else 0.7 <= (found.score or 0) <= 1


def test_finds_most_drawn_faces_where_they_were_drawn(build: Build) -> None:
    detector = build("haar")
    hits = [any(overlap(found.box, box) > 0.3 for found in detector.detect(photo)) for photo, box in portraits()]
    assert sum(hits) >= len(hits) / 2


def test_two_faces_come_from_left_to_right_and_lie_in_the_photo(build: Build) -> None:
    photo, box = portrait()
    height, width = photo.shape[:2]
    found = build("haar").detect(np.concatenate([photo, photo], axis=1))
    assert len(found) == 2
    assert found[0].box.left < found[1].box.left
    assert overlap(found[1].box, Box(box.top, box.left + width, box.right + width, box.bottom)) > 0.4
    assert all(0 <= b.top < b.bottom <= height and 0 <= b.left < b.right <= 2 * width for b, *_ in found)


def test_boxes_of_a_large_photo_are_in_its_own_pixels() -> None:
    photo, box = portrait()
    larger = cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    shrinking = CascadeDetector(longest=2 * max(photo.shape))  # searched at a third of its size
    (found,) = shrinking.detect(larger)
    assert overlap(found.box, Box(*(6 * edge for edge in box))) > 0.4
    assert shrinking.smallest(*larger.shape[:2]) == 120
    assert shrinking.smallest(*photo.shape[:2]) == 40


@pytest.mark.parametrize("name", ["haar", "yunet"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 1), (7, 9, 3), (1, 5000, 3), (20000, 30, 1), (39, 39, 3)])
def test_a_photo_too_small_or_too_narrow_has_no_face(build: Build, name: str, shape: tuple[int, ...]) -> None:
    assert build(name).detect(np.full(shape, 128, np.uint8)) == []


def test_the_nose_tells_how_far_a_face_is_turned_and_a_tilted_head_does_not() -> None:
    front, half = [30, 40, 70, 40, 50, 60], [30, 40, 70, 40, 65, 60]
    tilted = [value for x, y in np.reshape(half, (3, 2)) for value in (0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y)]
    assert [turn_of(marks) for marks in (front, half)] == [0, 0.375]
    assert turn_of(tilted) == pytest.approx(0.375)
    assert turn_of([30, 40, 30, 40, 90, 60]) == 0  # both eyes in one place
    assert turn_of([30, 40, 31, 40, 90, 60]) == 1
    assert turn_of([30, np.inf, 70, 40, 50, 60]) is None


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_grey_photos_and_panoramas(build: Build, name: str) -> None:
    photo, box = portrait()
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
    (found,) = build(name).detect(grey)
    assert overlap(found.box, box) > 0.4
    left, right = (np.full((len(photo), width, 3), 200, np.uint8) for width in (600, 900))
    (found,) = build(name).detect(np.concatenate([left, photo, right], axis=1))
    assert overlap(found.box, box._replace(left=box.left + 600, right=box.right + 600)) > 0.4


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_faces_below_the_minimum_are_left_out(build: Build, name: str) -> None:
    photo, box = portrait()
    above = 2 * max(box.bottom - box.top, box.right - box.left)
    assert build(name, min_face=above).detect(np.concatenate([photo, photo, photo], axis=1)) == []
    assert build(name, min_face=60).smallest(400, 500) == 60


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_threads_get_the_boxes_of_their_own_photo(build: Build, name: str) -> None:
    """Photos of different sizes, asked for at once by several threads of one detector."""
    detector = build(name)
    photos = [photo for photo, _ in portraits(12)]
    alone = [detector.detect(photo) for photo in photos]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            assert list(threads.map(detector.detect, photos)) == alone


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA names no folder of real photos")
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("bald_guys.jpg", 23, 25), ("selfie-many-people.jpg", 4, 7), ("couple.jpg", 2, 2), ("dogs.jpg", 0, 0)],
)
def test_people_and_no_dogs(build: Build, name: str, least: int, most: int) -> None:
    photo = cv2.imread(str(Path(os.environ["MIEN_REAL_DATA"]) / "photos" / name), cv2.IMREAD_COLOR_RGB)
    assert least <= len(build("haar").detect(photo)) <= most


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA names no folder of real photos")
def test_the_score_parts_people_from_dogs(build: Build) -> None:
    folder = Path(os.environ["MIEN_REAL_DATA"]) / "photos"
    photos = {name: cv2.imread(str(folder / f"{name}.jpg"), cv2.IMREAD_COLOR_RGB) for name in ("bald_guys", "dogs")}
    assert len(build("yunet").detect(photos["bald_guys"])) == 24
    assert build("yunet", min_score=0.9).detect(photos["dogs"]) == []
    assert all(found.score > 0.9 for found in build("yunet", min_score=0.9).detect(photos["bald_guys"]))


def test_a_cascade_of_ones_own_takes_the_place_of_haars() -> None:
    default = HAAR.with_name("haarcascade_frontalface_default.xml")
    detector = build_detector(PredictConfig(detector="haar", detector_file=str(default)))
    assert detector.name == "cascade haarcascade_frontalface_default.xml"
    assert detector.detect(portrait()[0])


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(UserError, match=r"gone\.xml: there is no such file; detector_file must be a file of"):
        build_detector(PredictConfig(detector_file="gone.xml"))


@pytest.mark.parametrize(("name", "kind"), [("haar", "cascade"), ("yunet", "YuNet network")])
@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 20])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, kind: str, content: bytes) -> None:
    (tmp_path / "file.xml").write_bytes(content)
    with pytest.raises(UserError, match=rf"file\.xml: is not a {kind} that OpenCV can read\."):
        build_detector(PredictConfig(detector=name, detector_file=str(tmp_path / "file.xml")))
