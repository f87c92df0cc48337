"""Which training faces do harm: copies of what is measured on, copies of one another, and pictures of nothing."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.errors import UserError

CONSTANT: Final = "constant_face"
COPY: Final = "copy_of_val_or_test"
REPEAT: Final = "repeat"
LEFT_OUT: Final = ["face_id", "image", "label", "reason", "detail"]


def left_out_of_training(index: pd.DataFrame, part: np.ndarray, constant: np.ndarray) -> pd.DataFrame:
    """The training faces that a clean training leaves out, with a reason each; a row per face, in the index's order.

    A face is left out that is of one single colour, that has the very pixels of a validation or test face, or the
    very pixels of an earlier training face. So the first of several stays, with its label, whatever labels the
    others carry.

    Args:
        index: of N packed faces.
        part: (N,) 0 for training, 1 for validation, 2 for test.
        constant: (N,) bool, faces of one single colour.

    Returns:
        columns `face_id, image, label, reason, detail`, indexed by the faces' positions in `index`.

    Raises:
        UserError: no training face would be left.
    """
    training, digests = part == 0, index["face_digest"]
    measured = index[~training].drop_duplicates("face_digest").set_index("face_digest")["face_id"]
    copy = training & ~constant & digests.isin(measured.index).to_numpy()
    candidates = index[training & ~constant & ~copy]
    firsts = candidates.drop_duplicates("face_digest").set_index("face_digest")["face_id"]
    repeats = candidates.index[candidates["face_digest"].duplicated()]
    if len(firsts) == 0:
        raise UserError(
            "clean_training leaves no face to train on: all are constant, or copies of validation or test faces."
        )
    found = pd.concat(
        [
            _rows(index[training & constant], CONSTANT, ["one single colour"] * int((training & constant).sum())),
            _rows(index[copy], COPY, [f"the pixels of {measured[d]}" for d in digests[copy]]),
            _rows(index.loc[repeats], REPEAT, [f"the pixels of {firsts[d]}, which stays" for d in digests[repeats]]),
        ]
    )
    return found.sort_index()


def none_left_out(index: pd.DataFrame) -> pd.DataFrame:
    """As `left_out_of_training`, where nothing is left out."""
    return _rows(index.iloc[:0], "", [])


def _rows(faces: pd.DataFrame, reason: str, details: list[str]) -> pd.DataFrame:
    return faces.assign(reason=reason, detail=details)[LEFT_OUT]


def count_left_out(left_out: pd.DataFrame, index: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """How many faces were left out, by reason, by class, and how many repeats disagreed with the face that stays."""
    reasons, labels = left_out["reason"].value_counts(), left_out["label"].value_counts()
    stays = index.drop(left_out.index).drop_duplicates("face_digest").set_index("face_digest")["label"]
    repeats = left_out.index[left_out["reason"] == REPEAT]
    others = index.loc[repeats, "face_digest"].map(stays) != index.loc[repeats, "label"]
    return {
        "left_out": len(left_out),
        "reasons": {reason: int(reasons.get(reason, 0)) for reason in (CONSTANT, COPY, REPEAT)},
        "classes": {name: int(labels.get(i, 0)) for i, name in enumerate(classes)},
        "repeats_labelled_otherwise": int(others.sum()),
    }
