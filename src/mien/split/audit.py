"""Leak audit of a split: faces that cross the parts, leaks of a random split, repeated data."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.base.classes import PARTS, count_labels
from mien.split.near_copies import Groups

# Beginnings of file names that may name a person, as S005_001_00000011.png or s01-happy.jpg.
PREFIXES: Final = (r"^([^_]+)_", r"^([^-]+)-", r"^([A-Za-z]+\d+)\D", r"^([^.]+)\.")
RECURRING: Final = 0.9  # share of faces whose beginning recurs across classes, from which it may be a person
FACES_OF_A_PERSON: Final = 25  # on average, up to which a word without a digit may name a person


def audit_split(
    table: pd.DataFrame,
    part: np.ndarray,
    groups: Groups,
    official: bool,
    shares: Sequence[float],
    seed: int,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The audit, ready for JSON.

    `table` is the packed index with `group` and `leaked`, `part` (N,) 0, 1, 2 for train, val, test; `official` says
    whether the parts are the data set's own; `shares` and `seed` are those of the random split that is compared.
    """
    labels, leaked, images = (table[key].to_numpy() for key in ("label", "leaked", "image"))
    same_face = table.groupby("face_digest")["label"].nunique() > 1
    near_labels, near_images = (keys[groups.near[:, 0]] != keys[groups.near[:, 1]] for keys in (labels, images))
    parts = {name: table[part == p] for p, name in enumerate(PARTS)}
    sizes = table["group"].value_counts().value_counts().sort_index()
    return {
        "faces": len(table),
        "official_split": official,
        "parts": {
            name: {
                "faces": len(rows),
                "photos": int(rows["image"].nunique()),
                "groups": int(rows["group"].nunique()),
                "classes": count_labels(rows["label"], classes),
            }
            for name, rows in parts.items()
        },
        # "2": how many groups of two faces
        "groups": {"n": int(table["group"].nunique()), "sizes": {str(size): int(n) for size, n in sizes.items()}},
        "pairs": {
            "same_photo": _pairs_sharing(table["image"]),
            "identical_pixels": _pairs_sharing(table["face_digest"]),
            "near_duplicates": len(groups.near),
            "near_duplicates_of_different_photos": int(near_images.sum()),
            "mirrored": len(groups.mirrored),
            "recall_of_similar": round(groups.recall, 4),
        },
        "persons": int(table.loc[table["person"] != "", "person"].nunique()),
        "person_key": None if (table["person"] != "").any() else recurring_prefix(table),
        "photos_under_several_names": int((table.groupby("photo_digest")["image"].nunique() > 1).sum()),
        "constant_faces": int(groups.constant.sum()),
        "conflicting_labels": {
            "identical_pixels_groups": int(same_face.sum()),
            "near_duplicate_pairs": int(near_labels.sum()),
        },
        # Groups in both of two parts; 0 unless the data set's own split brings them.
        "overlap": {
            f"{a}_and_{b}": len({*parts[a]["group"]} & {*parts[b]["group"]}) for a, b in combinations(PARTS, 2)
        },
        "leaked_test_faces": int((leaked & (part == 2)).sum()),
        "leaked_val_faces": int((leaked & (part == 1)).sum()),
        "naive_row_split": naive_leaks(table, groups, shares, seed),
    }


def identical_pixels(index: pd.DataFrame, part: np.ndarray) -> dict[str, int]:
    """How often the very same pixels occur, and in which parts; `part` (N,) is 0, 1, 2 for train, val, test."""
    digests = index["face_digest"]
    groups = index.groupby("face_digest")["label"].agg(["size", "nunique"])
    held = [digests[part == p] for p in range(len(PARTS))]
    in_train, in_val = (held[2].isin(held[p]).to_numpy() for p in (0, 1))
    return {
        "groups": int((groups["size"] > 1).sum()),
        "groups_with_conflicting_labels": int((groups["nunique"] > 1).sum()),
        "test_faces_also_in_train": int(in_train.sum()),
        "test_faces_also_in_train_or_val": int((in_train | in_val).sum()),
        "val_faces_also_in_train": int(held[1].isin(held[0]).sum()),
    }


def naive_leaks(table: pd.DataFrame, groups: Groups, shares: Sequence[float], seed: int) -> dict[str, int]:
    """Test faces whose group, photo, pixels or near copy a random split of rows would have had in training as well."""
    n = len(table)
    order = np.random.default_rng(seed).permutation(n)
    train, test = np.zeros(n, bool), np.zeros(n, bool)
    train[order[: round(shares[0] * n)]] = True
    test[order[n - round(shares[2] * n) :]] = True
    near = np.zeros(n, bool)
    for a, b in (groups.near.T, groups.near.T[::-1]):
        near[a[train[b]]] = True
    kinds = {"group": "group", "same_photo": "image", "identical_pixels": "face_digest"}
    shared = {name: test & table[key].isin(table.loc[train, key]).to_numpy() for name, key in kinds.items()}
    counts = {f"test_faces_sharing_{name}": int(rows.sum()) for name, rows in shared.items()}
    return {"test_faces": int(test.sum()), **counts, "test_faces_with_near_duplicate": int((near & test).sum())}


def recurring_prefix(index: pd.DataFrame) -> dict[str, Any] | None:
    """What may name the persons of a data set: the beginning of the file names, where it recurs across classes.

    `pattern` is what conf/data's `person` would be, `values` how many there are, `faces` how many faces have one;
    None where fewer than nine in ten faces share such a beginning with a face of another class, or where the beginnings
    look like words for a search: without digits, and each of many faces.
    """
    names = index["image"].str.rsplit("/", n=1).str[-1]
    for pattern in PREFIXES:
        prefix = names.str.extract(pattern, expand=False)
        classes = index["label"].groupby(prefix).transform("nunique")
        recurs = prefix.notna() & (classes > 1)
        values = prefix.nunique()
        numbered = prefix.str.contains(r"\d").mean() > RECURRING
        if recurs.mean() >= RECURRING and values > 1 and (numbered or len(index) / values <= FACES_OF_A_PERSON):
            return {"pattern": pattern, "values": int(values), "faces": int(recurs.sum())}
    return None


def _pairs_sharing(keys: pd.Series) -> int:
    sizes = keys.value_counts().to_numpy()
    return int((sizes * (sizes - 1) // 2).sum())
