"""Faces drawn from action units."""

from collections import defaultdict

import cv2
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS, N_EXPRESSIONS
from tools.sample import features
from tools.sample.action_units import draw_units
from tools.sample.pen import Pen, curve, ellipse
from tools.sample.person import Person, draw_person
from tools.sample.photo import draw_photo
from tools.sample.pose import Pose


def units(**intensities: float) -> defaultdict[int, float]:
    return defaultdict(float, {int(name[2:]): value for name, value in intensities.items()})


@pytest.fixture
def person() -> Person:
    return draw_person(np.random.default_rng(1))


def test_photo_holds_a_face_per_label() -> None:
    image, faces = draw_photo(np.random.default_rng(3), [3, 4, 6])
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert [face.label for face in faces] == [3, 4, 6]
    lefts = [face.box[1] for face in faces]
    assert lefts == sorted(lefts) and len(set(lefts)) == 3
    for top, left, right, bottom in (face.box for face in faces):
        assert 55 <= right - left == bottom - top <= 165
        height, width = image.shape[:2]
        assert 0 < (top + bottom) / 2 < height and 0 < (left + right) / 2 < width


def test_photo_is_a_function_of_its_generator() -> None:
    first, second, other = (draw_photo(np.random.default_rng(seed), [0])[0] for seed in (5, 5, 6))
    assert np.array_equal(first, second)
    assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("labels", [[], [7], [0, -1]])
def test_labels_that_are_none_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="EXPRESSIONS"):
        draw_photo(np.random.default_rng(0), labels)


def test_box_over_the_edge_leaves_the_photo_by_a_few_pixels() -> None:
    lefts = [draw_photo(np.random.default_rng(seed), [6], over_edge=True)[1][0].box[1] for seed in range(12)]
    assert min(lefts) >= -30
    assert np.mean([left < 0 for left in lefts]) > 0.6


def test_mouth_follows_its_action_units(person: Person) -> None:
    rest = features.mouth(person, units())
    smile, frown = features.mouth(person, units(au12=1)), features.mouth(person, units(au15=1))
    assert smile.corner_y < rest.corner_y < frown.corner_y  # y points down
    assert smile.corner_x > rest.corner_x
    dropped = features.mouth(person, units(au26=1))
    assert dropped.lower - dropped.upper > 0.2 > rest.lower - rest.upper
    assert features.mouth(person, units(au23=1)).upper_lip < 0.6 * rest.upper_lip


def test_brows_and_lids_follow_their_action_units(person: Person) -> None:
    def heights(**intensities: float) -> list[float]:
        return [-float(y) for y in features.brow(person, units(**intensities), 1.0)[:, 1]]

    rest = heights()
    inner, outer, lowered = heights(au1=1), heights(au2=1), heights(au4=1)
    assert inner[0] - rest[0] > inner[3] - rest[3]
    assert outer[3] - rest[3] > outer[0] - rest[0]
    assert lowered[0] < rest[0]
    openings = [np.ptp(features.eye(person, units(**{name: 1.0}), 1.0)[:, 1]) for name in ("au7", "au99", "au5")]
    assert openings == sorted(openings) and openings[0] < 0.8 * openings[2]


def test_expressions_show_their_prototypes() -> None:
    rng = np.random.default_rng(0)
    mean = {
        name: {unit: np.mean([draw_units(label, rng)[unit] for _ in range(60)]) for unit in (1, 4, 9, 12, 15, 26)}
        for label, name in enumerate(EXPRESSIONS)
    }
    strongest = {unit: max(mean, key=lambda name: mean[name][unit]) for unit in (9, 12, 15, 26)}
    assert strongest == {9: "disgust", 12: "happy", 15: "sad", 26: "surprise"}
    assert mean["angry"][4] > 0.5 > mean["angry"][1]
    assert max(mean["neutral"].values()) < 0.1
    intensities = [draw_units(3, rng)[12] for _ in range(200)]
    assert min(intensities) < 0.4 and max(intensities) > 0.9  # faint and strong smiles


def test_expression_changes_the_pixels_and_identity_does_too() -> None:
    """Faces of one expression differ from each other, and their mean from that of every other expression."""

    def crop(label: int, seed: int) -> np.ndarray:
        image, (face,) = draw_photo(np.random.default_rng(seed), [label])
        top, left, right, bottom = np.maximum(face.box, 0)
        grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA).astype(float)

    means = [np.mean([crop(label, seed) for seed in range(12)], axis=0) for label in range(N_EXPRESSIONS)]
    pairs = [np.abs(a - b).mean() for i, a in enumerate(means) for b in means[:i]]
    assert min(pairs) > 1
    assert np.std([crop(6, seed) for seed in range(12)], axis=0).mean() > 15


def test_pose_moves_the_features_the_way_the_head_turns() -> None:
    nose = np.array([[0.0, 0.4]])
    straight = Pose(100, 100, 50).project(nose)
    assert Pose(100, 100, 50, yaw=20).project(nose)[0, 0] > straight[0, 0] + 10
    assert Pose(100, 100, 50, tilt=10).project(nose)[0, 1] > straight[0, 1] + 3
    chin = np.array([[0.0, 1.0]])
    assert np.allclose(Pose(0, 0, 50, roll=90).project(chin, 0.0), [[-50, 0]], atol=1e-3)


def test_curve_passes_through_its_points() -> None:
    points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0)])
    closed, opened = curve(points), curve(points, closed=False)
    assert np.allclose(closed[::6], points)
    assert np.allclose(opened[::6], points) and len(opened) == 19


def test_pen_fills_where_it_is_told_and_nowhere_else() -> None:
    image = np.zeros((60, 60), np.uint8)
    Pen(image, Pose(30, 30, 10), 1.0).fill(ellipse(0, 0, 1, 1), 255, 0.0)
    area = image.sum() / 255
    assert 0.9 < area / (np.pi * 10.5**2) < 1.1
    assert image[30, 30] == 255 and image[30, 5] == 0
