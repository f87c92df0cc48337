"""Evaluation report: figures and one self-contained HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mien.base.classes import PARTS, count_labels
from mien.base.records import read_out, rerun
from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.scoring import Evaluation
from mien.models.description import hardware_words, read_lineage
from mien.reporting.figures import draw_evaluation, errors_figure
from mien.reporting.images import augmentation_sheet, data_uri, face_png
from mien.reporting.pages import page, picture
from mien.reporting.style import DARK

if TYPE_CHECKING:
    from mien.evaluation.other_data import CrossEvaluation  # the DAG makes none


@dataclass(frozen=True)
class Background:
    """What the report says besides the measures."""

    title: str  # of the measured data set
    drawn: bool  # whether its faces are drawings
    lineage: dict[str, Any]  # what the training wrote of itself
    parts: dict[str, dict[str, int]]  # faces of each class, by part
    quarantine: pd.DataFrame  # `reason` and `label` of each face that could not be used
    augmented: bytes = b""  # PNG: training faces and their random changes
    persons_named: bool = False  # else the same person may stand in two parts
    other: "CrossEvaluation | None" = None  # None: the model is measured on its own data set
    sentences: Sequence[str] = ()  # how the model and the other data set were brought together


def read_background(build: Path, title: str, drawn: bool) -> Background:
    """What the stages before evaluate left below `build/`; a UserError where a file is missing or damaged."""
    classes = open_faces(build / "crop").classes
    parts, persons_named = {}, False
    for name in PARTS:
        part = read_out(build / f"split/{name}.parquet", pd.read_parquet, rerun("split"))
        parts[name] = count_labels(part["label"], classes)
        persons_named |= bool((part["person"] != "").any())
    quarantine = read_out(
        build / "crop/quarantine.csv", lambda file: pd.read_csv(file, dtype="str", keep_default_na=False), rerun("crop")
    )
    augmented = augmentation_sheet(read_out(build / "train/augmented.npy", np.load, rerun("train")))
    return Background(title, drawn, read_lineage(build / "train"), parts, quarantine, augmented, persons_named)


def faces_of(evaluation: Evaluation, packed: PackedFaces) -> npt.NDArray[Any]:
    """The faces of the predictions, (N, H, W, C) uint8, in their order."""
    rows = packed.index.set_index("face_id")["row"]
    return np.asarray(packed.pixels[rows.loc[evaluation.predictions.table["face_id"]]])


def write_report(
    evaluation: Evaluation, background: Background, faces: npt.NDArray[Any], report: Path, figures: Path
) -> None:
    """Write the page, and its figures as PNG to a folder; `faces` are those of the predictions, (N, H, W, C) uint8."""
    light, dark = draw_evaluation(evaluation), draw_evaluation(evaluation, DARK)
    for name, png in {**light, "errors": errors_figure(evaluation, faces)}.items():
        (figures / f"{name}.png").write_bytes(png)
    html = page(
        "report.html",
        e=evaluation,
        b=background,
        trained_on=hardware_words(background.lineage),
        slice_groups=[(g, list(s)) for g, s in groupby(evaluation.slices.slices, key=lambda s: s.group)],
        picture=lambda name, alt: picture(light[name], dark[name], alt),
        face=lambda row: data_uri(face_png(faces[row])),
        augmented=background.augmented and data_uri(background.augmented),
        quarantine=quarantine_counts(background.quarantine, evaluation.predictions.classes),
    )
    report.write_text(html, encoding="utf-8")


def quarantine_counts(quarantine: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Faces by reason (rows, most frequent first) and class (columns, "unknown" last), and in all."""
    known = quarantine["label"].where(quarantine["label"].isin(classes), "unknown")
    counts = pd.crosstab(quarantine["reason"], known).reindex(columns=[*classes, "unknown"], fill_value=0)
    counts["all"] = counts.sum(axis=1)
    return counts.sort_values("all", ascending=False, kind="stable")
