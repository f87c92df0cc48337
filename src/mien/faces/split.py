"""Packed faces to train, validation and test, with no photo or duplicate on both sides."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.faces.assignment import assign_groups
from mien.faces.clean import count_left_out, left_out_of_training, none_left_out
from mien.faces.duplicates import group_faces
from mien.faces.packed import PackedFaces
from mien.faces.settings import SplitConfig
from mien.faces.split_audit import audit_split, identical_pixels

PARTS: Final = ("train", "val", "test")
NO_PART: Final = -1


@dataclass(frozen=True)
class Split:
    """The parts, and what is to be known of them.

    `parts` has train, val and test: rows of the packed index with `group` (int64) and `leaked` (bool: the face's
    group lies in an earlier part as well, which only a data set's own split can bring about). `left_out` has
    `face_id, image, label, reason, detail` of training faces in no part, which `clean_training` left out.
    """

    parts: dict[str, pd.DataFrame]
    left_out: pd.DataFrame
    audit: dict[str, Any]
    digest: str


def split_faces(packed: PackedFaces, config: SplitConfig) -> Split:
    """The packed faces in three parts.

    Where the data set has an official split it is kept (`keep_official`), and a part that it lacks is taken from
    its training part; rows without an official part then count as training. Otherwise whole groups are shared
    out by class.

    Afterwards `clean_training` leaves faces out of the training part.

    Raises:
        UserError: a class that occurs has too few faces or groups for every part to get `min_per_class`, an
            official split has no training part, or nothing is left of it when it is cleaned.
    """
    index = packed.index
    groups = group_faces(packed, config)
    official = config.keep_official and bool((index["source_split"] != "").any())
    labels = index["label"].to_numpy().astype(np.int64)
    if official:
        part = _official(index, groups.ids, labels, config)
    else:
        shares = (config.train, config.val, config.test)
        part = assign_groups(groups.ids, labels, shares, config.min_per_class, config.seed)
    given = part.copy()
    left_out = left_out_of_training(index, part, groups.constant) if config.clean_training else none_left_out(index)
    part[left_out.index] = NO_PART
    leaked = _leaked(part, groups.ids)
    if leaked.any() and not official:
        raise RuntimeError(f"{leaked.sum()} faces share their group with another part; please report this")
    table = index.assign(group=groups.ids, leaked=leaked)
    parts = {name: table[part == p].reset_index(drop=True) for p, name in enumerate(PARTS)}
    classes = packed.spec["classes"]
    audit = audit_split(table, part, groups, official, config, classes)
    audit["identical_pixels"] = identical_pixels(index, given)
    audit["clean_training"] = count_left_out(left_out, index, classes) if config.clean_training else None
    return Split(parts, left_out.reset_index(drop=True), audit, split_digest(parts, str(packed.spec["digest"])))


def split_digest(parts: dict[str, pd.DataFrame], data_digest: str) -> str:
    """SHA-256, in hex, over the data's digest and which face is in which part."""
    digest = hashlib.sha256(data_digest.encode())
    for name in PARTS:
        digest.update("\n".join(["", name, *sorted(parts[name]["face_id"])]).encode())
    return digest.hexdigest()


def _official(index: pd.DataFrame, groups: np.ndarray, labels: np.ndarray, config: SplitConfig) -> np.ndarray:
    """The data set's own parts; those it lacks come out of its training part, whole groups at a time."""
    names = index["source_split"]
    unknown = sorted(set(names) - {*PARTS, ""})
    if unknown:
        raise UserError(f"source_split {unknown[0]!r} is none of {', '.join(PARTS)}; the source must use these.")
    part = names.map({"": 0, "train": 0, "val": 1, "test": 2}).to_numpy().astype(np.int64)
    if not (part == 0).any():
        raise UserError(
            f"the data set's own split has {' and '.join(sorted(set(names)))} and nothing to train on; add train/, or "
            "share everything out by keep_official: false in conf/split."
        )
    shares = {0: config.train, 1: config.val, 2: config.test}
    taken = [p for p in (0, 1, 2) if p == 0 or not (part == p).any()]
    if len(taken) > 1:
        rows = np.flatnonzero(part == 0)
        whole = sum(shares[p] for p in taken)
        each = [shares[p] / whole for p in taken]
        chosen = assign_groups(groups[rows], labels[rows], each, config.min_per_class, config.seed)
        part[rows] = np.asarray(taken)[chosen]
    return part


def _leaked(part: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Which faces of val and test have their group in an earlier part (train; train or val), (N,) bool."""
    first = np.full(groups.max() + 1, len(PARTS))
    np.minimum.at(first, groups, np.where(part == NO_PART, len(PARTS), part))
    leaked: np.ndarray = first[groups] < part
    return leaked
