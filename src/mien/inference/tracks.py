"""Which face of a frame is whose, and what its expression was over the last moments."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from mien.runtime.cut import Box

SAME: Final = 0.3  # intersection over union from which a face is that of the frame before
LOST: Final = 0.5  # seconds after which a face that comes back is counted as another
SMOOTHING: Final = 0.5  # seconds: the time constant


@dataclass
class Track:
    """One face over time."""

    number: int  # from 1, in the order of appearance
    box: Box
    time: float  # when it was seen last, in seconds
    probabilities: np.ndarray  # (classes,) smoothed

    def follow(self, box: Box, time: float, raw: np.ndarray, constant: float) -> None:
        """Take up a later sighting; exponential smoothing for samples at any distance of time.

        After `constant` seconds an old answer counts for 1/e, at whatever frame rate (Zumbach and Müller, 2001).
        """
        kept = math.exp(-(time - self.time) / constant) if constant else 0.0
        self.probabilities = kept * self.probabilities + (1 - kept) * raw
        self.box, self.time = box, time


class Tracker:
    """Joins the faces of each frame to those before, by the overlap of their boxes.

    All are matched at once, so that the sum of overlaps is largest (Kuhn, 1955; as in SORT: Bewley et al., 2016);
    a face that is not seen for half a second is forgotten.
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        if smoothing < 0:
            raise ValueError(f"smoothing is a time in seconds, 0 or more, not {smoothing:g}")
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self.seen = 0  # tracks so far

    def step(self, boxes: list[Box], probabilities: np.ndarray, time: float) -> list[Track]:
        """The track of each box of a frame, its probabilities smoothed; the frames come in the order of time."""
        self._tracks = [track for track in self._tracks if time - track.time <= LOST]
        mine = self._matches(boxes)
        found = []
        for at, (box, raw) in enumerate(zip(boxes, probabilities, strict=True)):
            track = mine.get(at)
            if track is None:
                self.seen += 1
                track = Track(self.seen, box, time, raw.copy())
                self._tracks.append(track)
            else:
                track.follow(box, time, raw, self._smoothing)
            found.append(track)
        return found

    def _matches(self, boxes: list[Box]) -> dict[int, Track]:
        if not boxes or not self._tracks:
            return {}
        shared = np.array([[overlap(box, track.box) for track in self._tracks] for box in boxes])
        rows, columns = linear_sum_assignment(shared, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if shared[row, column] >= SAME
        }


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    down = max(min(one.bottom, other.bottom) - max(one.top, other.top), 0)
    across = max(min(one.right, other.right) - max(one.left, other.left), 0)
    both = sum((box.bottom - box.top) * (box.right - box.left) for box in (one, other)) - down * across
    return down * across / both if both else 0.0
