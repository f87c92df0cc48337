"""Near copies of faces: which crops show one photo, and the groups of faces that must stay together.

Two faces are compared by their 16 x 16 grey thumbnails, and where these are doubtful by laying the faces over each
other at small shifts and scales: one photo under two names rarely carries the very same box.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import joblib
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mien.crop.packed import PackedFaces

THUMBNAIL: Final = 16  # pixels
CANDIDATE: Final = 0.88  # correlation of thumbnails below which two crops of one photo are hardly ever met
ROUNDING: Final = 1e-6  # added, so that identical faces correlate where 1 is asked for
BLOCK: Final = 1 << 23  # correlations computed at a time in float32: 32 MB
AT_ONCE: Final = 1 << 14  # pairs correlated in float64 at a time: 32 MB of vectors

SIDE: Final = 32  # pixels at which faces are aligned
EDGE: Final = 5  # cut off all around the face that is moved, so that it can move by this much
ENLARGED: Final = 36  # pixels of the face that it is moved over, beside SIDE
PAIRS_PER_TASK: Final = 256


@dataclass(frozen=True)
class Groups:
    """Which faces must not be parted.

    `ids` (N,) int64 numbers the groups 0, 1, ... in order of their first face; `near` (P, 2) int64 holds the rows of
    each nearly identical pair (one row stands for all pixel-identical ones); `constant` (N,) bool marks faces of
    one single colour.
    """

    ids: np.ndarray
    near: np.ndarray
    constant: np.ndarray


def group_faces(packed: PackedFaces, similarity: float, aligned: float, *, near_duplicates: bool = True) -> Groups:
    """Groups of faces linked, however indirectly, by photo, by the photo's bytes, by pixels or by similarity.

    Two faces are near duplicates where their thumbnails correlate `similarity`, or where those correlate CANDIDATE
    and the aligned faces `aligned`.
    """
    index = packed.index
    rows = np.arange(len(index))
    firsts = [first_rows(index[key]) for key in ("image", "photo_digest", "face_digest")]
    thumbnails, constant = normalised_thumbnails(packed.pixels)
    near = np.empty((0, 2), np.int64)
    if near_duplicates:
        unique = np.flatnonzero((firsts[2] == rows) & ~constant)
        pairs, correlation = correlated_pairs(thumbnails[unique], min(CANDIDATE, similarity))
        alike = correlation >= similarity
        doubtful = unique[pairs[~alike]]
        alike[~alike] = alike_when_aligned(packed.pixels, doubtful, aligned)
        near = unique[pairs[alike]]
    links = np.concatenate([*(np.stack([rows, first], axis=1) for first in firsts), near])
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    ids: np.ndarray = pd.factorize(components)[0].astype(np.int64)
    return Groups(ids, near, constant)


def first_rows(keys: pd.Series) -> np.ndarray:
    """For each row the position of the first row with the same key, (N,) int64."""
    codes, _ = pd.factorize(keys)
    rows: np.ndarray = np.unique(codes, return_index=True)[1][codes]  # codes are numbered as they appear, so in order
    return rows


def normalised_thumbnails(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails of faces (N, H, W, C) uint8 as (N, 256) float32 of mean 0 and length 1, and which are constant.

    A constant face has no correlation with anything; its thumbnail is 0.
    """
    small = np.empty((len(faces), THUMBNAIL * THUMBNAIL), np.float32)
    for row, face in enumerate(faces):
        small[row] = grey_thumbnail(face, THUMBNAIL).ravel()
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1)
    constant = length < 1e-3
    small /= np.where(constant, 1, length)[:, None]
    small[constant] = 0
    return small, constant


def grey_thumbnail(face: np.ndarray, side: int) -> np.ndarray:
    """A face (H, W, C) uint8 as (side, side) uint8 grey, by averaging areas."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def correlated_pairs(vectors: np.ndarray, at_least: float) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of rows that correlate `at_least`: (P, 2) int64, smaller row first, sorted, and (P,) float32.

    `vectors` (N, D) float32 are of mean 0 and length 1, so that a product is a correlation. Blocks of products in
    float32 find the candidates; float64 decides.
    """
    pairs, correlations = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    step = max(BLOCK // max(len(vectors), 1), 1)
    for top in range(0, len(vectors), step):
        block = vectors[top : top + step] @ vectors[top:].T
        rows, columns = np.nonzero(block >= at_least - 10 * ROUNDING)
        found = np.stack([rows, columns], axis=1)[columns > rows] + top
        for some in np.array_split(found, len(found) // AT_ONCE + 1):
            exact = np.einsum("ij,ij->i", vectors[some[:, 0]], vectors[some[:, 1]], dtype=np.float64) + ROUNDING
            pairs.append(some[exact >= at_least])
            correlations.append(exact[exact >= at_least].astype(np.float32))
    return np.concatenate(pairs), np.concatenate(correlations)


def alike_when_aligned(faces: np.ndarray, pairs: np.ndarray, at_least: float) -> np.ndarray:
    """Whether each pair (P, 2) of faces (N, H, W, C) uint8 correlates so at some small shift and scale, (P,) bool."""
    rows, places = np.unique(pairs, return_inverse=True)
    views, places = [_views(faces[row]) for row in rows], places.reshape(-1, 2)

    def work(start: int) -> list[bool]:
        return [_alike(views[a], views[b], at_least) for a, b in places[start : start + PAIRS_PER_TASK]]

    tasks = (joblib.delayed(work)(start) for start in range(0, len(places), PAIRS_PER_TASK))
    return np.asarray([alike for task in joblib.Parallel(-1, prefer="threads")(tasks) for alike in task], bool)


def _views(face: np.ndarray) -> tuple[np.ndarray, ...]:
    """Its centre, which is moved, and what the other's centre is moved over, the likeliest first."""
    small = grey_thumbnail(face, SIDE)
    enlarged = cv2.resize(small, (ENLARGED, ENLARGED), interpolation=cv2.INTER_LINEAR)
    return small[EDGE:-EDGE, EDGE:-EDGE], small, enlarged


def _alike(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...], at_least: float) -> bool:
    """Move the centre of each face over the other, as it is and enlarged (normalised cross-correlation).

    Most copies are found by the first of the four.
    """
    attempts = ((still[size], moved[0]) for size in (1, 2) for still, moved in ((a, b), (b, a)))
    return any(cv2.matchTemplate(*attempt, cv2.TM_CCOEFF_NORMED).max() >= at_least for attempt in attempts)
