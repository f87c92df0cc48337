"""Train, validation and test parts: whole groups of faces, shared out by class.

Groups of several faces are placed first, the largest at the front, each into the part that lacks most of what
the group holds (greedy, as in Sechidis et al., 2011); single faces then fill each class up to its exact share.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Le, Lt

from mien.base.classes import PARTS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Seed
from mien.crop.packed import PackedFaces
from mien.sources.table import count_labels
from mien.split.audit import audit_split, identical_pixels
from mien.split.near_copies import group_faces

NO_PART: Final = -1
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

    train: PartShare = 0.70
    val: PartShare = 0.15
    test: PartShare = 0.15
    seed: Seed = 42
    near_duplicates: bool = True
    similarity: Correlation = 0.98  # of 16 x 16 grey thumbnails, from which two crops are one photo
    aligned_similarity: Correlation = 0.95  # the same of two crops laid over each other at the best shift and scale
    min_per_class: AtLeastOne = 2  # faces of each class that every part must hold
    keep_official: bool = True  # a split that the data set brings is kept
    clean_training: bool = False  # leave out of training: copies of val or test faces, repeats, constant faces

    def __post_init__(self) -> None:
        if abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"train, val and test must add up to 1, not {self.train} + {self.val} + {self.test}")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of train, validation and test."""
        return self.train, self.val, self.test


@dataclass(frozen=True)
class Split:
    """The parts, and what is to be known of them.

    `parts` has train, val and test: rows of the packed index with `group` (int64) and `leaked` (bool: the face's
    group is in an earlier part as well, which only a data set's own split can bring about).
    """

    parts: dict[str, pd.DataFrame]
    left_out: pd.DataFrame  # columns LEFT_OUT of training faces in no part, which `clean_training` left out
    audit: dict[str, Any]
    digest: str  # SHA-256, in hex, over the data's digest and which face is in which part


def split_faces(packed: PackedFaces, config: SplitConfig) -> Split:
    """The packed faces in three parts.

    Where the data set has an official split it is kept (`keep_official`), and a part that it lacks is taken from
    its training part; rows without an official part then count as training. Otherwise whole groups are shared
    out by class. Afterwards `clean_training` leaves faces out of the training part.

    Raises:
        UserError: a class that occurs has too few faces or groups for every part to get `min_per_class`, an
            official split has no training part, or nothing is left of it when it is cleaned.
    """
    index, classes = packed.index, packed.classes
    groups = group_faces(packed, config.similarity, config.aligned_similarity, near_duplicates=config.near_duplicates)
    official = config.keep_official and bool((index["source_split"] != "").any())
    labels = index["label"].to_numpy().astype(np.int64)
    if official:
        part = _official(index, groups.ids, labels, config)
    else:
        part = assign_groups(groups.ids, labels, config.shares, config.min_per_class, config.seed)
    pixels = identical_pixels(index, part)
    left_out, cleaned = index.iloc[:0].assign(reason="", detail="")[LEFT_OUT], None
    if config.clean_training:
        left_out = left_out_of_training(index, part, groups.constant)
        cleaned = count_left_out(left_out, index, classes)
    part[left_out.index] = NO_PART
    leaked = _leaked(part, groups.ids)
    if leaked.any() and not official:
        raise RuntimeError(f"{leaked.sum()} faces share their group with another part; please report this")
    table = index.assign(group=groups.ids, leaked=leaked)
    parts = {name: table[part == p].reset_index(drop=True) for p, name in enumerate(PARTS)}
    audit = audit_split(table, part, groups, official, config.shares, config.seed, classes)
    audit |= {"identical_pixels": pixels, "clean_training": cleaned}
    return Split(parts, left_out.reset_index(drop=True), audit, _digest(parts, packed.digest))


def _digest(parts: dict[str, pd.DataFrame], data_digest: str) -> str:
    digest = hashlib.sha256(data_digest.encode())
    for name in PARTS:
        digest.update("\n".join(["", name, *sorted(parts[name]["face_id"])]).encode())
    return digest.hexdigest()


def _official(index: pd.DataFrame, groups: np.ndarray, labels: np.ndarray, config: SplitConfig) -> np.ndarray:
    """The data set's own parts; those it lacks come out of its training part, whole groups at a time."""
    names = index["source_split"]
    if unknown := sorted(set(names) - {*PARTS, ""}):
        raise UserError(f"source_split {unknown[0]!r} is none of {', '.join(PARTS)}; the source must use these.")
    part = names.map({"": 0, "train": 0, "val": 1, "test": 2}).to_numpy().astype(np.int64)
    if not (part == 0).any():
        raise UserError(
            f"the data set's own split has {' and '.join(sorted(set(names)))} and nothing to train on; add train/, or "
            "share everything out by keep_official: false in conf/split."
        )
    taken = [p for p in (0, 1, 2) if p == 0 or not (part == p).any()]
    if len(taken) > 1:
        rows = np.flatnonzero(part == 0)
        whole = sum(config.shares[p] for p in taken)
        each = [config.shares[p] / whole for p in taken]
        chosen = assign_groups(groups[rows], labels[rows], each, config.min_per_class, config.seed)
        part[rows] = np.asarray(taken)[chosen]
    return part


def _leaked(part: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Which faces of val and test have their group in an earlier part (train; train or val), (N,) bool."""
    first = pd.Series(np.where(part == NO_PART, len(PARTS), part)).groupby(groups).transform("min").to_numpy()
    return first < part


def assign_groups(groups: np.ndarray, labels: np.ndarray, shares: Sequence[float], least: int, seed: int) -> np.ndarray:
    """The part of each face, (N,) int64 from 0 to len(shares) - 1; the faces of a group get the same.

    `groups` and `labels` (N,) are group and class of each face, `shares` each part's share of every class, together 1,
    `least` the faces of each class that every part must get. `seed` draws the order among groups of one size and among
    single faces.

    Raises:
        UserError: a class that occurs has too few faces or groups for that; names class, counts and need.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    counts = np.zeros((len(sizes), len(WITH_CONTEMPT)), np.int64)  # faces of each group and class
    np.add.at(counts, (groups, labels), 1)
    wanted = _targets(counts.sum(axis=0), np.asarray(shares), least)
    given = np.zeros_like(wanted)
    rng = np.random.default_rng(seed)
    part = np.full(len(sizes), -1)
    large = rng.permutation(np.flatnonzero(sizes > 1))
    for group in large[np.argsort(-sizes[large], kind="stable")]:
        lacking = (wanted - given) / np.maximum(wanted, 1)
        part[group] = (lacking @ counts[group]).argmax()
        given[part[group]] += counts[group]
    for label in range(counts.shape[1]):
        single = rng.permutation(np.flatnonzero((sizes == 1) & (counts[:, label] > 0)))
        need = _whole_shares((wanted - given)[:, label], len(single), rng)
        part[single] = np.repeat(np.arange(len(shares)), need)
    parts, got = len(shares), np.stack([counts[part == p].sum(axis=0) for p in range(len(shares))])
    for k in np.flatnonzero(got.sum(axis=0)):
        if got[:, k].min() < least:
            raise UserError(
                f"class {WITH_CONTEMPT[k]} has {got[:, k].sum()} faces in {(counts[:, k] > 0).sum()} groups that must "
                f"stay together, too few to give each of {parts} parts at least {least} (it takes {parts * least} "
                f"faces in {parts} groups or more); add faces of it, or lower min_per_class or the filter in conf."
            )
    assigned: np.ndarray = part[groups]
    return assigned


def _targets(totals: np.ndarray, shares: np.ndarray, least: int) -> np.ndarray:
    """Faces of each class that each part is to get, (parts, classes); what a part lacks the largest part gives."""
    wanted: np.ndarray = shares[:, None] * totals
    short = np.clip(least - wanted, 0, None) * (totals > 0)
    wanted += short
    wanted[shares.argmax()] -= short.sum(axis=0)
    return wanted


def _whole_shares(lacking: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` shared out in whole numbers as near to `lacking` as they go (largest remainders, ties drawn)."""
    need = np.clip(lacking, 0, None) if (lacking > 0).any() else np.ones_like(lacking)
    exact = need * (n / need.sum())
    whole: np.ndarray = np.floor(exact).astype(np.int64)
    rest = np.lexsort((rng.random(len(exact)), -(exact - whole).round(9)))[: n - whole.sum()]
    whole[rest] += 1
    return whole


def left_out_of_training(index: pd.DataFrame, part: np.ndarray, constant: np.ndarray) -> pd.DataFrame:
    """The training faces that a clean training leaves out: columns LEFT_OUT, indexed by the position in `index`.

    A face is left out that is of one single colour (`constant`, (N,) bool), that has the very pixels of a validation or
    test face, or the very pixels of an earlier training face: the first of several stays, whatever labels the others
    carry. `part` (N,) is 0 for training, 1 for validation, 2 for test.

    Raises:
        UserError: no training face would be left.
    """
    training, digests = part == 0, index["face_digest"]
    measured = index[~training].drop_duplicates("face_digest").set_index("face_digest")["face_id"]
    copy = training & ~constant & digests.isin(measured.index).to_numpy()
    rest = training & ~constant & ~copy
    firsts = index[rest].drop_duplicates("face_digest").set_index("face_digest")["face_id"]
    if firsts.empty:
        raise UserError(
            "clean_training leaves no face to train on: all are constant, or copies of validation or test faces."
        )
    repeat = rest & (digests.map(firsts) != index["face_id"]).to_numpy()
    kinds = (
        (training & constant, CONSTANT, "one single colour"),
        (copy, COPY, "the pixels of " + digests[copy].map(measured)),
        (repeat, REPEAT, "the pixels of " + digests[repeat].map(firsts) + ", which stays"),
    )
    found = [index[rows].assign(reason=reason, detail=detail) for rows, reason, detail in kinds]
    left_out: pd.DataFrame = pd.concat(found).sort_index()[LEFT_OUT]
    return left_out


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
