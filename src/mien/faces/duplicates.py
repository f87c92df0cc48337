"""Which faces belong together: of one photo, pixel-identical, or nearly so.

Near duplicates are pairs of faces whose 16 x 16 grey thumbnails correlate at least `similarity`. Thumbnails of
mean 0 and length 1 correlate c where their Euclidean distance is sqrt(2 - 2c), and a projection never
lengthens a distance. So a k-d tree (Bentley, 1975) over their first principal components finds every such pair
among few candidates (the lower-bounding search of Faloutsos et al., 1994), without comparing all with all.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pandas as pd

from mien.faces.packed import PackedFaces
from mien.faces.settings import SplitConfig

THUMBNAIL: Final = 16  # pixels
COMPONENTS: Final = 12  # more take longer to search, fewer leave more candidates to compare
CHUNK: Final = 65_536  # pairs compared at a time: 128 MiB


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
        near = unique[near_pairs(thumbnails[unique], config.similarity)]
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
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face
        small[row] = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1)
    constant = length < 1e-3
    small /= np.where(constant, 1, length)[:, None]
    small[constant] = 0
    return small, constant


def near_pairs(thumbnails: np.ndarray, similarity: float) -> np.ndarray:
    """Every pair of rows that correlate at least `similarity`, (P, 2) int64, smaller row first, sorted.

    `thumbnails` (N, 256) float32 are of mean 0 and length 1.
    """
    from scipy.spatial import cKDTree

    if len(thumbnails) < 2:
        return np.empty((0, 2), np.int64)
    _, components = np.linalg.eigh(thumbnails.T @ thumbnails)
    projected = thumbnails @ components[:, -COMPONENTS:]
    distance = np.sqrt(2 - 2 * similarity) + 1e-3  # float32 rounding must not lose a pair
    pairs = cKDTree(projected).query_pairs(distance, output_type="ndarray").astype(np.int64)
    least = similarity - 1e-6  # identical thumbnails must reach a similarity of 1 in spite of rounding
    alike = [_correlation(thumbnails, pairs[i : i + CHUNK]) >= least for i in range(0, len(pairs), CHUNK)]
    kept: np.ndarray = np.sort(pairs[np.concatenate(alike)] if alike else pairs, axis=1)
    return np.unique(kept, axis=0)


def _correlation(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    products: np.ndarray = np.einsum("ij,ij->i", thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]])
    return products


def _components(links: np.ndarray, n: int) -> np.ndarray:
    """Connected components of a graph of `n` rows, numbered by first appearance, (n,) int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(links), np.int8)
    _, labels = connected_components(coo_array((ones, (links[:, 0], links[:, 1])), shape=(n, n)), directed=False)
    codes: np.ndarray = pd.factorize(labels)[0].astype(np.int64)
    return codes
