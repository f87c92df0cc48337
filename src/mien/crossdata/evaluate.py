"""A model on another data set than its own: the measures of the evaluate stage, with the model's own temperature."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mien.crossdata.faces import CutFaces
from mien.crossdata.model import MeasuredModel
from mien.errors import UserError
from mien.evaluation.calibration import Temperature
from mien.evaluation.evaluate import Evaluation, measure_logits
from mien.evaluation.settings import EvaluateConfig
from mien.faces.duplicates import first_rows
from mien.faces.packed import faces_digest
from mien.sources.settings import DataConfig


@dataclass(frozen=True)
class CrossEvaluation:
    """What was measured, on which faces, and what the result depends on.

    `pixels` (N, H, W, C) uint8 are the measured faces in the order of the evaluation's index; `learnt_from` counts
    the faces that were left out because the model learnt from them, None where nobody knows which those are;
    `dropped` is what `SharedClasses.dropped` says.
    """

    evaluation: Evaluation
    pixels: np.ndarray
    model: MeasuredModel
    data: DataConfig
    faces: CutFaces
    digest: str
    learnt_from: int | None
    dropped: dict[str, Any] | None


def evaluate_elsewhere(
    model: MeasuredModel, data: DataConfig, faces: CutFaces, config: EvaluateConfig
) -> CrossEvaluation:
    """Measure the model on faces of another data set, with the temperature that it has.

    Faces of a photo that the model learnt from, and faces with the very pixels of such a one, are left out.

    Raises:
        UserError: the model learnt from every one of them, or gives logits that are not finite.
    """
    packed = faces.packed
    known = _known(packed.index, model.seen)
    if known.all():
        raise UserError(f"the model learnt from every one of the {len(known):,} faces of {data.name}; choose another.")
    pixels = packed.pixels[~known] if known.any() else packed.pixels
    index = packed.index[~known].reset_index(drop=True)
    index = index.assign(group=first_rows(index["photo_digest"]), leaked=False)
    logits = model.loaded.classifier.logits(pixels, config.batch_size)
    temperature = _own_temperature(model)
    return CrossEvaluation(
        evaluation=measure_logits(temperature, faces.classes.logits(logits), index, config),
        pixels=pixels,
        model=model,
        data=data,
        faces=faces,
        digest=faces_digest(index),
        learnt_from=None if model.seen is None else int(known.sum()),
        dropped=faces.classes.dropped(logits, index["label"].to_numpy()),
    )


def refuse_own_data(model: MeasuredModel, data: DataConfig) -> None:
    """Raise a UserError where the model learnt from this very data set: its test set is opened by evaluate alone."""
    if model.lineage["data"] == data.name:
        raise UserError(
            f"{model.name} learnt from {data.name} itself, whose test set `dvc repro evaluate` alone opens; "
            "say another data set by --data, or another model by --model."
        )


def _known(index: pd.DataFrame, seen: pd.DataFrame | None) -> np.ndarray:
    """Which faces the model learnt from: the same photo, or the same pixels as it was given, (N,) bool."""
    if seen is None:
        return np.zeros(len(index), bool)
    known = index["photo_digest"].isin(set(seen["photo_digest"])) | index["face_digest"].isin(set(seen["face_digest"]))
    return known.to_numpy()


def _own_temperature(model: MeasuredModel) -> Temperature:
    value, nan = model.loaded.temperature, float("nan")
    if value is None:
        return Temperature(1.0, 0, nan, nan, "the model has no temperature, so its probabilities are as they come")
    return Temperature(value, 0, nan, nan)
