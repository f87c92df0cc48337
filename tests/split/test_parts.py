import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import PackedFaces
from mien.runtime.spec import CutSpec
from mien.split.parts import SplitConfig, assign_groups, split_faces
from tests.photosets import picture

PLAIN = SplitConfig(near_duplicates=False)


def packed(
    labels: list[int],
    images: list[str] | None = None,
    official: list[str] | None = None,
    twins: dict[int, int] | None = None,
) -> PackedFaces:
    """Faces of different pixels, except that `twins` names rows that repeat another row's."""
    n = len(labels)
    pixels = np.stack([picture(16, 16, seed=i) for i in range(n)])
    for row, other in (twins or {}).items():
        pixels[row] = pixels[other]
    names = images or [f"{i}.jpg" for i in range(n)]
    index = pd.DataFrame(
        {
            "row": range(n),
            "face_id": [f"f{i}" for i in range(n)],
            "image": names,
            "label": np.array(labels, np.int8),
            "source_split": official or [""] * n,
            "photo_digest": names,
            "face_digest": [face.tobytes().hex() for face in pixels],
        }
    )
    return PackedFaces(pixels, index, CutSpec(48, "grey"), EXPRESSIONS, "d")


@settings(max_examples=25, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=150, max_size=300),
    seed=st.integers(0, 5),
)
def test_groups_stay_whole_and_shares_hold(groups: list[tuple[int, int]], seed: int) -> None:
    ids = np.array([group for group, _ in groups] + list(range(1000, 1200)))
    labels = np.array([label for _, label in groups] + [i % 3 for i in range(200)])
    part = assign_groups(ids, labels, (0.7, 0.15, 0.15), 2, seed)
    assert all(len(set(part[ids == group])) == 1 for group in np.unique(ids))
    for label in range(3):
        shares = np.bincount(part[labels == label], minlength=3) / (labels == label).sum()
        assert np.abs(shares - (0.7, 0.15, 0.15)).max() < 0.04
    assert (part == assign_groups(ids, labels, (0.7, 0.15, 0.15), 2, seed)).all()


def test_single_faces_give_exact_shares() -> None:
    labels = np.repeat(np.arange(7), 100)
    part = assign_groups(np.arange(700), labels, (0.7, 0.15, 0.15), 2, 42)
    for label in range(7):
        assert np.bincount(part[labels == label]).tolist() == [70, 15, 15]


def test_a_small_class_still_reaches_every_part() -> None:
    labels = np.array([0] * 200 + [1] * 6)
    part = assign_groups(np.arange(206), labels, (0.7, 0.15, 0.15), 2, 0)
    assert np.bincount(part[labels == 1]).tolist() == [2, 2, 2]


def test_large_groups_are_not_all_put_into_training() -> None:
    part = assign_groups(np.repeat(np.arange(200), 2), np.zeros(400, int), (0.7, 0.15, 0.15), 2, 0)
    assert np.abs(np.bincount(part) / 400 - (0.7, 0.15, 0.15)).max() < 0.01


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (list(range(100, 105)), "class disgust has 5 faces in 5 groups .* at least 2 .*6 faces"),
        ([100] * 20, "class disgust has 20 faces in 1 groups"),
    ],
)
def test_too_few_faces_or_groups_name_class_count_and_need(groups: list[int], says: str) -> None:
    ids = np.array([*range(100), *groups])
    labels = np.array([0] * 100 + [1] * len(groups))
    with pytest.raises(UserError, match=says):
        assign_groups(ids, labels, (0.7, 0.15, 0.15), 2, 0)


def test_parts_hold_every_face_once_and_share_no_group() -> None:
    images = [f"{i // 3}.jpg" for i in range(240)]
    split = split_faces(packed([i % 7 for i in range(240)], images, twins={10: 200, 50: 3}), PLAIN)
    everything = pd.concat(split.parts.values())
    assert sorted(everything["face_id"]) == sorted(f"f{i}" for i in range(240))
    assert everything.groupby("group").size().sum() == 240
    held = {name: set(rows["group"]) for name, rows in split.parts.items()}
    assert not (held["train"] & held["test"] or held["train"] & held["val"] or held["val"] & held["test"])
    assert not everything["leaked"].any()
    assert split.audit["overlap"] == {"train_and_val": 0, "train_and_test": 0, "val_and_test": 0}
    part_of = {row.face_id: name for name, rows in split.parts.items() for row in rows.itertuples()}
    assert part_of["f10"] == part_of["f200"] and part_of["f50"] == part_of["f3"]


def test_the_seed_decides_and_the_digest_tells() -> None:
    faces = packed([i % 7 for i in range(140)])
    a, b, c = (split_faces(faces, SplitConfig(near_duplicates=False, seed=seed)) for seed in (1, 1, 2))
    assert a.digest == b.digest != c.digest
    pd.testing.assert_frame_equal(a.parts["test"], b.parts["test"])


def test_the_audit_counts_what_it_says() -> None:
    labels = [i % 2 for i in range(60)]
    images = ["p.jpg", "p.jpg", "p.jpg", *(f"{i}.jpg" for i in range(3, 60))]
    faces = packed(labels, images, twins={11: 10, 21: 20, 22: 20})
    faces.index.loc[31, "photo_digest"] = faces.index.loc[30, "photo_digest"]
    audit = split_faces(faces, PLAIN).audit
    assert audit["pairs"]["same_photo"] == 3
    assert audit["pairs"]["identical_pixels"] == 1 + 3
    assert audit["groups"] == {"n": 60 - 2 - 1 - 2 - 1, "sizes": {"1": 50, "2": 2, "3": 2}}
    assert audit["photos_under_several_names"] == 1
    assert audit["conflicting_labels"]["identical_pixels_groups"] == 2
    assert audit["parts"]["train"]["classes"]["angry"] + audit["parts"]["val"]["classes"]["angry"] > 20
    assert list(audit["parts"]["test"]["classes"]) == list(EXPRESSIONS)


def test_the_naive_split_leaks_what_grouping_prevents() -> None:
    faces = packed([i % 2 for i in range(200)], [f"{i // 2}.jpg" for i in range(200)])
    naive = split_faces(faces, PLAIN).audit["naive_row_split"]
    assert naive["test_faces"] == 30
    # the other face of a photo is in train with probability 0.7: 21 of 30 expected
    assert 15 <= naive["test_faces_sharing_same_photo"] <= 27
    assert naive["test_faces_sharing_group"] == naive["test_faces_sharing_same_photo"]


def test_an_official_split_is_kept_and_its_leaks_are_marked() -> None:
    official = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    faces = packed([i % 2 for i in range(100)], official=official, twins={90: 5, 91: 70, 75: 6})
    split = split_faces(faces, PLAIN)
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [60, 20, 20]
    leaked = {name: set(rows.loc[rows["leaked"], "face_id"]) for name, rows in split.parts.items()}
    assert leaked == {"train": set(), "val": {"f75"}, "test": {"f90", "f91"}}
    assert (split.audit["leaked_test_faces"], split.audit["leaked_val_faces"]) == (2, 1)
    assert split.audit["overlap"] == {"train_and_val": 1, "train_and_test": 1, "val_and_test": 1}


def test_a_missing_validation_part_is_taken_from_training_in_whole_groups() -> None:
    official = ["train"] * 170 + ["test"] * 30
    images = [f"{i // 2}.jpg" for i in range(200)]
    split = split_faces(packed([i % 2 for i in range(200)], images, official), PLAIN)
    assert len(split.parts["test"]) == 30
    assert len(split.parts["val"]) == round(170 * 0.15 / 0.85)
    assert not set(split.parts["val"]["image"]) & set(split.parts["train"]["image"])
    assert set(split.parts["test"]["source_split"]) == {"test"}


def test_an_official_split_can_be_ignored() -> None:
    official = ["train"] * 60 + ["test"] * 40
    config = SplitConfig(near_duplicates=False, keep_official=False)
    split = split_faces(packed([i % 2 for i in range(100)], official=official, twins={90: 5}), config)
    assert not split.audit["official_split"]
    assert abs(len(split.parts["test"]) - 15) <= 1
    assert split.audit["leaked_test_faces"] == 0


def test_an_official_split_without_training_is_refused() -> None:
    with pytest.raises(UserError, match=r"has test and val and nothing to train on; .*keep_official: false"):
        split_faces(packed([0, 1] * 10, official=["val", "test"] * 10), PLAIN)


def test_an_unknown_official_part_is_refused() -> None:
    with pytest.raises(UserError, match="'dev' is none of train, val, test"):
        split_faces(packed([0] * 4, official=["train", "dev", "test", "val"]), PLAIN)
