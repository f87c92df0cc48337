"""Cross-data-set evaluation of a model, as in cross-corpus studies, on the classes that both sides share.

A face whose class the model cannot name is left out: no answer to it could be right. A class that the data set cannot
name is taken out of the model's choice, and the others' probabilities are scaled up to 1: the annotators chose among
these alone. How often that class had been the first answer is counted, with the accuracy if each such answer is wrong.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
import pandas as pd

from mien.base.classes import PARTS
from mien.base.errors import UserError
from mien.base.state import state_folder
from mien.crop.cropping import QUARANTINE, CropConfig, crop_faces
from mien.crop.packed import faces_digest, learnt_from, open_faces
from mien.evaluation import tables
from mien.evaluation.intervals import NAN, rounded
from mien.evaluation.measures import Temperature
from mien.evaluation.scoring import EvaluateConfig, Evaluation, measure_logits, with_slices
from mien.runtime.session import Model
from mien.sources.source import DataConfig, check_slices, get_source
from mien.split.near_copies import first_rows

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class MeasuredModel(Generic[M]):
    """A model whose training is known; `mien.inference.address.open_measured` gives one."""

    loaded: M
    lineage: dict[str, Any]
    # photo_digest and face_digest of each face that it was fitted or chosen with; None where nobody knows.
    seen: pd.DataFrame | None = None
    registered: str = ""  # the registered model; "" for a folder
    version: int | None = None
    run_id: str | None = None  # the tracked run of a registered version
    title: str = ""  # of the data set that it learnt from
    drawn: bool = False  # learnt from drawings

    @property
    def name(self) -> str:
        """For people: `mien-expw version 3`, or the training's name where the model is not registered."""
        return f"{self.registered} version {self.version}" if self.registered else str(self.lineage["run"])

    @property
    def slug(self) -> str:
        """For a folder's name: `mien-expw-3`, or data set and network of a model that is not registered."""
        named = (self.registered, self.version) if self.registered else (self.lineage["data"], self.lineage["model"])
        return "-".join(map(str, named))


ALL: Final = "all"
PART_OPTIONS: Final = (*reversed(PARTS), ALL)


@dataclass(frozen=True)
class CrossEvaluation:
    """What was measured, on which faces, and what was left out."""

    evaluation: Evaluation
    pixels: np.ndarray  # the measured faces, (N, H, W, C) uint8, in the order of the evaluation's index
    digest: str  # their identity
    model: MeasuredModel[Any]
    data: DataConfig
    part: str  # one of PART_OPTIONS
    learnt_from: int | None  # faces left out because the model learnt from them; None: nobody knows which those are
    unknown: dict[str, int]  # faces left out by class, of those that the model cannot name
    quarantine: pd.DataFrame  # faces that could not be cut or were filtered, with reasons
    problems: int  # rows of the raw data set that could not be read
    dropped: dict[str, Any] | None  # what `dropped_classes` gives


def evaluate_elsewhere(
    model: MeasuredModel[Any],
    data: DataConfig,
    part: str | None,
    crop: CropConfig,
    config: EvaluateConfig,
    root: Path,
    scratch: Path,
) -> CrossEvaluation:
    """Cut another data set's faces as the model's own were, and measure the model on them, at its own temperature.

    Faces of a photo that the model learnt from, and faces with the very pixels of such a one, are left out. The faces
    go to `scratch`; archives of the checkout `root` are unpacked into its `.mien/unpacked`.

    `part` is one of PART_OPTIONS, or None: "test" where the data set has an official one, else "all". Of `crop` only
    `min_confidence` and decoding are kept. A UserError where the data set is not there, of another shape or the model's
    own (whose test set is opened by the stage `evaluate` alone), has no such part, no face of it can be cut, the model
    learnt from every one of them, or it gives logits that are not finite.
    """
    if model.lineage["data"] == data.name:
        raise UserError(
            f"{model.name} learnt from {data.name} itself, and only `dvc repro evaluate` opens its test set; "
            "pass another data set with --data, or another model with --model."
        )
    source, folder = get_source(data), root / data.path
    if not folder.is_dir():
        raise UserError(f"data set {data.name}: {data.path} is missing; `mien data` lists the expected files.")
    ingested = source.ingest(folder)
    check_slices(data.slices, map(str, ingested.faces))
    part, rows = _part(ingested.faces, part, data.name)
    spec = model.loaded.spec
    shared = _shared_classes(spec.classes, ingested.classes, data.name)
    position = rows["label"].map({k: shared.index(n) for k, n in enumerate(ingested.classes) if n in shared})
    unknown = position.isna()
    if unknown.all():
        raise UserError(f"data set {data.name}, {part}: the model knows none of its faces' classes.")
    cut = dataclasses.replace(crop, **dataclasses.asdict(spec.cut), max_rows=0)
    photos = source.photos(folder, state_folder(root) / "unpacked")
    named = rows[~unknown].assign(label=position[~unknown].astype(rows["label"].dtype))
    crop_faces(named, photos, cut, scratch, classes=shared)
    packed = open_faces(scratch)

    known = np.zeros(len(packed.index), bool) if model.seen is None else learnt_from(packed.index, model.seen)
    if known.all():
        raise UserError(f"the model learnt from every one of the {len(known):,} faces of {data.name}; choose another.")
    pixels = packed.pixels[~known] if known.any() else packed.pixels
    index = with_slices(packed.index[~known].reset_index(drop=True), ingested.faces, data.slices)
    index = index.assign(group=first_rows(index["photo_digest"]), leaked=False)
    logits = model.loaded.logits(pixels, config.batch_size)
    logits_of_shared = logits[:, [spec.classes.index(name) for name in shared]]
    note = "the model has no temperature, so its probabilities are as they come" if spec.temperature is None else ""
    temperature = Temperature(spec.temperature or 1.0, 0, NAN, NAN, note)
    return CrossEvaluation(
        # The softmax of the other logits is what the probabilities of the other classes are, scaled up to 1.
        evaluation=measure_logits(temperature, logits_of_shared, index, shared, config),
        pixels=pixels,
        digest=faces_digest(index),
        model=model,
        data=data,
        part=part,
        learnt_from=None if model.seen is None else int(known.sum()),
        unknown={ingested.classes[k]: int(n) for k, n in enumerate(np.bincount(rows["label"][unknown])) if n},
        quarantine=pd.read_csv(scratch / QUARANTINE, dtype=str, keep_default_na=False),
        problems=len(ingested.problems),
        dropped=dropped_classes(spec.classes, shared, logits, index["label"].to_numpy()),
    )


def _part(faces: pd.DataFrame, part: str | None, name: str) -> tuple[str, pd.DataFrame]:
    official = [p for p in reversed(PARTS) if (faces["source_split"] == p).any()]
    chosen = part or ("test" if "test" in official else ALL)
    if chosen == ALL:
        return ALL, faces
    if chosen not in official:
        has = f"official parts are {', '.join(official)}" if official else "data set has no official split"
        raise UserError(f"data set {name} has no part {chosen!r}: the {has}; --part all takes every usable face.")
    return chosen, faces[faces["source_split"] == chosen]


def _shared_classes(known: Sequence[str], classes: Sequence[str], name: str) -> list[str]:
    """The classes that the model knows and the data set has, in the model's order."""
    shared = [one for one in known if one in classes]
    if len(shared) < 2:
        raise UserError(
            f"data set {name} has the classes {', '.join(classes)}, and the model has {', '.join(known)}: they share "
            f"{' and '.join(shared) or 'none'}, and nothing can be measured."
        )
    return shared


def dropped_classes(
    classes: Sequence[str], shared: Sequence[str], logits: np.ndarray, labels: np.ndarray
) -> dict[str, Any] | None:
    """What the model said of those of its `classes` that the data set cannot name; None where there is none.

    Keys: `classes`, `first_answers` (faces whose first answer was one of them), and `accuracy_if_wrong` (the accuracy
    if these answers stay and count as wrong). `logits` (N, classes) are those of all classes, `labels` (N,) positions
    in `shared`, the others.
    """
    if not (dropped := [name for name in classes if name not in shared]):
        return None
    first = np.array(classes)[logits.argmax(axis=1)]
    return {
        "classes": dropped,
        "first_answers": int(np.isin(first, dropped).sum()),
        "accuracy_if_wrong": rounded(float((first == np.array(shared)[labels]).mean())),
    }


def metrics(cross: CrossEvaluation) -> dict[str, Any]:
    """The content of metrics.json: as that of the evaluate stage, with both sides named and all that was left out."""
    model = cross.model
    fitted = model.loaded.spec.temperature is not None
    about = {
        "data": cross.data.name,
        "part": cross.part,
        "data_digest": cross.digest,
        "model": model.registered or model.slug,
        "model_version": model.version,
        "network": model.lineage["model"],
        "learnt_from": {key: model.lineage[key] for key in ("data", "data_digest", "split_digest")},
    }
    return {
        **tables.metrics(cross.evaluation, about),
        "temperature_fitted_on": f"validation of {model.lineage['data']}" if fitted else None,
        "left_out": {
            "learnt_from": cross.learnt_from,
            "class_unknown_to_the_model": cross.unknown,
            "quarantine": cross.quarantine["reason"].value_counts().to_dict(),
            "unreadable_rows": cross.problems,
        },
        "classes_unknown_to_the_data": cross.dropped,
    }
