"""Train, validation and test parts: whole groups of faces, assigned by class and a hash of their photos.

The parts are a function of the ingested faces and their thumbnails alone, so that no crop, margin, colour or threshold
moves a face, and a face more or less moves next to no other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Le, Lt

from mien.base.classes import PARTS, count_labels
from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed, refuse
from mien.base.state import digest
from mien.crop.packed import PackedFaces
from mien.sources.fingerprints import hashed, photo_keys
from mien.split.audit import audit_split, identical_pixels
from mien.split.near_copies import Groups, group_faces

NO_PART: Final = -1
NAMED: Final = -1  # in place of a group's rarest class, where its persons are known
CONSTANT: Final = "constant_face"
COPY: Final = "copy_of_val_or_test"
REPEAT: Final = "repeat"
LEFT_OUT: Final = ["face_id", "image", "label", "reason", "detail"]
Correlation = Annotated[float, Ge(0.5), Le(1)]
PartShare = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True)
class SplitConfig:
    """How faces are shared out to train, validation and test."""

    __pydantic_config__ = STRICT

    train: PartShare = 0.70  # share of the faces of each class
    val: PartShare = 0.15  # share for validation
    test: PartShare = 0.15  # share; the three add up to 1
    seed: Seed = 42  # another one draws other parts
    near_duplicates: bool = True  # group near and mirrored copies, too
    similarity: Correlation = 0.98  # of 16 x 16 grey thumbnails, from which two crops are one photo
    aligned_similarity: Correlation = 0.95  # the same of two crops laid over each other at the best shift and scale
    min_per_class: AtLeastOne = 2  # faces of each class that every part must hold
    keep_official: bool = True  # a split that the data set brings is kept
    clean_training: bool = False  # leave out of training: what is grouped with val or test, repeats, constant faces
    folds: Count = field(default=0, metadata={"optional": True})  # in which all faces are tested in turn; 0: off
    fold: Count = field(default=0, metadata={"optional": True})  # the one that is tested now, from 0

    def __post_init__(self) -> None:
        total, below = self.train + self.val + self.test, max(self.folds, 1)
        added = f"{self.train} + {self.val} + {self.test}"
        counted = f"folds count from 0, and there are {self.folds or 'none'}"
        refuse(
            f"train, val and test must add up to 1, not {added}" if abs(total - 1) > 1e-9 else "",
            f"folds must be 0, for none, or at least 3, not {self.folds}" if self.folds in (1, 2) else "",
            f"fold must be below {below}, not {self.fold}: {counted}" if self.fold >= below else "",
        )

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of train, validation and test; with folds, a fold is the test part, and the rest is shared out as it was."""
        rest = (1 - 1 / self.folds) / (self.train + self.val) if self.folds else 1.0
        return self.train * rest, self.val * rest, 1 / self.folds if self.folds else self.test


@dataclass(frozen=True)
class Split:
    """`parts`: rows of the packed index with `group` (int64) and `leaked`: an earlier part has that group too."""

    parts: dict[str, pd.DataFrame]
    left_out: pd.DataFrame  # columns LEFT_OUT of training faces in no part, which `clean_training` left out
    audit: dict[str, Any]
    digest: str  # SHA-256, in hex, over the data's digest and which face is in which part
    test_faces: str  # digest of photo and box of each ingested face of the test part, whatever crop takes of them


def split_faces(faces: pd.DataFrame, thumbnails: np.ndarray, packed: PackedFaces, config: SplitConfig) -> Split:
    """The packed faces in three parts.

    `faces` are those ingested, cropped or not, with their fingerprints and `thumbnails` (N, 32, 32) uint8. Where the
    data set has an official split it is kept (`keep_official`), and a part that it lacks is taken from its training
    part; rows without an official part then count as training. Otherwise whole groups are shared out by class.
    Afterwards `clean_training` leaves faces out of the training part. A UserError where a part gets fewer faces of a
    class that occurs than `min_per_class`, nothing is left to train on, or a packed face was not ingested.
    """
    index, classes = packed.index, packed.classes
    rows = pd.Index(faces["face_id"]).get_indexer(index["face_id"])
    if (rows < 0).any():
        raise UserError(f"face {index['face_id'][rows < 0].iloc[0]} is not in build/ingest; run `dvc repro crop`.")
    near = config.near_duplicates
    ingested = group_faces(faces, thumbnails, config.similarity, config.aligned_similarity, near_duplicates=near)
    official = config.keep_official and bool((index["source_split"] != "").any())
    if config.folds:
        part = _one_fold(faces, ingested.ids, rows, classes, config)
    else:
        part = official_parts(faces, ingested.ids, config) if official else assign_groups(faces, ingested.ids, config)
    test_faces = faces.loc[part == PARTS.index("test"), ["photo_digest", "top", "left", "right", "bottom"]]
    part, groups = part[rows], ingested.of(rows)
    pixels = identical_pixels(index, part)
    left_out, cleaned = index.iloc[:0].assign(reason="", detail="")[LEFT_OUT], None
    if config.clean_training:
        left_out = left_out_of_training(index, part, groups)
        cleaned = count_left_out(left_out, index, classes)
    part[left_out.index] = NO_PART
    if not official:
        _check_least(part, index["label"].to_numpy(), classes, config.min_per_class)
    part_or_last = pd.Series(np.where(part == NO_PART, len(PARTS), part))
    leaked = part_or_last.groupby(groups.ids).transform("min").to_numpy() < part  # an earlier part has the group too
    if leaked.any() and not official:
        raise RuntimeError(f"{leaked.sum()} faces share their group with another part; please report this")
    table = index.assign(group=groups.ids, leaked=leaked)
    parts = {name: table[part == p].reset_index(drop=True) for p, name in enumerate(PARTS)}
    audit = audit_split(table, part, groups, official, config.shares, config.seed, classes)
    audit |= {"identical_pixels": pixels, "clean_training": cleaned}
    lines = [packed.digest, *(line for name in PARTS for line in (name, *sorted(parts[name]["face_id"])))]
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    tested = digest(sorted(test_faces.astype(str).agg(" ".join, axis=1)))
    return Split(parts, left_out.reset_index(drop=True), audit, whole, tested)


def official_parts(faces: pd.DataFrame, groups: np.ndarray, config: SplitConfig) -> np.ndarray:
    """The data set's own parts; those it lacks come out of its training part, whole groups at a time."""
    names = faces["source_split"]
    if unknown := sorted(set(names) - {*PARTS, ""}):
        raise UserError(f"source_split {unknown[0]!r} is not one of {', '.join(PARTS)}; the source must use these.")
    part = names.map({"": 0, "train": 0, "val": 1, "test": 2}).to_numpy().astype(np.int64)
    if not (part == 0).any():
        raise UserError("the data set's own split has no train/; add it, or say keep_official: false in conf/split.")
    if lacking := [p for p in range(len(PARTS)) if not (part == p).any()]:
        rows = np.flatnonzero(part == 0)
        taken = [0, *lacking]
        shares = [config.shares[p] for p in taken]
        part[rows] = np.asarray(taken)[assign_groups(faces.iloc[rows], groups[rows], config, shares)]
    return part


def _one_fold(
    faces: pd.DataFrame, groups: np.ndarray, packed: np.ndarray, classes: Sequence[str], config: SplitConfig
) -> np.ndarray:
    """The part of each face where one fold is tested, and validation faces are taken out of the other folds.

    What an official split that is kept calls train is in no fold, and learnt from beside each. `packed` are the rows of
    those that were cropped. A UserError where a class has fewer groups than folds, or any fold lacks faces of it, so
    that none is trained in vain.
    """
    among = ~((faces["source_split"] == "train").to_numpy() & config.keep_official)
    if not among.any():
        raise UserError("the data set's own split has training faces alone; say keep_official: false in conf/split.")
    labels = faces["label"].to_numpy()[among]
    for label in np.unique(labels):
        if (found := len(np.unique(groups[among][labels == label]))) < config.folds:
            too_few = f"{found} photos or persons of class {classes[label]}, copies counted once"
            raise UserError(f"conf/split: folds: {config.folds} is more than the {too_few}; set less.")
    fold, part, tested = np.full(len(faces), NO_PART), np.zeros(len(faces), np.int64), packed[among[packed]]
    fold[among] = assign_groups(faces[among], groups[among], config, [1 / config.folds] * config.folds)
    names = [f"fold {k}" for k in range(config.folds)]
    _check_least(fold[tested], faces["label"].to_numpy()[tested], classes, config.min_per_class, names)
    rest = among & (fold != config.fold)
    part[rest] = assign_groups(faces[rest], groups[rest], config, config.shares[:2])
    part[fold == config.fold] = PARTS.index("test")
    return part


def assign_groups(
    faces: pd.DataFrame, groups: np.ndarray, config: SplitConfig, given: Sequence[float] = ()
) -> np.ndarray:
    """The part of each face, (N,) int64; the faces of a group get the same. The parts' shares are `given`, or config's.

    A group counts for its rarest class. Within each class the groups are ordered by a hash of the group's smallest
    photo digest and the seed, and cut where the parts' shares of the class are reached. Persons, who show many classes,
    are ordered and cut together, by a hash of their names; where a part then lacks faces of a class, the first persons
    of the largest part who show it go there. `faces` have label, person, photo_digest and image.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    labels = faces["label"].to_numpy().astype(np.int64)
    counts = np.zeros((groups.max() + 1, labels.max() + 1), np.int64)  # faces of each group and class
    np.add.at(counts, (groups, labels), 1)
    rarest = np.where(counts > 0, counts.sum(axis=0), len(labels) + 1).argmin(axis=1)
    persons = faces["person"].where(faces["person"] != "").groupby(groups).min()
    named = persons.notna().to_numpy()
    rarest[named] = NAMED
    place = hashed(persons.fillna(photo_keys(faces).groupby(groups).min()), config.seed)
    shares = np.asarray(given or config.shares) / sum(given or config.shares)
    part = np.empty(len(counts), np.int64)
    for label in np.unique(rarest):
        some = np.flatnonzero(rarest == label)
        sizes = counts[some].sum(axis=1) if label == NAMED else counts[some, label]
        # What is larger than the smallest part comes first, which is training.
        order = np.lexsort((place[some], sizes <= shares.min() * sizes.sum()))
        part[some[order]] = _cut_at_shares(sizes[order], shares, config.min_per_class)
    for p, label in np.argwhere([counts[part == p].sum(axis=0) < config.min_per_class for p in range(len(shares))]):
        small = counts.sum(axis=1) <= shares.min() * counts.sum()  # persons linked by photos may be most of the faces
        largest = np.flatnonzero(named & small & (part == shares.argmax()) & (counts[:, label] > 0))
        missing = config.min_per_class - counts[part == p, label].sum()
        moved = largest[np.argsort(place[largest])][:-1]
        part[moved[: np.searchsorted(np.cumsum(counts[moved, label]), missing) + 1]] = p
    return np.asarray(part[groups])


def _cut_at_shares(sizes: np.ndarray, shares: np.ndarray, least: int) -> np.ndarray:
    """The part of each of G groups in order, (G,) int64, by where the middle of its `sizes` falls among all of them.

    A part with less than `least` gets it at the largest's cost, and every part gets a group where there are enough.
    """
    wanted = np.maximum(shares * sizes.sum(), least)
    wanted[shares.argmax()] -= wanted.sum() - sizes.sum()
    ends = np.searchsorted(np.cumsum(sizes) - sizes / 2, np.cumsum(wanted)[:-1])
    if len(sizes) >= len(shares):
        first = np.arange(1, len(shares))
        ends = np.maximum.accumulate(np.maximum(ends, first) - first) + first
        ends = np.minimum(ends, len(sizes) - len(shares) + first)
    return np.asarray(np.searchsorted(ends, np.arange(len(sizes)), side="right"))


def _check_least(
    part: np.ndarray, labels: np.ndarray, classes: Sequence[str], least: int, names: Sequence[str] = PARTS
) -> None:
    """Refuse a part of the packed faces that lacks faces of a class that occurs."""
    for label in np.unique(labels):
        got = [int(((part == p) & (labels == label)).sum()) for p in range(len(names))]
        if min(got) < least:
            counts = ", ".join(f"{n} in {name}" for n, name in zip(got, names, strict=True))
            raise UserError(
                f"class {classes[label]} has too few faces, or groups of faces that must stay together: {counts}, and "
                f"each part must hold {least}; lower min_per_class in conf/split or min_confidence in conf/crop."
            )


def left_out_of_training(index: pd.DataFrame, part: np.ndarray, groups: Groups) -> pd.DataFrame:
    """The training faces that a clean training leaves out: columns LEFT_OUT, indexed by the position in `index`.

    A face is left out that is of one single colour, whose group holds a validation or test face (a copy, a near or
    mirrored copy, another face of the photo or the person), or that has the very pixels of an earlier training face:
    the first of several stays, whatever labels the others carry. `part` (N,) is 0 for training, 1 for validation, 2 for
    test. No training face left is a UserError.
    """
    training, ids, digests = part == 0, pd.Series(groups.ids, index.index), index["face_digest"]
    measured = index["face_id"][~training].groupby(ids[~training]).first()
    copy = training & ~groups.constant & ids.isin(measured.index).to_numpy()
    rest = training & ~groups.constant & ~copy
    firsts = index[rest].drop_duplicates("face_digest").set_index("face_digest")["face_id"]
    if firsts.empty:
        raise UserError("clean_training leaves no face to train on: all are constant, or copies of val or test faces.")
    repeat = rest & (digests.map(firsts) != index["face_id"]).to_numpy()
    found = index.assign(reason="", detail="")
    found.loc[training & groups.constant, ["reason", "detail"]] = CONSTANT, "the face is a single colour"
    found.loc[copy, "reason"], found.loc[repeat, "reason"] = COPY, REPEAT
    found.loc[copy, "detail"] = "in a group with " + ids[copy].map(measured)
    found.loc[repeat, "detail"] = "the same pixels as " + digests[repeat].map(firsts) + ", which stays"
    return found.loc[found["reason"] != "", LEFT_OUT]


def count_left_out(left_out: pd.DataFrame, index: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """How many faces were left out, by reason, by class, and how many repeats disagreed with the face that stays."""
    reasons = left_out["reason"].value_counts()
    stays = index.drop(left_out.index).drop_duplicates("face_digest").set_index("face_digest")["label"]
    repeats = left_out.index[left_out["reason"] == REPEAT]
    others = index.loc[repeats, "face_digest"].map(stays) != index.loc[repeats, "label"]
    return {
        "left_out": len(left_out),
        "reasons": {reason: int(reasons.get(reason, 0)) for reason in (CONSTANT, COPY, REPEAT)},
        "classes": count_labels(left_out["label"], classes),
        "repeats_labelled_otherwise": int(others.sum()),
    }
