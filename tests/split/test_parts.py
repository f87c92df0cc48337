import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.base.settings import read_settings
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import PackedFaces, open_faces
from mien.runtime.spec import CutSpec
from mien.sources.expw import ExpW
from mien.sources.fer2013 import Fer2013
from mien.sources.fingerprints import fingerprint
from mien.sources.source import Source, faces_table
from mien.split.near_copies import Groups, group_faces
from mien.split.parts import Split, SplitConfig, assign_groups, split_faces
from tests.fer_csv import unpacked_fer2013
from tests.photosets import picture, thumbnails_of
from tests.pipelines.workspace import ROOT
from tools.sample.dataset import draw_sample

PLAIN = SplitConfig(near_duplicates=False)
CLEAN = SplitConfig(near_duplicates=False, clean_training=True)
OFFICIAL = ["train"] * 60 + ["val"] * 20 + ["test"] * 20


@dataclass
class Faces:
    """Ingested faces and what was cropped of them; a test may change any of the three."""

    table: pd.DataFrame
    thumbnails: np.ndarray
    packed: PackedFaces

    def split(self, config: SplitConfig = PLAIN) -> Split:
        return split_faces(self.table, self.thumbnails, self.packed, config)

    def set(self, row: int, **values: object) -> None:
        for name, value in values.items():
            for table in (self.table, self.packed.index):
                if name in table:
                    table.loc[row, name] = value


def packed(
    labels: list[int],
    images: list[str] | None = None,
    official: list[str] | None = None,
    twins: dict[int, int] | None = None,
) -> Faces:
    """Faces of different pixels, except that `twins` names rows that repeat another row's photo."""
    n = len(labels)
    pixels = np.stack([picture(16, 16, seed=i) for i in range(n)])
    names = images or [f"{i}.jpg" for i in range(n)]
    digests = [f"digest of {name}" for name in names]
    for row, other in (twins or {}).items():
        pixels[row], digests[row] = pixels[other], digests[other]
    columns: dict[str, list[Any]] = {
        "face_id": [f"f{i}" for i in range(n)],
        "image": names,
        "label": labels,
        "source_split": official or [""] * n,
        "photo_digest": digests,
    }
    table = faces_table(columns)
    index = table[["face_id", "image", "label", "source_split", "person", "photo_digest"]].assign(
        row=range(n), face_digest=[face.tobytes().hex() for face in pixels]
    )
    return Faces(table, thumbnails_of(pixels), PackedFaces(pixels, index, CutSpec(48, "grey"), EXPRESSIONS, "d"))


def shared_out(groups: np.ndarray, labels: np.ndarray, seed: int = 0) -> np.ndarray:
    names = [f"{group}" for group in groups]
    table = faces_table({"face_id": list(range(len(groups))), "image": names, "label": labels.tolist()})
    return assign_groups(table, groups, SplitConfig(seed=seed))


@settings(max_examples=25, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=150, max_size=300),
    seed=st.integers(0, 5),
)
def test_groups_stay_whole_and_shares_hold(groups: list[tuple[int, int]], seed: int) -> None:
    ids = np.array([group for group, _ in groups] + list(range(1000, 1200)))
    labels = np.array([label for _, label in groups] + [i % 3 for i in range(200)])
    part = shared_out(ids, labels, seed)
    assert all(len(set(part[ids == group])) == 1 for group in np.unique(ids))
    for label in range(3):
        shares = np.bincount(part[labels == label], minlength=3) / (labels == label).sum()
        assert np.abs(shares - (0.7, 0.15, 0.15)).max() < 0.2  # a group counts for its rarest class alone
    assert (part == shared_out(ids, labels, seed)).all()


@pytest.mark.parametrize(
    ("groups", "labels", "label", "counts"),
    [
        (np.arange(700), np.repeat(np.arange(7), 100), 4, [70, 15, 15]),
        (np.repeat(np.arange(240), [3] * 40 + [1] * 200), np.array([1, 0, 0] * 40 + [0] * 200), 1, [28, 6, 6]),
        (np.arange(206), np.repeat([0, 1], [200, 6]), 1, [2, 2, 2]),
    ],
    ids=["single faces give exact shares", "a photo counts for its rarest class", "a small class reaches every part"],
)
def test_a_class_is_shared_out(groups: np.ndarray, labels: np.ndarray, label: int, counts: list[int]) -> None:
    assert np.bincount(shared_out(groups, labels)[labels == label]).tolist() == counts


def test_large_groups_are_not_all_put_into_training() -> None:
    part = shared_out(np.repeat(np.arange(200), 2), np.zeros(400, int))
    assert np.abs(np.bincount(part) / 400 - (0.7, 0.15, 0.15)).max() < 0.01


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (list("abcde"), "1 in train, 2 in val, 2 in test, and each part must hold 2"),
        (["a"] * 20, "groups of faces that must stay together: 20 in train, 0 in val"),
    ],
)
def test_too_few_faces_or_groups_name_class_count_and_need(images: list[str], says: str) -> None:
    names = [*(f"{i}.jpg" for i in range(100)), *images]
    with pytest.raises(UserError, match=f"class disgust has too few faces, .*{says}"):
        packed([0] * 100 + [1] * len(images), names).split()


def test_parts_hold_every_face_once_and_share_no_group() -> None:
    images = [f"{i // 3}.jpg" for i in range(240)]
    split = packed([i % 7 for i in range(240)], images, twins={10: 200, 50: 3}).split()
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
    a, b, c = (faces.split(SplitConfig(near_duplicates=False, seed=seed)) for seed in (1, 1, 2))
    assert a.digest == b.digest != c.digest
    pd.testing.assert_frame_equal(a.parts["test"], b.parts["test"])
    index = faces.packed.index.iloc[9:].reset_index(drop=True)  # as a crop with a higher threshold leaves it
    faces.packed = dataclasses.replace(faces.packed, index=index)
    fewer = faces.split(SplitConfig(near_duplicates=False, seed=1))
    assert fewer.digest != a.digest and len(fewer.parts["test"]) < len(a.parts["test"])
    assert fewer.test_faces == a.test_faces != c.test_faces


def test_the_audit_counts_what_it_says() -> None:
    labels = [i % 2 for i in range(60)]
    images = ["p.jpg", "p.jpg", "p.jpg", *(f"{i}.jpg" for i in range(3, 60))]
    faces = packed(labels, images, twins={11: 10, 21: 20, 22: 20})
    faces.set(31, photo_digest=faces.table["photo_digest"][30])
    audit = faces.split().audit
    assert audit["pairs"]["same_photo"] == 3
    assert audit["pairs"]["identical_pixels"] == 1 + 3
    assert audit["groups"] == {"n": 60 - 2 - 1 - 2 - 1, "sizes": {"1": 50, "2": 2, "3": 2}}
    assert audit["photos_under_several_names"] == 3
    assert audit["conflicting_labels"]["identical_pixels_groups"] == 2
    assert audit["parts"]["train"]["classes"]["angry"] + audit["parts"]["val"]["classes"]["angry"] > 20
    assert list(audit["parts"]["test"]["classes"]) == list(EXPRESSIONS)


def test_the_naive_split_leaks_what_grouping_prevents() -> None:
    faces = packed([i % 2 for i in range(200)], [f"{i // 2}.jpg" for i in range(200)])
    naive = faces.split().audit["naive_row_split"]
    assert naive["test_faces"] == 30
    # the other face of a photo is in train with probability 0.7: 21 of 30 expected
    assert 15 <= naive["test_faces_sharing_same_photo"] <= 27
    assert naive["test_faces_sharing_group"] == naive["test_faces_sharing_same_photo"]


def test_an_official_split_is_kept_and_its_leaks_are_marked() -> None:
    split = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 91: 70, 75: 6}).split()
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [60, 20, 20]
    leaked = {name: set(rows.loc[rows["leaked"], "face_id"]) for name, rows in split.parts.items()}
    assert leaked == {"train": set(), "val": {"f75"}, "test": {"f90", "f91"}}
    assert (split.audit["leaked_test_faces"], split.audit["leaked_val_faces"]) == (2, 1)
    assert split.audit["overlap"] == {"train_and_val": 1, "train_and_test": 1, "val_and_test": 1}


def test_a_missing_validation_part_is_taken_from_training_in_whole_groups() -> None:
    official = ["train"] * 170 + ["test"] * 30
    images = [f"{i // 2}.jpg" for i in range(200)]
    split = packed([i % 2 for i in range(200)], images, official).split()
    assert len(split.parts["test"]) == 30
    assert len(split.parts["val"]) == round(170 * 0.15 / 0.85)
    assert not set(split.parts["val"]["image"]) & set(split.parts["train"]["image"])
    assert set(split.parts["test"]["source_split"]) == {"test"}


def test_an_official_split_can_be_ignored() -> None:
    official = ["train"] * 60 + ["test"] * 40
    config = SplitConfig(near_duplicates=False, keep_official=False)
    split = packed([i % 2 for i in range(100)], official=official, twins={90: 5}).split(config)
    assert not split.audit["official_split"]
    assert abs(len(split.parts["test"]) - 15) <= 1
    assert split.audit["leaked_test_faces"] == 0


@pytest.mark.parametrize(
    ("official", "says"),
    [
        (["val", "test"], r"has no train/; .*keep_official: false"),
        (["train", "dev"], "'dev' is not one of train, val, test"),
    ],
)
def test_an_official_split_that_cannot_be_kept_is_refused(official: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        packed([0, 1] * 10, official=official * 10).split()


@pytest.mark.parametrize("persons", [False, True], ids=["photos", "persons"])
def test_folds_test_each_face_once_and_part_no_group(persons: bool) -> None:
    faces = packed([i % 7 for i in range(420)], [f"{i // 2}.jpg" for i in range(420)], twins={10: 200, 50: 3})
    if persons:
        for table in (faces.table, faces.packed.index):
            table["person"] = [f"S{i // 14}" for i in range(420)]
    folds = [faces.split(SplitConfig(near_duplicates=False, folds=5, fold=fold)).parts for fold in range(5)]
    tested = pd.concat([parts["test"].assign(fold=k) for k, parts in enumerate(folds)])
    assert sorted(tested["face_id"]) == sorted(faces.table["face_id"])
    assert (tested.groupby("person" if persons else "group")["fold"].nunique() == 1).all()
    assert tested["fold"].value_counts().between(60, 112).all()
    for parts in folds:
        assert sum(map(len, parts.values())) == 420
        held = [set(rows["group"]) for rows in parts.values()]
        assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
        assert parts["val"]["label"].value_counts().min() >= 2
    groups = pd.concat(folds[0].values()).set_index("face_id")["group"]  # by which the pooled answers are resampled
    assert (tested.set_index("face_id")["group"].sort_index() == groups.sort_index()).all()


def test_what_the_data_set_calls_train_is_in_no_fold() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5})
    folds = [faces.split(SplitConfig(near_duplicates=False, folds=4, fold=fold)).parts for fold in range(4)]
    tested = pd.concat([parts["test"] for parts in folds])
    assert sorted(tested["face_id"]) == sorted(f"f{i}" for i in range(60, 100))
    assert tested.set_index("face_id")["leaked"].to_dict() == {f"f{i}": i == 90 for i in range(60, 100)}
    assert all((parts["train"]["source_split"] == "train").sum() == 60 for parts in folds)
    config = SplitConfig(near_duplicates=False, keep_official=False, folds=4)
    assert len(faces.split(config).parts["test"]) == pytest.approx(25, abs=2)


@pytest.mark.parametrize(
    ("rare", "official", "says"),
    [
        ([f"{i}.jpg" for i in range(4)], "", "folds: 5 is more than the 4 photos .* of class disgust, .*; set less"),
        ([f"{i % 5}.jpg" for i in range(6)], "", "class disgust has too few .*in fold 4, and each part must hold 2"),
        ([], "train", "training faces alone; say keep_official"),
    ],
)
def test_folds_that_cannot_all_be_tested_are_refused_before_the_first(
    rare: list[str], official: str, says: str
) -> None:
    labels, images = [0] * 50 + [1] * len(rare), [*(f"a{i}.jpg" for i in range(50)), *rare]
    with pytest.raises(UserError, match=says):
        packed(labels, images, [official] * len(labels)).split(SplitConfig(near_duplicates=False, folds=5))


def test_identical_pixels_are_counted_within_and_across_parts() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 91: 70, 75: 6, 20: 10, 21: 10, 95: 93})
    for config in (PLAIN, CLEAN):
        assert faces.split(config).audit["identical_pixels"] == {
            "groups": 5,
            "groups_with_conflicting_labels": 4,
            "test_faces_also_in_train": 1,
            "test_faces_also_in_train_or_val": 2,
            "val_faces_also_in_train": 1,
        }


def test_a_clean_training_alone_leaves_out_copies_repeats_and_constant_faces() -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5, 91: 70, 75: 6, 20: 10, 21: 10})
    for row, colour in ((30, 0), (31, 0), (32, 200), (80, 0)):
        faces.thumbnails[row] = colour
        faces.set(row, face_digest=f"one colour {colour}", photo_digest=f"one colour {colour}")
    split = faces.split(CLEAN)
    reasons = {"f5": "copy_of_val_or_test", "f6": "copy_of_val_or_test", "f20": "repeat", "f21": "repeat"}
    reasons |= dict.fromkeys(("f30", "f31", "f32"), "constant_face")
    assert dict(zip(split.left_out["face_id"], split.left_out["reason"], strict=True)) == reasons
    assert split.left_out["detail"].tolist()[1:3] == ["in a group with f75", "the same pixels as f10, which stays"]
    kept = {f"f{i}" for i in range(60)} - set(split.left_out["face_id"])
    assert set(split.parts["train"]["face_id"]) == kept
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [53, 20, 20]
    cleaned = split.audit["clean_training"]
    assert cleaned["reasons"] == {"constant_face": 3, "copy_of_val_or_test": 2, "repeat": 2}
    assert (cleaned["left_out"], cleaned["repeats_labelled_otherwise"]) == (7, 1)
    # what leaked from training alone leaks no more; what validation and test share still does
    leaked = {name: set(rows.loc[rows["leaked"], "face_id"]) for name, rows in split.parts.items()}
    assert leaked == {"train": set(), "val": set(), "test": {"f91"}}
    everyone = faces.split()
    assert split.digest != everyone.digest and len(everyone.parts["train"]) == 60
    assert everyone.left_out.empty and list(everyone.left_out) == ["face_id", "image", "label", "reason", "detail"]
    assert everyone.audit["clean_training"] is None


def test_a_training_of_nothing_but_copies_is_refused() -> None:
    faces = packed([0, 1, 0, 1], official=["train", "train", "val", "test"], twins={0: 2, 1: 3})
    with pytest.raises(UserError, match="clean_training leaves no face to train on"):
        faces.split(CLEAN)


def test_a_data_set_without_a_split_of_its_own_is_cleaned_after_it_was_shared_out() -> None:
    faces = packed([i % 2 for i in range(200)], twins={i: i - 1 for i in range(1, 40, 2)})
    split = faces.split(CLEAN)
    parts = pd.concat(split.parts.values())
    assert len(parts) + len(split.left_out) == 200 and set(split.left_out["reason"]) == {"repeat"}
    assert split.parts["train"]["face_digest"].is_unique


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_near_or_mirrored_copy_leaks_as_an_exact_one_does_and_leaves_a_clean_training(mirrored: bool) -> None:
    faces = packed([i % 2 for i in range(100)], official=OFFICIAL, twins={90: 5})
    faces.thumbnails[:] = np.random.default_rng(0).integers(0, 256, faces.thumbnails.shape)  # no two are alike
    faces.thumbnails[90] = faces.thumbnails[5]
    copy = faces.thumbnails[7] // 2 + 50  # the same face, duller
    faces.thumbnails[91] = copy[:, ::-1] if mirrored else copy
    faces.set(91, face_digest="duller")
    leaked = {}
    for clean in (False, True):
        split = faces.split(SplitConfig(clean_training=clean))
        leaked[clean] = set(split.parts["test"].loc[split.parts["test"]["leaked"], "face_id"])
    assert leaked == {False: {"f90", "f91"}, True: set()}
    assert split.audit["pairs"]["mirrored"] == mirrored


def test_a_person_stays_in_one_part() -> None:
    faces = packed([i % 3 for i in range(300)])
    faces.table["person"] = faces.packed.index["person"] = [f"S{i // 10:03}" for i in range(300)]
    split = faces.split()
    assert pd.concat(split.parts, names=["part"]).reset_index().groupby("person")["part"].nunique().eq(1).all()
    assert split.audit["persons"] == 30 and split.audit["person_key"] is None


def many_persons(shares: tuple[float, ...]) -> tuple[pd.DataFrame, np.ndarray]:
    """300 persons of 3 to 12 faces, whose classes are drawn with these shares; and the faces' thumbnails."""
    rng = np.random.default_rng(0)
    persons = np.repeat([f"S{i:03}" for i in range(300)], rng.integers(3, 13, 300))
    names = [f"{i}.jpg" for i in range(len(persons))]
    labels = rng.choice(len(shares), len(persons), p=shares)
    columns = {"face_id": names, "image": names, "photo_digest": [name.encode().hex() for name in names]}
    table = faces_table({**columns, "label": labels.tolist(), "person": persons.tolist()})
    return table, rng.integers(0, 256, (len(table), 32, 32), np.uint8)


def test_a_face_more_or_less_moves_at_most_two_persons() -> None:
    config = read_settings(ROOT / "conf", "split", "grouped")
    table, thumbnails = many_persons((0.25, 0.2, 0.18, 0.14, 0.1, 0.065, 0.065))

    def parts(keep: np.ndarray) -> np.ndarray:
        some = table[keep].reset_index(drop=True)
        groups = group_faces(some, thumbnails[keep], config.similarity, config.aligned_similarity)
        assert len(np.unique(groups.ids)) == 300
        return assign_groups(some, groups.ids, config)

    n = len(table)
    whole, rng = parts(np.full(n, True)), np.random.default_rng(1)
    for gone in [*rng.choice(n, (8, 1)), *(rng.choice(n, n // 100, replace=False) for _ in range(8))]:
        keep = ~np.isin(np.arange(n), gone)
        assert table["person"][keep][parts(keep) != whole[keep]].nunique() <= 2
    assert np.bincount(whole) / n == pytest.approx(config.shares, abs=0.01)


def test_a_class_that_few_persons_show_reaches_every_part() -> None:
    table, _ = many_persons((0.5, 0.496, 0.004))
    rare = (table["label"] == 2).to_numpy()
    assert 6 <= table["person"][rare].nunique() <= 12
    for seed in range(5):
        part = assign_groups(table, pd.factorize(table["person"])[0], SplitConfig(seed=seed))
        assert np.bincount(part[rare], minlength=3).min() >= 2


def test_persons_who_are_most_of_the_faces_stay_in_training() -> None:
    table, _ = many_persons((0.5, 0.496, 0.004))
    groups = pd.factorize(table["person"])[0]
    for seed in range(5):
        part = assign_groups(table, np.where(groups < 200, 0, groups), SplitConfig(seed=seed))
        assert np.bincount(part).argmax() == part[groups == 0][0] == 0


def test_a_key_of_persons_is_pointed_out() -> None:
    names = [f"class{i % 3}/S{i // 10:03}_001_{i:08}.png" for i in range(300)]
    key = {"pattern": r"^([^_]+)_", "values": 30, "faces": 300}
    assert packed([i % 3 for i in range(300)], names).split().audit["person_key"] == key
    words = [f"{('angry', 'awful', 'smiling')[i % 3 if i % 20 else 0]}_woman_{i}.jpg" for i in range(300)]
    assert packed([i % 3 for i in range(300)], words).split().audit["person_key"] is None


@pytest.mark.parametrize("whose", ["sample", "expw", "fer2013"])
def test_a_face_more_or_less_moves_next_to_no_other(whose: str, tmp_path: Path) -> None:
    table, thumbnails, groups = ingested(whose, tmp_path)
    part = assign_groups(table, groups.ids, SplitConfig())
    rng = np.random.default_rng(0)
    photos = table["image"].unique()

    def moved(keep: np.ndarray) -> float:
        some = table[keep].reset_index(drop=True)
        regrouped = (
            group_faces(some, thumbnails[keep], 0.98, 0.95) if len(table) < 10_000 else groups.of(keep.nonzero()[0])
        )
        return float((assign_groups(some, regrouped.ids, SplitConfig()) != part[keep]).mean())

    for row in (0, 500, len(table) - 1):
        assert moved(np.arange(len(table)) != row) <= 0.01
    for _ in range(3):
        gone = rng.choice(photos, len(photos) // 100, replace=False)
        assert moved(~table["image"].isin(gone).to_numpy()) <= 0.02
    shuffled = rng.permutation(len(table))
    again = assign_groups(table.iloc[shuffled].reset_index(drop=True), groups.of(shuffled).ids, SplitConfig())
    assert (again == part[shuffled]).all()


def ingested(whose: str, folder: Path) -> tuple[pd.DataFrame, np.ndarray, Groups]:
    if whose == "sample":
        source: Source = ExpW()
        raw = folder / "sample"
        draw_sample(raw)
    elif "MIEN_REAL_DATA" not in os.environ:
        pytest.skip("MIEN_REAL_DATA does not name the real data sets")
    elif whose == "expw":
        source, raw = ExpW(), Path(os.environ["MIEN_REAL_DATA"]) / "expw"
    else:
        source, raw = Fer2013(), folder / "fer2013"
        unpacked_fer2013(raw)
    photos = source.photos(raw, folder / "unpacked")
    table = fingerprint(source.ingest(raw).faces, photos, folder / "thumbnails.npy", progress=False)
    thumbnails = np.load(folder / "thumbnails.npy")
    return table, thumbnails, group_faces(table, thumbnails, 0.98, 0.95)


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_audit_of_the_real_fer2013(tmp_path: Path) -> None:
    table, thumbnails, _ = ingested("fer2013", tmp_path)
    photos = Fer2013().photos(tmp_path / "fer2013", tmp_path / "unpacked")
    crop_faces(table, photos, CropConfig(size=48, colour="grey"), tmp_path, classes=EXPRESSIONS, progress=False)
    faces = Faces(table, thumbnails, open_faces(tmp_path))
    audit = faces.split().audit
    assert audit["identical_pixels"] == {
        "groups": 1516,
        "groups_with_conflicting_labels": 57,
        "test_faces_also_in_train": 288,
        "test_faces_also_in_train_or_val": 314,
        "val_faces_also_in_train": 280,
    }
    assert audit["constant_faces"] == 12
    assert (audit["leaked_test_faces"], audit["leaked_val_faces"]) == (314, 280)
    clean = faces.split(CLEAN)
    assert len(clean.parts["train"]) == 26942
    assert clean.audit["clean_training"]["reasons"] == {"constant_face": 11, "copy_of_val_or_test": 692, "repeat": 1064}
    left = np.stack([faces.packed.pixels[row].ravel() for row in clean.parts["train"]["row"]])
    assert len(np.unique(left, axis=0)) == 26942
