"""How alike two faces are once one is laid over the other: boxes of one photo differ by some pixels."""

from typing import Final

import cv2
import numpy as np

from mien.faces.in_order import cores, map_in_order

SIDE: Final = 32  # pixels at which faces are compared
EDGE: Final = 5  # cut off all around the one that is moved, so that it can move by this much
ENLARGED: Final = (SIDE, 36)  # sizes of the one that it is moved over
PAIRS_PER_TASK: Final = 256


def grey_thumbnail(face: np.ndarray, side: int) -> np.ndarray:
    """A face (H, W, C) uint8 as (side, side) uint8 grey, by averaging areas."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def aligned_correlations(faces: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """For each pair of rows the correlation of its two faces at the best shift and scale, (P,) float32.

    Args:
        faces: (N, H, W, C) uint8.
        pairs: (P, 2) rows of `faces`.
    """
    rows, place = np.unique(pairs, return_inverse=True)
    small = [grey_thumbnail(faces[row], SIDE) for row in rows]
    places = place.reshape(-1, 2)

    def work(start: int) -> list[float]:
        return [_best(small[a], small[b]) for a, b in places[start : start + PAIRS_PER_TASK]]

    found = map_in_order(work, range(0, len(places), PAIRS_PER_TASK), cores())
    return np.asarray([best for task in found for best in task], np.float32)


def _best(one: np.ndarray, other: np.ndarray) -> float:
    """The centre of each face is moved over the other, as it is and enlarged (normalised cross-correlation)."""
    best = -1.0
    for still, moved in ((one, other), (other, one)):
        centre = moved[EDGE:-EDGE, EDGE:-EDGE]
        for side in ENLARGED:
            over = still if side == SIDE else cv2.resize(still, (side, side), interpolation=cv2.INTER_LINEAR)
            best = max(best, float(cv2.matchTemplate(over, centre, cv2.TM_CCOEFF_NORMED).max()))
    return best
