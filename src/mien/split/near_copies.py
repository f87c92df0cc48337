"""Near-copy detection: faces of one photo or one person, and the groups that stay together.

Two faces are compared by their grey thumbnails, as they are and mirrored: at 16 x 16 pixels, and where these are
doubtful by laying the 32 x 32 ones over each other at small shifts and scales, since one photo under two names rarely
carries the very same box.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import joblib
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mien.sources.fingerprints import photo_keys

CANDIDATE: Final = 0.88  # correlation at 16 x 16 below which two crops of one photo are hardly ever met
ROUNDING: Final = 1e-6  # added, so that identical faces correlate where 1 is asked for
BLOCK: Final = 1 << 23  # correlations computed at a time in float32: 32 MB
AT_ONCE: Final = 1 << 14  # pairs correlated in float64 at a time: 32 MB of vectors

EDGE: Final = 5  # pixels cut off all around the thumbnail that is moved, so that it can move by this much
ENLARGED: Final = 36  # pixels of the thumbnail that it is moved over, beside 32
PAIRS_PER_TASK: Final = 256


@dataclass(frozen=True)
class Groups:
    """Which faces must not be parted."""

    ids: np.ndarray  # (N,) int64: the groups 0, 1, ... in order of their first face
    near: np.ndarray  # (P, 2) int64: the rows of each nearly identical pair, one row for all of equal thumbnails
    mirrored: np.ndarray  # (P, 2) int64: likewise, of a face and another's mirror image
    constant: np.ndarray  # (N,) bool: of one single colour

    def of(self, rows: np.ndarray) -> "Groups":
        """The groups of these rows alone, numbered anew; `rows` (M,) are different."""
        place = np.full(len(self.ids), -1)
        place[rows] = np.arange(len(rows))
        near, mirrored = (pairs[(pairs >= 0).all(axis=1)] for pairs in (place[self.near], place[self.mirrored]))
        return Groups(pd.factorize(self.ids[rows])[0].astype(np.int64), near, mirrored, self.constant[rows])


def group_faces(
    faces: pd.DataFrame, thumbnails: np.ndarray, similarity: float, aligned: float, *, near_duplicates: bool = True
) -> Groups:
    """Groups of faces linked, however indirectly, by person, by photo, by the photo's bytes or by similarity.

    `faces` are N faces with image, photo_digest and person, `thumbnails` (N, 32, 32) uint8 grey, black where there is
    none. Two faces are near duplicates where their thumbnails correlate `similarity` (at 16 x 16, up to 1), or where
    those correlate CANDIDATE and the aligned ones `aligned` (at 32 x 32); mirrored copies likewise.
    """
    rows = np.arange(len(faces))
    links = [np.stack([rows, first_rows(keys)], axis=1) for keys in (faces["image"], photo_keys(faces))]
    named = np.flatnonzero(faces["person"] != "")
    links.append(np.stack([named, named[first_rows(faces["person"].iloc[named])]], axis=1))
    constant = normalised(thumbnails)[1]
    near = mirrored = np.empty((0, 2), np.int64)
    if near_duplicates:
        same = first_rows(pd.Series([thumbnail.tobytes() for thumbnail in thumbnails]))
        links.append(np.stack([rows, np.where(constant, rows, same)], axis=1))
        unique = np.flatnonzero((same == rows) & ~constant)
        some = np.ascontiguousarray(thumbnails[unique])
        flipped = np.ascontiguousarray(some[:, :, ::-1])
        near = unique[alike_pairs(some, some, similarity, aligned)]
        mirrored = unique[alike_pairs(some, flipped, similarity, aligned)]
        links += [near, mirrored]
    joined = np.concatenate(links)
    graph = coo_array((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    ids: np.ndarray = pd.factorize(components)[0].astype(np.int64)
    return Groups(ids, near, mirrored, constant)


def first_rows(keys: pd.Series) -> np.ndarray:
    """For each row the position of the first row with the same key, (N,) int64."""
    codes, _ = pd.factorize(keys)
    return np.asarray(np.unique(codes, return_index=True)[1][codes])  # codes are numbered as they appear, so in order


def normalised(thumbnails: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails (N, 32, 32) uint8 as (N, 256) float32 of mean 0 and length 1, or 0 where constant, and which are."""
    n, side = len(thumbnails), thumbnails.shape[1] // 2
    small = thumbnails.reshape(n, side, 2, side, 2).mean(axis=(2, 4), dtype=np.float32).reshape(n, side * side)
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1)
    constant: np.ndarray = length < 1e-3
    small /= np.where(constant, 1, length)[:, None]
    small[constant] = 0
    return small, constant


def alike_pairs(thumbnails: np.ndarray, others: np.ndarray, similarity: float, aligned: float) -> np.ndarray:
    """The rows a < b for which `thumbnails[a]` and `others[b]`, the same or mirrored, show one face: (P, 2) int64."""
    pairs, correlation = correlated_pairs(normalised(thumbnails)[0], normalised(others)[0], min(CANDIDATE, similarity))
    alike = correlation >= similarity
    alike[~alike] = alike_when_aligned(thumbnails, others, pairs[~alike], aligned)
    return np.asarray(pairs[alike])


def correlated_pairs(vectors: np.ndarray, others: np.ndarray, at_least: float) -> tuple[np.ndarray, np.ndarray]:
    """Every pair a < b for which `vectors[a]` and `others[b]` correlate `at_least`: (P, 2) int64, sorted, (P,) float32.

    Both (N, D) float32 have mean 0 and length 1: a product is a correlation. float32 finds candidates, float64 decides.
    """
    pairs, correlations = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    step = max(BLOCK // max(len(vectors), 1), 1)
    for top in range(0, len(vectors), step):
        block = vectors[top : top + step] @ others[top:].T
        rows, columns = np.nonzero(block >= at_least - 10 * ROUNDING)
        found = np.stack([rows, columns], axis=1)[columns > rows] + top
        for some in np.array_split(found, len(found) // AT_ONCE + 1):
            exact = np.einsum("ij,ij->i", vectors[some[:, 0]], others[some[:, 1]], dtype=np.float64) + ROUNDING
            pairs.append(some[exact >= at_least])
            correlations.append(exact[exact >= at_least].astype(np.float32))
    return np.concatenate(pairs), np.concatenate(correlations)


def alike_when_aligned(thumbnails: np.ndarray, others: np.ndarray, pairs: np.ndarray, at_least: float) -> np.ndarray:
    """Whether `pairs` (P, 2) of thumbnails (N, 32, 32) uint8 correlate `at_least` at some small shift and scale."""
    first = {row: _views(thumbnails[row]) for row in np.unique(pairs[:, 0])}
    second = {row: _views(others[row]) for row in np.unique(pairs[:, 1])}

    def work(start: int) -> list[bool]:
        return [_alike(first[a], second[b], at_least) for a, b in pairs[start : start + PAIRS_PER_TASK]]

    tasks = (joblib.delayed(work)(start) for start in range(0, len(pairs), PAIRS_PER_TASK))
    return np.asarray([alike for task in joblib.Parallel(-1, prefer="threads")(tasks) for alike in task], bool)


def _views(thumbnail: np.ndarray) -> tuple[np.ndarray, ...]:
    """Its centre, which is moved, and what the other's centre is moved over, the likeliest first."""
    enlarged = cv2.resize(thumbnail, (ENLARGED, ENLARGED), interpolation=cv2.INTER_LINEAR)
    return thumbnail[EDGE:-EDGE, EDGE:-EDGE], thumbnail, enlarged


def _alike(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...], at_least: float) -> bool:
    """Move the centre of each face over the other, as it is and enlarged; the first of four finds most copies."""
    attempts = ((still[size], moved[0]) for size in (1, 2) for still, moved in ((a, b), (b, a)))
    return any(cv2.matchTemplate(*attempt, cv2.TM_CCOEFF_NORMED).max() >= at_least for attempt in attempts)
