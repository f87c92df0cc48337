"""How alike two faces are once one is laid over the other: boxes of one photo differ by some pixels."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from mien.faces.in_order import cores, map_in_order

SIDE: Final = 32  # pixels at which faces are compared
EDGE: Final = 5  # cut off all around the one that is moved, so that it can move by this much
ENLARGED: Final = 36  # pixels of the one that it is moved over, beside SIDE
PAIRS_PER_TASK: Final = 256


def grey_thumbnail(face: np.ndarray, side: int) -> np.ndarray:
    """A face (H, W, C) uint8 as (side, side) uint8 grey, by averaging areas."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def alike_when_aligned(faces: np.ndarray, pairs: np.ndarray, at_least: float) -> np.ndarray:
    """For each pair of rows whether its two faces correlate `at_least` at some small shift and scale, (P,) bool.

    Args:
        faces: (N, H, W, C) uint8.
        pairs: (P, 2) rows of `faces`.
        at_least: the correlation, up to 1.
    """
    rows, place = np.unique(pairs, return_inverse=True)
    views = [_views(faces[row]) for row in rows]
    places = place.reshape(-1, 2)

    def work(start: int) -> list[bool]:
        return [_alike(views[a], views[b], at_least) for a, b in places[start : start + PAIRS_PER_TASK]]

    found = map_in_order(work, range(0, len(places), PAIRS_PER_TASK), cores())
    return np.asarray([alike for task in found for alike in task], bool)


class _Views(NamedTuple):
    centre: np.ndarray  # what is moved
    sizes: tuple[np.ndarray, ...]  # what another's centre is moved over, the likeliest first


def _views(face: np.ndarray) -> _Views:
    small = grey_thumbnail(face, SIDE)
    enlarged = cv2.resize(small, (ENLARGED, ENLARGED), interpolation=cv2.INTER_LINEAR)
    return _Views(small[EDGE:-EDGE, EDGE:-EDGE], (small, enlarged))


def _alike(one: _Views, other: _Views, at_least: float) -> bool:
    """The centre of each face is moved over the other, as it is and enlarged (normalised cross-correlation).

    Most copies are told by the first of the four.
    """
    for size in range(len(one.sizes)):
        for still, moved in ((one, other), (other, one)):
            if cv2.matchTemplate(still.sizes[size], moved.centre, cv2.TM_CCOEFF_NORMED).max() >= at_least:
                return True
    return False
