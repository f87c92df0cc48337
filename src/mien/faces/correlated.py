"""Every pair of unit vectors that correlate at least so much, without a full product of every pair.

Along orthonormal axes, x . y <= x1 y1 + ... + xk yk + |rest of x| |rest of y| (Cauchy-Schwarz), and along any one of
them x and y lie at most |x - y| = sqrt(2 - 2 x . y) apart. The vectors' first k = 31 principal axes of 256
hold most of their length: of FER2013's pairs one in 2,500 passes the bound at 0.88, and only those are correlated in
full. The bound loses no pair. What still grows with the square is a product of 32 numbers for two pairs in three.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

AXES: Final = 31  # principal axes; 24 let twice as many pairs pass, 47 make the products dearer
ROWS: Final = 256  # a tile of the product is ROWS x COLUMNS, 2 MB: what a core's cache holds
COLUMNS: Final = 2048
AT_ONCE: Final = 16_384  # pairs correlated in full at a time: 32 MB of vectors
ROUNDING: Final = 1e-5  # above the rounding of float32, so that the bound stays one


def correlated_pairs(vectors: np.ndarray, at_least: float) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of rows that correlate `at_least`: (P, 2) int64, smaller row first, sorted, and (P,) float32.

    `vectors` (N, D) float32 are of mean 0 and length 1, so that a product is a correlation.
    """
    bounds = _bounds(vectors)
    order = np.argsort(bounds[:, 0], kind="stable")
    pairs, correlations = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for places in _possible(bounds[order], at_least):
        for start in range(0, len(places), AT_ONCE):
            rows = order[places[start : start + AT_ONCE]]
            found = np.einsum("ij,ij->i", vectors[rows[:, 0]], vectors[rows[:, 1]], dtype=np.float64)
            found += 1e-6  # rounding must not lose identical vectors where 1 is asked for
            pairs.append(np.sort(rows[found >= at_least], axis=1))
            correlations.append(found[found >= at_least].astype(np.float32))
    whole = np.concatenate(pairs)
    in_order = np.lexsort((whole[:, 1], whole[:, 0]))
    return whole[in_order], np.concatenate(correlations)[in_order]


def _bounds(vectors: np.ndarray) -> np.ndarray:
    """(N, k + 1) float32, whose products are nowhere below the correlations: k coordinates and the rest's length."""
    spread, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    principal = axes[:, np.argsort(-spread, kind="stable")[:AXES]].astype(np.float32)
    coordinates = vectors @ principal
    rest = 1 - np.square(coordinates, dtype=np.float64).sum(axis=1, keepdims=True)
    return np.concatenate([coordinates, np.sqrt(np.maximum(rest, 0) + ROUNDING)], axis=1, dtype=np.float32)


def _possible(bounds: np.ndarray, at_least: float) -> Iterator[np.ndarray]:
    """Pairs (P, 2) of rows, smaller first, whose bound reaches `at_least`; `bounds` are sorted by the first axis."""
    first, n = np.ascontiguousarray(bounds[:, 0]), len(bounds)
    apart = np.sqrt(max(2 - 2 * at_least, 0)) + 1e-3
    for top in range(0, n, ROWS):
        rows = bounds[top : top + ROWS]
        end = int(np.searchsorted(first, rows[-1, 0] + apart, side="right"))
        for left in range(top, end, COLUMNS):
            columns = bounds[left : min(left + COLUMNS, end)]
            reached = np.flatnonzero(rows @ columns.T >= at_least - ROUNDING)
            above, beside = np.divmod(reached, len(columns))
            places = np.stack([above + top, beside + left], axis=1)
            yield places[places[:, 0] < places[:, 1]]
