import numpy as np
import pytest

from mien.split.near_copies import correlated_pairs, normalised_thumbnails
from tests.photosets import picture


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
    monkeypatch.setattr("mien.split.near_copies.ROWS", 7)  # so that edges of tiles are crossed
    monkeypatch.setattr("mien.split.near_copies.COLUMNS", 50)
    monkeypatch.setattr("mien.split.near_copies.AT_ONCE", 3)
    place = np.arange(256)
    vectors = twins({"even": 1.0 + 0 * place, "first axes": 1 / (1 + place), "one axis": 9.0**-place}[energy], 300, 0.3)
    pairs, correlation = correlated_pairs(vectors, at_least)
    whole = np.corrcoef(vectors.astype(np.float64))
    expected = np.argwhere(np.triu(whole >= at_least, k=1))
    assert pairs.tolist() == expected.tolist() and (at_least > 0.9 or len(pairs) >= 50)
    assert np.allclose(correlation, whole[pairs[:, 0], pairs[:, 1]], atol=1e-5)


def test_no_pair_of_one_vector_or_none() -> None:
    thumbnails, _ = normalised_thumbnails(picture(32, 32, 1)[None])
    for vectors in (thumbnails, thumbnails[:0]):
        pairs, correlation = correlated_pairs(vectors, 0.88)
        assert pairs.shape == (0, 2) and correlation.shape == (0,)


def test_equal_vectors_are_found_at_one() -> None:
    thumbnails, _ = normalised_thumbnails(np.stack([picture(64, 64, seed) for seed in (1, 2, 1, 1)]))
    pairs, _ = correlated_pairs(thumbnails, 1.0)
    assert pairs.tolist() == [[0, 2], [0, 3], [2, 3]]
