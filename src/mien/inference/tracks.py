"""Face tracking: the faces of a video joined from frame to frame, and their probabilities smoothed over time."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from mien.runtime.cut import Box

MIN_OVERLAP: Final = 0.3  # intersection over union of the boxes of one face in successive frames
FORGOTTEN: Final = 0.5  # seconds after which a face that comes back counts as another
SMOOTHING: Final = 0.5  # seconds: the time constant


@dataclass
class Track:
    """One face over time."""

    number: int  # from 1, in the order of appearance
    box: Box
    time: float  # seconds, of the last sighting
    probabilities: np.ndarray  # (classes,) smoothed

    def follow(self, box: Box, time: float, raw: np.ndarray, constant: float) -> None:
        """Add a later sighting, by exponential smoothing for samples at irregular times.

        After `constant` seconds an old answer counts for 1/e, whatever the frame rate (Zumbach and Müller, 2001).
        """
        weight = math.exp(-(time - self.time) / constant) if constant else 0.0
        self.probabilities = weight * self.probabilities + (1 - weight) * raw
        self.box, self.time = box, time


class Tracker:
    """Matches the faces of each frame with those before by the overlap of their boxes.

    All are matched at once, with the largest sum of overlaps (Kuhn, 1955; as in SORT: Bewley et al., 2016). A face
    that is not seen for half a second is forgotten.
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        if smoothing < 0:
            raise ValueError(f"smoothing is a time in seconds, 0 or more, not {smoothing:g}")
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self.seen = 0  # tracks so far

    def step(self, boxes: list[Box], probabilities: np.ndarray, time: float) -> list[Track]:
        """The track of each box of a frame, its probabilities smoothed; the frames come in the order of time."""
        self._tracks = [track for track in self._tracks if time - track.time <= FORGOTTEN]
        matches = self._matches(boxes)
        tracks = []
        for i, (box, raw) in enumerate(zip(boxes, probabilities, strict=True)):
            track = matches.get(i)
            if track is None:
                self.seen += 1
                track = Track(self.seen, box, time, raw.copy())
                self._tracks.append(track)
            else:
                track.follow(box, time, raw, self._smoothing)
            tracks.append(track)
        return tracks

    def _matches(self, boxes: list[Box]) -> dict[int, Track]:
        """The track of each box that continues one, by the box's position."""
        if not boxes or not self._tracks:
            return {}
        shared = np.array([[overlap(box, track.box) for track in self._tracks] for box in boxes])
        rows, columns = linear_sum_assignment(shared, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if shared[row, column] >= MIN_OVERLAP
        }


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    height = max(min(a.bottom, b.bottom) - max(a.top, b.top), 0)
    width = max(min(a.right, b.right) - max(a.left, b.left), 0)
    union = sum((box.bottom - box.top) * (box.right - box.left) for box in (a, b)) - height * width
    return height * width / union if union else 0.0
