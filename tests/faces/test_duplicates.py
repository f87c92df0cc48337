import cv2
import numpy as np
import pandas as pd
import pytest

from mien.faces.alignment import aligned_correlations
from mien.faces.duplicates import correlated_pairs, first_rows, group_faces, normalised_thumbnails
from mien.faces.packed import PackedFaces
from mien.faces.settings import SplitConfig
from tests.photosets import picture


def packed(faces: list[np.ndarray], images: list[str] | None = None) -> PackedFaces:
    pixels = np.stack(faces)
    names = images or [f"{i}.jpg" for i in range(len(faces))]
    index = pd.DataFrame(
        {
            "image": names,
            "photo_digest": [f"digest of {name}" for name in names],
            "face_digest": [str(hash(face.tobytes())) for face in faces],
        }
    )
    return PackedFaces(pixels, index, {})


def test_the_first_row_of_each_key() -> None:
    assert first_rows(pd.Series(["b", "a", "b", "c", "a"])).tolist() == [0, 1, 0, 3, 1]


def test_faces_of_one_photo_and_identical_faces_are_linked_however_indirectly() -> None:
    a, b, c, d = (picture(48, 48, seed) for seed in range(4))
    groups = group_faces(packed([a, b, c, b, d], ["p", "p", "q", "q", "r"]), SplitConfig())
    # a and b are of photo p, b is pixel-identical to the second face of q, c is of q
    assert groups.ids.tolist() == [0, 0, 0, 0, 1]


def test_one_photo_under_two_names_is_one_group() -> None:
    faces = packed([picture(48, 48, 1), picture(48, 48, 2)])
    faces.index["photo_digest"] = "the same"
    assert group_faces(faces, SplitConfig()).ids.tolist() == [0, 0]


@pytest.mark.parametrize("change", ["brighter", "compressed", "moved", "enlarged", "grey"])
def test_near_duplicates_are_linked_and_others_are_not(change: str) -> None:
    whole = picture(96, 96, 7, blur=12)
    face = whole[10:74, 10:74]
    changed = {
        "brighter": cv2.convertScaleAbs(face, alpha=0.8, beta=30),
        "compressed": cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR),
        "moved": whole[13:77, 7:71],
        "enlarged": cv2.resize(whole[13:71, 13:71], (64, 64)),
        "grey": cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
    }[change]
    faces = packed([face, picture(64, 64, 8, blur=12), changed, picture(64, 64, 9, blur=12)])
    groups = group_faces(faces, SplitConfig())
    assert groups.ids.tolist() == [0, 1, 0, 2]
    assert groups.near.tolist() == [[0, 2]]
    assert group_faces(faces, SplitConfig(near_duplicates=False)).ids.tolist() == [0, 1, 2, 3]


def test_moved_faces_are_found_by_alignment_alone() -> None:
    whole = picture(96, 96, 7, blur=12)
    faces = np.stack([whole[10:74, 10:74], whole[15:79, 6:70]])
    thumbnails, _ = normalised_thumbnails(faces)
    assert float(thumbnails[0] @ thumbnails[1]) < 0.98
    assert aligned_correlations(faces, np.array([[0, 1]]))[0] > 0.97


def test_constant_faces_are_marked_and_only_identical_ones_linked() -> None:
    black, grey = np.zeros((48, 48, 1), np.uint8), np.full((48, 48, 1), 90, np.uint8)
    groups = group_faces(packed([black, grey, black]), SplitConfig())
    assert groups.constant.all()
    assert groups.ids.tolist() == [0, 1, 0]
    assert len(groups.near) == 0


def test_every_pair_of_the_whole_matrix_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 256)).astype(np.float32)
    vectors[200:] = vectors[:100] + rng.normal(scale=0.3, size=(100, 256)).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr("mien.faces.duplicates.BLOCK", 300 * 7)  # blocks of 7 rows, so that edges are crossed
    pairs, correlation = correlated_pairs(vectors, 0.9)
    whole = np.corrcoef(vectors)
    expected = np.argwhere(np.triu(whole >= 0.9, k=1))
    assert pairs.tolist() == expected.tolist() and len(pairs) > 50
    assert np.allclose(correlation, whole[pairs[:, 0], pairs[:, 1]], atol=1e-4)


def test_similarity_one_still_links_equal_thumbnails() -> None:
    face = picture(64, 64, 3)
    other = face.copy()
    other[0, 0] += 1  # not identical, and the same thumbnail but for less than rounding
    groups = group_faces(packed([face, other]), SplitConfig(similarity=1, aligned_similarity=1))
    assert groups.ids.tolist() == [0, 0] or groups.ids.tolist() == [0, 1]
    pairs, _ = correlated_pairs(np.repeat(normalised_thumbnails(face[None])[0], 2, axis=0), 1.0)
    assert pairs.tolist() == [[0, 1]]
