"""Crop settings, and the selection of faces by confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Le

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.base.settings import STRICT, Count, Positive, Seed
from mien.runtime.spec import CutSpec
from mien.sources.faces import PROBLEM_COLUMNS
from mien.sources.fingerprints import BOX, hashed, photo_keys


@dataclass(frozen=True)
class CropConfig:
    """How photos become faces of one size."""

    __pydantic_config__ = STRICT

    size: Annotated[int, Ge(16), Le(512)] = 64  # pixels; faces are size x size
    colour: Literal["rgb", "grey"] = "rgb"  # grey is one channel
    min_confidence: float = 30.0  # keep faces above it; a face without a confidence is kept
    max_rows: Count = 0  # 0: all; else a random sample of so many rows after the filter
    sample_seed: Seed = 42  # of max_rows
    margin: Annotated[float, Ge(0), Le(2)] = 0.0  # added on each side, as a share of the box's size
    square: bool = False  # widen the shorter side, so that the face is not stretched
    max_megapixels: Positive = 100.0  # a larger photo is quarantined unread
    workers: Count = 0  # 0: one per core

    @property
    def cut(self) -> CutSpec:
        """How each face is cut."""
        return CutSpec(self.size, self.colour, self.margin, self.square)


def select_faces(
    faces: pd.DataFrame, config: CropConfig, classes: Sequence[str] = EXPRESSIONS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to cut, in the table's order, and the rows left out, as a problems table.

    A face is kept where its confidence is above `min_confidence` or missing. `max_rows` then takes the
    first by a hash of photo, box and `sample_seed`: a face more in the table moves at most one other. Where no row is
    left, a UserError names the threshold, the counts and the spread of the confidences.
    """
    confidence, threshold = faces["confidence"], config.min_confidence
    low = (confidence <= threshold).to_numpy()
    if low.all():
        quantiles = ", ".join(f"{q:.0%} {confidence.quantile(q):g}" for q in (0.1, 0.5, 0.9, 0.99))
        raise UserError(
            f"none of {len(faces):,} faces has a confidence above min_confidence {threshold:g}: they go from "
            f"{confidence.min():g} to {confidence.max():g} (quantiles {quantiles}); lower min_confidence in conf/crop."
        )
    chosen = above = np.flatnonzero(~low)
    if 0 < config.max_rows < len(above):
        drawn = faces.iloc[above]
        boxes = drawn[BOX].astype(str).agg(" ".join, axis=1)
        order = np.argsort(hashed(photo_keys(drawn) + " " + boxes, config.sample_seed), kind="stable")
        chosen = np.sort(above[order[: config.max_rows]])
    details = [f"confidence {value:g} is not above min_confidence {threshold:g}" for value in confidence[low]]
    left_out = (
        problem_rows(faces[low], classes, "low_confidence", details),
        problem_rows(faces.iloc[np.setdiff1d(above, chosen)], classes, "not_sampled", f"max_rows is {config.max_rows}"),
    )
    return faces.iloc[chosen].reset_index(drop=True), pd.concat(left_out, ignore_index=True)


def problem_rows(
    faces: pd.DataFrame, classes: Sequence[str], reasons: str | Sequence[str], details: str | Sequence[str]
) -> pd.DataFrame:
    """Rows of the faces table as rows of the problems table, for one reason or one each; `where` is the photo."""
    labels = [classes[label] for label in faces["label"]]
    columns = {"where": faces["image"], "face_id": faces["face_id"], "image": faces["image"]}
    table = pd.DataFrame(columns).assign(label=labels, reason=reasons, detail=details)
    return table[list(PROBLEM_COLUMNS)].astype("str").reset_index(drop=True)
