"""Who is who from frame to frame, and what the smoothing makes of a change."""

import math

import numpy as np
import pytest

from mien.inference.tracks import Tracker, overlap
from mien.runtime.cut import Box

LEFT, RIGHT = Box(10, 10, 60, 60), Box(10, 200, 250, 60)
HAPPY, SAD = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def moved(box: Box, by: int) -> Box:
    return box._replace(left=box.left + by, right=box.right + by)


def numbers(tracker: Tracker, boxes: list[Box], time: float) -> list[int]:
    return [track.number for track in tracker.step(boxes, np.tile(HAPPY, (len(boxes), 1)), time)]


def test_faces_keep_their_numbers_in_whatever_order_they_come() -> None:
    tracker = Tracker()
    assert numbers(tracker, [LEFT, RIGHT], 0.0) == [1, 2]
    assert numbers(tracker, [moved(RIGHT, 10), moved(LEFT, 10)], 0.1) == [2, 1]
    assert tracker.seen == 2


def test_the_sum_of_overlaps_decides_where_two_claim_one() -> None:
    """Nearest first would leave the second face without a track."""
    tracker = Tracker()
    numbers(tracker, [Box(0, 0, 100, 100), Box(0, 60, 160, 100)], 0.0)
    assert numbers(tracker, [Box(0, 28, 128, 100), Box(0, 95, 195, 100)], 0.1) == [1, 2]


def test_a_face_that_was_away_is_the_same_for_half_a_second_only() -> None:
    tracker = Tracker()
    assert numbers(tracker, [LEFT], 0.0) == [1]
    assert numbers(tracker, [], 0.2) == []
    assert numbers(tracker, [LEFT], 0.4) == [1]
    assert numbers(tracker, [LEFT], 1.0) == [2]
    assert numbers(tracker, [moved(LEFT, 45)], 1.1) == [3]


@pytest.mark.parametrize("rate", [5, 25, 60])
def test_after_the_time_constant_an_old_answer_counts_for_one_in_e_at_any_frame_rate(rate: int) -> None:
    tracker = Tracker(smoothing=0.4)
    tracker.step([LEFT], HAPPY[None], 0.0)
    for frame in range(1, int(0.4 * rate) + 1):
        (track,) = tracker.step([LEFT], SAD[None], frame / rate)
    assert track.probabilities[0] == pytest.approx(math.exp(-1))
    assert track.probabilities.sum() == pytest.approx(1)


def test_without_smoothing_each_frame_speaks_for_itself() -> None:
    tracker = Tracker(smoothing=0)
    tracker.step([LEFT], HAPPY[None], 0.0)
    (track,) = tracker.step([LEFT], SAD[None], 0.01)
    np.testing.assert_array_equal(track.probabilities, SAD)
    with pytest.raises(ValueError, match="smoothing is a time in seconds"):
        Tracker(smoothing=-1)


def test_overlap() -> None:
    assert overlap(LEFT, LEFT) == 1
    assert overlap(LEFT, RIGHT) == 0
    assert overlap(Box(0, 0, 10, 10), Box(0, 5, 15, 10)) == pytest.approx(1 / 3)
