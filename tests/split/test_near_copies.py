import hashlib
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks.duplicates import fer2013
from mien.sources.source import faces_table
from mien.split.near_copies import (
    Groups,
    alike_when_aligned,
    correlated_pairs,
    first_rows,
    group_faces,
    measured_recall,
    normalised,
)
from tests.photosets import picture, thumbnails_of

THRESHOLDS = (0.98, 0.95)


def grouped(faces: list[np.ndarray], images: list[str] | None = None, near: bool = True, **columns: Any) -> Groups:
    names = images or [f"{i}.jpg" for i in range(len(faces))]
    digests = columns.get("photo_digest", [f"digest of {name}" for name in names])
    rows = {"face_id": list(range(len(faces))), "image": names, "label": [0] * len(faces), "photo_digest": digests}
    return group_faces(faces_table(rows | columns), thumbnails_of(faces), *THRESHOLDS, near_duplicates=near)


def test_the_first_row_of_each_key() -> None:
    assert first_rows(pd.Series(["b", "a", "b", "c", "a"])).tolist() == [0, 1, 0, 3, 1]


def test_faces_of_one_photo_and_identical_faces_are_linked_however_indirectly() -> None:
    a, b, c, d = (picture(48, 48, seed) for seed in range(4))
    groups = grouped([a, b, c, b, d], ["p", "p", "q", "q", "r"])
    # a and b are of photo p, b is pixel-identical to the second face of q, c is of q
    assert groups.ids.tolist() == [0, 0, 0, 0, 1]


def test_a_photo_and_a_person_make_one_group_and_nameless_ones_do_not() -> None:
    faces = [picture(48, 48, seed) for seed in range(5)]
    assert grouped(faces[:2], photo_digest=["the same"] * 2).ids.tolist() == [0, 0]
    assert grouped(faces, person=["S1", "", "S2", "", "S1"]).ids.tolist() == [0, 1, 2, 3, 0]
    black = np.zeros((48, 48, 1), np.uint8)  # of photos that cannot be read
    assert grouped([black, black, black], photo_digest=["", "", "d"]).ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize("change", ["brighter", "compressed", "moved", "enlarged", "grey", "mirrored"])
def test_near_duplicates_are_linked_and_others_are_not(change: str) -> None:
    whole = picture(96, 96, 7, blur=12)
    face = whole[10:74, 10:74]
    changed = {
        "brighter": cv2.convertScaleAbs(face, alpha=0.8, beta=30),
        "compressed": cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR),
        "moved": whole[13:77, 7:71],
        "enlarged": cv2.resize(whole[13:71, 13:71], (64, 64)),
        "mirrored": whole[10:74, 12:76][:, ::-1],
        "grey": cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
    }[change]
    faces = [face, picture(64, 64, 8, blur=12), changed, picture(64, 64, 9, blur=12)]
    groups = grouped(faces)
    assert groups.ids.tolist() == [0, 1, 0, 2]
    if change != "grey":  # which has the same thumbnail
        assert (groups.mirrored if change == "mirrored" else groups.near).tolist() == [[0, 2]]
    assert grouped(faces, near=False).ids.tolist() == [0, 1, 2, 3]


def test_moved_faces_are_found_by_alignment_alone() -> None:
    whole = picture(96, 96, 7, blur=12)
    thumbnails = thumbnails_of([whole[10:74, 10:74], whole[15:79, 6:70]])
    vectors, _ = normalised(thumbnails)
    assert float(vectors[0] @ vectors[1]) < 0.98
    assert alike_when_aligned(thumbnails, thumbnails, np.array([[0, 1], [1, 0]]), 0.97).all()
    assert not alike_when_aligned(thumbnails, thumbnails, np.array([[0, 1]]), 0.9999).any()


def test_constant_faces_are_marked_and_only_those_of_one_photo_linked() -> None:
    black, grey = np.zeros((48, 48, 1), np.uint8), np.full((48, 48, 1), 90, np.uint8)
    groups = grouped([black, grey, black], photo_digest=["black", "grey", "black"])
    assert groups.constant.all()
    assert groups.ids.tolist() == [0, 1, 0]
    assert len(groups.near) == 0


def test_similarity_one_still_links_equal_thumbnails() -> None:
    face = picture(64, 64, 3)
    other = face.copy()
    other[0, 0] += 1  # not identical, and the same thumbnail but for less than rounding
    vectors, _ = normalised(thumbnails_of([face, picture(64, 64, 2), other, face]))
    assert correlated_pairs(vectors, vectors, 1.0)[0].tolist() == [[0, 2], [0, 3], [2, 3]]


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_real_fer2013() -> None:
    """The numbers are those of a comparison of every pair."""
    faces = fer2013(Path(os.environ["MIEN_REAL_DATA"]) / "fer2013")
    groups = grouped(list(faces), photo_digest=[hashlib.sha256(face.tobytes()).hexdigest() for face in faces])
    found = (len(groups.near), len(groups.mirrored), groups.ids.max() + 1, groups.constant.sum())
    assert found == (2451, 38, 32175, 12)


def unit(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    return (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)


def twins(energy: np.ndarray, n: int, noise: float) -> np.ndarray:
    """`n` vectors whose coordinates have this standard deviation, and a noisy copy of every third, shuffled."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, 256)) * energy
    copies = vectors[::3] + rng.normal(scale=noise, size=vectors[::3].shape) * energy
    return unit(rng.permutation(np.concatenate([vectors, copies])))


@pytest.mark.parametrize("energy", ["even", "first axes", "one axis"])
@pytest.mark.parametrize("at_least", [0.5, 0.88, 0.9, 0.98])
def test_every_pair_of_the_whole_matrix_is_found(energy: str, at_least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.split.near_copies.TILE", 7)  # so that edges of tiles are crossed
    place = np.arange(256)
    vectors = twins({"even": 1.0 + 0 * place, "first axes": 1 / (1 + place), "one axis": 9.0**-place}[energy], 300, 0.3)
    pairs, correlation = correlated_pairs(vectors, vectors, at_least)
    whole = np.corrcoef(vectors.astype(np.float64))
    expected = np.argwhere(np.triu(whole >= at_least, k=1))
    assert pairs.tolist() == expected.tolist() and (at_least > 0.9 or len(pairs) >= 50)
    assert np.allclose(correlation, whole[pairs[:, 0], pairs[:, 1]], atol=1e-5)


def test_no_pair_of_one_vector_or_none() -> None:
    vectors, _ = normalised(thumbnails_of([picture(32, 32, 1)]))
    for some in (vectors, vectors[:0]):
        pairs, correlation = correlated_pairs(some, some, 0.88)
        assert pairs.shape == (0, 2) and correlation.shape == (0,)


def test_among_very_many_faces_near_ones_are_found_and_the_share_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond EXHAUSTIVE, faces of other regions are not compared: here as many regions as for 1.4 million faces."""
    faces = twins((1 + np.arange(256)) ** -0.5, 3000, 0.3)
    pairs, _ = correlated_pairs(faces, faces, 0.88)
    monkeypatch.setattr("mien.split.near_copies.EXHAUSTIVE", 1000)
    monkeypatch.setattr("mien.split.near_copies.math.isqrt", lambda n: 1200)
    found, _ = correlated_pairs(faces, faces, 0.88)
    assert set(map(tuple, found)) <= set(map(tuple, pairs)) and 0.9 * len(pairs) < len(found) < len(pairs)
    assert measured_recall(found, faces, faces, 0.88) == pytest.approx(len(found) / len(pairs), abs=0.02)
    assert measured_recall(found[::2], faces, faces, 0.88) == pytest.approx(len(found) / len(pairs) / 2, abs=0.05)
