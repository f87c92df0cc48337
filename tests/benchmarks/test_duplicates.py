import numpy as np

from benchmarks.duplicates import enlarged, measure
from tests.photosets import picture


def drawn() -> np.ndarray:
    return np.stack([picture(48, 48, seed, blur=12)[..., :1] for seed in range(60)])


def test_the_search_finds_the_copies() -> None:
    report = measure(enlarged(drawn(), 200))
    assert report["pairs"] >= 100
    assert report["near_duplicates"] >= 100 and report["groups"] <= 80


def test_copies_are_the_same_each_time_and_none_is_its_original() -> None:
    faces = enlarged(drawn(), 100)
    np.testing.assert_array_equal(faces, enlarged(drawn(), 100))
    assert len(np.unique(faces.reshape(100, -1), axis=0)) == 100
    np.testing.assert_array_equal(enlarged(drawn(), 20), drawn()[:20])
