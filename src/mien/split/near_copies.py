"""Near-copy detection: faces of one photo or one person, and the groups that stay together.

Two faces are compared by their grey thumbnails, as they are and mirrored: at 16 x 16 pixels, and where these are
doubtful by laying the 32 x 32 ones over each other at small shifts and scales, since one photo under two names rarely
carries the very same box.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Final

import cv2
import joblib
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from mien.sources.fingerprints import photo_keys

CANDIDATE: Final = 0.88  # correlation at 16 x 16 below which two crops of one photo are hardly ever met
ROUNDING: Final = 1e-6  # added, so that identical faces correlate where 1 is asked for
TILE: Final = 1024  # vectors compared with as many others at a time: what a core's own cache holds
COMPONENTS: Final = 40  # of a vector, from which its correlations are bounded
SAMPLE: Final = 20_000  # vectors from which the components are computed
EXHAUSTIVE: Final = 200_000  # vectors of which every pair is compared
REGIONS: Final = 12  # of each vector, in which others are looked for
SAMPLED: Final = 2000  # vectors from which the recall is measured
Rows = slice | np.ndarray

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
    recall: float  # share of the pairs that correlate CANDIDATE that were found, measured; 1 where all are compared

    def of(self, rows: np.ndarray) -> "Groups":
        """The groups of these rows alone, numbered anew; `rows` (M,) are different."""
        place = np.full(len(self.ids), -1)
        place[rows] = np.arange(len(rows))
        near, mirrored = (pairs[(pairs >= 0).all(axis=1)] for pairs in (place[self.near], place[self.mirrored]))
        return Groups(
            pd.factorize(self.ids[rows])[0].astype(np.int64), near, mirrored, self.constant[rows], self.recall
        )


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
    vectors, constant = normalised(thumbnails)
    near = mirrored = np.empty((0, 2), np.int64)
    recall = 1.0
    if near_duplicates:
        same = first_rows(pd.Series([hashlib.blake2b(face, digest_size=16).digest() for face in thumbnails]))
        links.append(np.stack([rows, np.where(constant, rows, same)], axis=1))
        unique = np.flatnonzero((same == rows) & ~constant)
        vectors = vectors[unique]
        (near, recall), (mirrored, other_recall) = (
            alike_pairs(thumbnails, unique, vectors, similarity, aligned, mirrored=mirror) for mirror in (False, True)
        )
        recall = min(recall, other_recall)
        links += [near, mirrored]
    joined = np.concatenate(links)
    graph = coo_array((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    ids: np.ndarray = pd.factorize(components)[0].astype(np.int64)
    return Groups(ids, near, mirrored, constant, recall)


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


def alike_pairs(
    thumbnails: np.ndarray, rows: np.ndarray, vectors: np.ndarray, similarity: float, aligned: float, *, mirrored: bool
) -> tuple[np.ndarray, float]:
    """Of `rows` (M,), ascending, those a < b that show one face, b as it is or `mirrored`, (P, 2) int64; their recall.

    `vectors` are those of these rows of the thumbnails, as of `normalised`; the recall is that of `measured_recall`.
    """
    others, beside = thumbnails, vectors
    if mirrored:
        others, side = thumbnails[:, :, ::-1], math.isqrt(vectors.shape[1])
        beside = vectors.reshape(-1, side, side)[:, :, ::-1].reshape(vectors.shape)
    at_least = min(CANDIDATE, similarity)
    pairs, correlation = correlated_pairs(vectors, beside, at_least)
    alike = correlation >= similarity
    alike[~alike] = alike_when_aligned(thumbnails, others, rows[pairs[~alike]], aligned)
    return rows[pairs[alike]], measured_recall(pairs, vectors, beside, at_least)


def measured_recall(pairs: np.ndarray, vectors: np.ndarray, others: np.ndarray, at_least: float) -> float:
    """Of the pairs of SAMPLED random vectors with all others, the share in `pairs`; 1 where every pair was compared."""
    n, there = len(vectors), [np.empty((0, 2), np.int64)]
    if n <= EXHAUSTIVE:
        return 1.0
    some = np.random.default_rng(1).choice(n, SAMPLED, replace=False)
    for top in range(0, n, TILE):
        a, b = np.nonzero(vectors[some] @ others[top : top + TILE].T >= at_least + 10 * ROUNDING)
        there.append(np.sort(np.stack([some[a], b + top], axis=1)))
    expected = np.concatenate(there)
    expected = expected[expected[:, 0] < expected[:, 1]] @ (n, 1)  # one number for each pair
    return float(np.isin(expected, pairs @ (n, 1)).mean()) if len(expected) else 1.0


def correlated_pairs(vectors: np.ndarray, others: np.ndarray, at_least: float) -> tuple[np.ndarray, np.ndarray]:
    """Every pair a < b for which `vectors[a]` and `others[b]` correlate `at_least`: (P, 2) int64, sorted, (P,) float32.

    Both (N, D) float32 have mean 0 and length 1, so that a product is a correlation; `others` are the vectors, or their
    mirror images. An upper bound in float32 finds the candidates; float64 decides. Of more than EXHAUSTIVE vectors,
    those of different regions are not compared.
    """
    rows, (first, second) = np.arange(len(vectors)), _bounding(vectors, others)

    def compare(some: Rows, beside: Rows) -> tuple[np.ndarray, np.ndarray]:
        a, b = np.divmod(np.flatnonzero(first[some] @ second[beside].T >= at_least - 10 * ROUNDING), len(rows[beside]))
        pairs = np.sort(np.stack([rows[some][a], rows[beside][b]], axis=1))
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        exact = np.einsum("ij,ij->i", vectors[pairs[:, 0]], others[pairs[:, 1]], dtype=np.float64) + ROUNDING
        return pairs[exact >= at_least], exact[exact >= at_least].astype(np.float32)

    with threadpool_limits(1, "blas"):  # products so small gain nothing from its own threads
        tiles = (joblib.delayed(compare)(*tile) for tile in _tiles(vectors, others))
        found = joblib.Parallel(-1, prefer="threads")(tiles)
    pairs = np.concatenate([pairs for pairs, _ in found] or [np.empty((0, 2), np.int64)])
    once, place = np.unique(pairs, axis=0, return_index=True)
    return once, np.concatenate([exact for _, exact in found] or [np.empty(0, np.float32)])[place]


def _bounding(vectors: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Short vectors, (N, COMPONENTS + 1) float32 each, whose products are upper bounds of the products of these.

    They hold the principal components, and the length of the rest: the product of two rests is at most that of their
    lengths (Cauchy and Schwarz).
    """
    basis = np.linalg.eigh(vectors[:SAMPLE].T @ vectors[:SAMPLE])[1][:, -COMPONENTS:]
    for of in (vectors, others):
        short = of @ basis
        rest = 1 - np.square(short).sum(axis=1, keepdims=True)
        yield np.concatenate([short, np.sqrt(np.maximum(rest, 0))], axis=1)


def _tiles(vectors: np.ndarray, others: np.ndarray) -> Iterator[tuple[Rows, Rows]]:
    """The rows of `vectors` and of `others` that are compared with each other, TILE of each at a time.

    Up to EXHAUSTIVE that is each pair. Beyond, random vectors are the centres of regions, and each is compared with the
    others that have its nearest centre among their nearest REGIONS (an inverted file, as of Jégou et al., 2011).
    """
    n = len(vectors)
    if n <= EXHAUSTIVE:
        pieces = [slice(top, top + TILE) for top in range(0, n, TILE)]
        yield from combinations_with_replacement(pieces, 2)
        return
    centres = vectors[np.random.default_rng(0).choice(n, math.isqrt(n) // 2, replace=False)]
    nearest = [np.empty((n, most), np.int32) for most in (1, REGIONS)]
    for of, regions in zip((vectors, others), nearest, strict=True):
        for top in range(0, n, TILE):
            far = -of[top : top + TILE] @ centres.T
            regions[top : top + TILE] = np.argpartition(far, regions.shape[1], axis=1)[:, : regions.shape[1]]
    ordered = [np.argsort(regions, axis=None, kind="stable") // regions.shape[1] for regions in nearest]
    ends = [np.cumsum(np.bincount(regions.ravel(), minlength=len(centres)))[:-1] for regions in nearest]
    for members in zip(*(np.split(rows, end) for rows, end in zip(ordered, ends, strict=True)), strict=True):
        yield from product(*(np.split(rows, range(TILE, len(rows), TILE)) for rows in members))


def alike_when_aligned(thumbnails: np.ndarray, others: np.ndarray, pairs: np.ndarray, at_least: float) -> np.ndarray:
    """Whether `pairs` (P, 2) of thumbnails (N, 32, 32) uint8 correlate `at_least` at some small shift and scale."""
    first = {row: _views(thumbnails[row]) for row in np.unique(pairs[:, 0])}
    second = {row: _views(np.ascontiguousarray(others[row])) for row in np.unique(pairs[:, 1])}

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
