"""Evaluation of a model on another data set's faces.

Cross-corpus studies of expressions measure on the classes that both sides share. Two rules follow. A face whose
class the model cannot name is left out: no answer to it could be right. A class that the data set cannot name is
taken out of the model's choice, and the probabilities of the others are scaled up to 1: the annotators chose among
the others alone, so the model is asked the question that they answered. How often that class had been the model's
first answer is counted, with the accuracy that comes out if each of these answers counts as wrong.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.base.classes import PARTS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.state import state_folder
from mien.crop.cropping import QUARANTINE, crop_faces
from mien.crop.packed import PackedFaces, faces_digest, open_faces
from mien.crop.selection import CropConfig
from mien.evaluation import tables
from mien.evaluation.calibration import Temperature
from mien.evaluation.intervals import NAN
from mien.evaluation.measures import Floats
from mien.evaluation.scoring import EvaluateConfig, Evaluation, measure_logits
from mien.runtime.spec import Spec
from mien.sources.source import DataConfig, get_source
from mien.split.near_copies import first_rows


@dataclass(frozen=True)
class KnownModel:
    """A model with what is known of its training; `mien.inference.address.MeasuredModel.known` gives one."""

    logits: Callable[[np.ndarray, int], np.ndarray]  # faces (N, size, size, C) uint8 and a batch size to (N, classes)
    spec: Spec
    temperature: float | None  # None: never fitted
    # photo_digest and face_digest of each face that it was fitted or chosen with; None where nobody knows.
    seen: pd.DataFrame | None
    lineage: dict[str, Any]
    name: str  # for people
    identity: str  # the registered model, or data set and network
    version: int | None  # in the registry
    title: str  # of the data set that it learnt from
    drawn: bool  # learnt from drawings
    run_id: str | None  # the tracked run of a registered version


@dataclass(frozen=True)
class SharedClasses:
    """The classes of a model and of a data set; those both know come first in either, in the same order."""

    model: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that are measured."""
        return min(self.model, self.data, key=len)

    def unknown(self, faces: pd.DataFrame) -> pd.Series:
        """Which faces (N,) have a class that the model cannot name, bool."""
        return faces["label"] >= len(self.names)

    def logits(self, given: np.ndarray) -> np.ndarray:
        """Logits (N, model's classes) without the columns of classes that the data set cannot name.

        The softmax of the rest is what the probabilities of the rest are when they are scaled up to 1.
        """
        return given[:, : len(self.names)]

    def dropped(self, given: Floats | np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
        """What the model said of classes that the data set cannot name; None where there is none.

        Keys: `classes`, `first_answers` (faces whose first answer was one of them), and `accuracy_if_wrong` (the
        accuracy if these answers stay and count as wrong).
        """
        if len(self.model) == len(self.names):
            return None
        first = given.argmax(axis=1)
        return {
            "classes": list(self.model[len(self.names) :]),
            "first_answers": int((first >= len(self.names)).sum()),
            "accuracy_if_wrong": round(float((first == labels).mean()), 6),
        }


ALL: Final = "all"
PART_OPTIONS: Final = (*reversed(PARTS), ALL)


@dataclass(frozen=True)
class CutFaces:
    """Faces that were cut, and what was not.

    `packed` is memory-mapped; `part` one of PART_OPTIONS; `quarantine` the faces of the part that could not be cut or
    were filtered, with reasons; `unknown` counts faces of classes that the model cannot name; `problems` counts the raw
    data set's rows that could not be read.
    """

    packed: PackedFaces
    part: str
    classes: SharedClasses
    quarantine: pd.DataFrame
    unknown: dict[str, int]
    problems: int


def cut_faces(
    data: DataConfig, spec: Spec, part: str | None, filters: CropConfig, root: Path, scratch: Path
) -> CutFaces:
    """Read a data set and cut the faces of a part as `spec` says: size, colour, margin, square, EXIF rotation.

    Args:
        data: the data set; its path is taken from `root`.
        spec: of the model.
        part: "test", "val", "train" or "all"; None: "test" where the data set has an official one, else "all".
        filters: whose `min_confidence` and decoding are kept; its size, colour and sample of rows are not.
        root: the checkout.
        scratch: where the faces go; archives are unpacked into `.mien/unpacked` of the checkout.

    Raises:
        UserError: the data set is not there or of another shape, has no such part, or no face of it can be cut.
    """
    source, folder = get_source(data), root / data.path
    if not folder.is_dir():
        raise UserError(f"data set {data.name} is not here: {data.path} is missing; `mien data` says what goes there.")
    ingested = source.ingest(folder)
    chosen, rows = _part(ingested.faces, part, data.name)
    classes = SharedClasses(spec.classes, ingested.classes)
    unknown = classes.unknown(rows)
    if unknown.all():
        raise UserError(
            f"data set {data.name}, {chosen}: the model knows none of its classes; nothing can be measured."
        )
    config = dataclasses.replace(filters, **dataclasses.asdict(spec.cut), max_rows=0)
    photos = source.photos(folder, state_folder(root) / "unpacked")
    crop_faces(rows[~unknown], photos, config, scratch, classes=classes.names)
    quarantine = pd.read_csv(scratch / QUARANTINE, dtype=str, keep_default_na=False)
    labels = rows["label"][unknown].value_counts().sort_index()
    left_out = {WITH_CONTEMPT[int(str(label))]: int(n) for label, n in labels.items()}
    return CutFaces(open_faces(scratch), chosen, classes, quarantine, left_out, len(ingested.problems))


def _part(faces: pd.DataFrame, part: str | None, name: str) -> tuple[str, pd.DataFrame]:
    official = [p for p in reversed(PARTS) if (faces["source_split"] == p).any()]
    chosen = part or ("test" if "test" in official else ALL)
    if chosen == ALL:
        return ALL, faces
    if chosen not in official:
        has = f"official parts are {', '.join(official)}" if official else "data set has no official split"
        raise UserError(f"data set {name} has no part {chosen!r}: the {has}; --part all takes every usable face.")
    return chosen, faces[faces["source_split"] == chosen]


@dataclass(frozen=True)
class CrossEvaluation:
    """What was measured, on which faces, and what the result depends on.

    `pixels` (N, H, W, C) uint8 are the measured faces in the order of the evaluation's index; `learnt_from` counts
    the faces that were left out because the model learnt from them, None where nobody knows which those are;
    `dropped` is what `SharedClasses.dropped` says.
    """

    evaluation: Evaluation
    pixels: np.ndarray
    model: KnownModel
    data: DataConfig
    faces: CutFaces
    digest: str
    learnt_from: int | None
    dropped: dict[str, Any] | None


def evaluate_elsewhere(model: KnownModel, data: DataConfig, faces: CutFaces, config: EvaluateConfig) -> CrossEvaluation:
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
    logits = model.logits(pixels, config.batch_size)
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


def refuse_own_data(model: KnownModel, data: DataConfig) -> None:
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


def _own_temperature(model: KnownModel) -> Temperature:
    if model.temperature is None:
        return Temperature(1.0, 0, NAN, NAN, "the model has no temperature, so its probabilities are as they come")
    return Temperature(model.temperature, 0, NAN, NAN)


def metrics(cross: CrossEvaluation) -> dict[str, Any]:
    """What metrics.json holds: as that of the evaluate stage, with both sides named and all that was left out."""
    model = cross.model
    return {
        "data": cross.data.name,
        "part": cross.faces.part,
        "data_digest": cross.digest,
        "model": model.identity,
        "model_version": model.version,
        "network": model.lineage["model"],
        "learnt_from": {key: model.lineage[key] for key in ("data", "data_digest", "split_digest")},
        **tables.measured(cross.evaluation),
        "temperature_fitted_on": None if model.temperature is None else f"validation of {model.lineage['data']}",
        "left_out": {
            "learnt_from": cross.learnt_from,
            "class_unknown_to_the_model": cross.faces.unknown,
            "quarantine": {str(why): int(n) for why, n in cross.faces.quarantine["reason"].value_counts().items()},
            "unreadable_rows": cross.faces.problems,
        },
        "classes_unknown_to_the_data": cross.dropped,
    }
