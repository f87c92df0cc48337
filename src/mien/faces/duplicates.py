"""Which faces belong together: of one photo, pixel-identical, or nearly so.

Two faces are near duplicates where their 16 x 16 grey thumbnails correlate at least `similarity`, or where
those correlate at least CANDIDATE and the faces, laid over each other at the best of small shifts and scales,
correlate at least `aligned_similarity`: one photo under two names rarely carries the very same box.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from mien.faces.alignment import alike_when_aligned, grey_thumbnail
from mien.faces.correlated import correlated_pairs
from mien.faces.packed import PackedFaces
from mien.faces.settings import SplitConfig

THUMBNAIL: Final = 16  # pixels
CANDIDATE: Final = 0.88  # correlation of thumbnails below which two crops of one photo are hardly ever met


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


def group_faces(packed: PackedFaces, config: SplitConfig) -> Groups:
    """Groups of faces linked, however indirectly, by photo, by the photo's bytes, by pixels or by similarity."""
    index = packed.index
    firsts = [first_rows(index[key]) for key in ("image", "photo_digest", "face_digest")]
    thumbnails, constant = normalised_thumbnails(packed.pixels)
    near = np.empty((0, 2), np.int64)
    if config.near_duplicates:
        unique = np.flatnonzero((firsts[2] == np.arange(len(index))) & ~constant)
        pairs, correlation = correlated_pairs(thumbnails[unique], min(CANDIDATE, config.similarity))
        alike = correlation >= config.similarity
        doubtful = unique[pairs[~alike]]
        alike[~alike] = alike_when_aligned(packed.pixels, doubtful, config.aligned_similarity)
        near = unique[pairs[alike]]
    here = np.arange(len(index))
    links = [np.stack([here, first], axis=1) for first in firsts]
    return Groups(_components(np.concatenate([*links, near]), len(index)), near, constant)


def first_rows(keys: pd.Series) -> np.ndarray:
    """For each row the position of the first row with the same key, (N,) int64."""
    codes, _ = pd.factorize(keys)
    _, first = np.unique(codes, return_index=True)  # codes are numbered as they appear, so sorted is in order
    rows: np.ndarray = first[codes]
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


def _components(links: np.ndarray, n: int) -> np.ndarray:
    """Connected components of a graph of `n` rows, numbered by first appearance, (n,) int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(links), np.int8)
    _, labels = connected_components(coo_array((ones, (links[:, 0], links[:, 1])), shape=(n, n)), directed=False)
    codes: np.ndarray = pd.factorize(labels)[0].astype(np.int64)
    return codes
