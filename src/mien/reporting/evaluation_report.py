"""Reports as self-contained HTML pages: of an evaluation, with a viewer of its faces, and of likely wrong labels."""

import base64
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from mien.base.classes import ALWAYS_SLICED, PARTS, count_labels
from mien.base.files import read_out, replacing, rerun
from mien.crop.packed import PackedFaces
from mien.evaluation import tables
from mien.evaluation.scoring import Evaluation, slice_rows
from mien.models.description import hardware_words, read_history, read_lineage
from mien.reporting.curves import training_figure
from mien.reporting.figures import draw_evaluation, errors_figure
from mien.reporting.images import Pixels, augmentation_sheet, data_uri, face_jpeg, face_png, spread
from mien.reporting.pages import note, page, picture
from mien.reporting.style import DARK

if TYPE_CHECKING:
    from mien.evaluation.label_noise import LabelNoise  # imports PyTorch
    from mien.evaluation.other_data import CrossEvaluation  # the DAG makes none

SAMPLES: Final = 12  # faces of each class on the report
MOST: Final = 5000  # faces in a gallery; the csv beside it has all
QUALITY: Final = 88  # of its JPEGs: a page of 5,000 faces stays at some 10 to 20 MB
SENTENCES: Final = Path(__file__).with_name("templates") / "other_data.md.j2"
LABELS_PAGE: Final = "labels.html"
LABELS_TABLE: Final = "labels.csv"

Filters = Mapping[str, Mapping[str, npt.NDArray[Any]]]  # by name, by option: which faces it shows, (N,) bool


@dataclass(frozen=True)
class Background:
    """What the report says besides the measures."""

    title: str  # of the measured data set
    drawn: bool  # whether its faces are drawings
    lineage: dict[str, Any]  # what the training wrote of itself
    parts: dict[str, dict[str, int]]  # faces of each class, by part
    quarantine: pd.DataFrame  # `reason` and `label` of each face that could not be used
    augmented: bytes = b""  # PNG: training faces and their random changes
    curves: tuple[bytes, ...] = ()  # PNG of the training, light and dark
    samples: Mapping[str, list[str]] = field(default_factory=dict)  # faces of each class as data URIs
    persons: Mapping[str, int] = field(default_factory=dict)  # by part; else the same person may stand in two
    other: "CrossEvaluation | None" = None  # None: the model is measured on its own data set
    sentences: Sequence[str] = ()  # how the model and the other data set were brought together


def read_background(build: Path, packed: PackedFaces, title: str, drawn: bool, best_epoch: int) -> Background:
    """What the stages before evaluate left below `build/`; a UserError where a file is missing or damaged."""
    parts, persons, labels = {}, {}, packed.index["label"].to_numpy()
    for name in PARTS:
        part = read_out(build / f"split/{name}.parquet", pd.read_parquet, rerun("split"))
        parts[name] = count_labels(part["label"], packed.classes)
        persons[name] = part["person"].replace("", None).nunique()
    quarantine = read_out(
        build / "crop/quarantine.csv", lambda file: pd.read_csv(file, dtype="str", keep_default_na=False), rerun("crop")
    )
    epochs = read_history(build / "train/history.csv")
    return Background(
        title,
        drawn,
        read_lineage(build / "train"),
        parts,
        quarantine,
        augmentation_sheet(read_out(build / "train/augmented.npy", np.load, rerun("train"))),
        (training_figure(epochs, best_epoch), training_figure(epochs, best_epoch, DARK)),
        {
            name: [data_uri(face_png(packed.pixels[row])) for row in spread(np.flatnonzero(labels == k), SAMPLES)]
            for k, name in enumerate(packed.classes)
        },
        persons if any(persons.values()) else {},
    )


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
    if background.curves:
        light["curves"], dark["curves"] = background.curves
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


def write_viewer(evaluation: Evaluation, title: str, faces: Pixels, viewer: Path) -> None:
    """Write the page of the test faces with filters, those whose label the model believes least first.

    A label is doubtful where the model answers otherwise and confident learning (Northcutt et al. 2021, equation 1)
    counts the face to another class: the likeliest of those that it is as sure of as on average of their own faces.
    """
    answers, table, classes = evaluation.predictions, evaluation.predictions.table, evaluation.predictions.classes
    labels, predicted, probabilities = answers.labels, answers.predicted, answers.probabilities
    own, answer = (np.take_along_axis(probabilities, of[:, None], axis=1)[:, 0] for of in (labels, predicted))
    usual = np.array([own[labels == k].mean() if (labels == k).any() else np.inf for k in range(len(classes))])
    believed = np.where(probabilities >= usual, probabilities, 0)
    slices, _ = slice_rows(table.assign(label=labels), classes)
    wrong = labels != predicted
    doubtful = wrong & (believed.max(axis=1) > believed[np.arange(len(labels)), labels])
    filters: Filters = {
        "labelled": {name: labels == k for k, name in enumerate(classes)},
        "predicted": {name: predicted == k for k, name in enumerate(classes)},
        "answers": {"right": ~wrong, "wrong": wrong, "label doubtful": doubtful},
        "confidence": {
            "below 50 %": answer < 0.5,
            "50 to 90 %": (answer >= 0.5) & (answer < 0.9),
            "90 % and above": answer >= 0.9,
        },
        "slice": {f"{group}: {name}": rows for (group, name), rows in slices.items() if group != ALWAYS_SLICED[0]},
    }
    order = spread(np.argsort(own, kind="stable"), MOST)
    words = table.assign(own=own, answer=answer)[["face_id", "image", "label", "own", "predicted", "answer"]]
    shown = {name: {option: rows[order] for option, rows in of.items()} for name, of in filters.items() if of}
    content = gallery(shown, words.iloc[order].itertuples(index=False), faces[order])
    viewer.write_text(page("faces.html", title=title, all=len(table), **content), encoding="utf-8")


def gallery(filters: Filters, words: Iterable[Sequence[Any]], faces: Iterable[Pixels]) -> dict[str, Any]:
    """What `gallery.html` needs: the filters, and of each face its words, the options it answers to, and its JPEG.

    Words are its name, its photo, its label with the probability of that, and another class with its own.
    """
    options = np.column_stack([rows for of in filters.values() for rows in of.values()])
    return {
        "filters": {name: list(of) for name, of in filters.items()},
        # Lists, as names in thousands of objects would double the page.
        "faces": [
            [name, "" if photo in name else photo, label, round(float(p), 3), other, round(float(q), 3),
             np.flatnonzero(fits).tolist(), base64.b64encode(face_jpeg(face, QUALITY)).decode("ascii")]
            for (name, photo, label, p, other, q), fits, face in zip(words, options, faces, strict=True)
        ],
    }  # fmt: skip


def quarantine_counts(quarantine: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Faces by reason (rows, most frequent first) and class (columns, "unknown" last), and in all."""
    known = quarantine["label"].where(quarantine["label"].isin(classes), "unknown")
    counts = pd.crosstab(quarantine["reason"], known).reindex(columns=[*classes, "unknown"], fill_value=0)
    counts["all"] = counts.sum(axis=1)
    return counts.sort_values("all", ascending=False, kind="stable")


def write_cross_evaluation(cross: "CrossEvaluation", metrics: Mapping[str, Any], folder: Path) -> None:
    """Write the report, its figures, metrics and tables into a folder, each replaced as a whole; other files stay."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    evaluation, data = cross.evaluation, cross.data
    parts, about = {"measured": evaluation.whole.support}, (data.title or data.name, data.drawn, cross.model.lineage)
    background = Background(*about, parts, cross.quarantine, other=cross, sentences=sentences(cross))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as scratch:
        waiting = Path(scratch)
        (waiting / "figures").mkdir()
        write_report(evaluation, background, cross.pixels, waiting / "report.html", waiting / "figures")
        write_viewer(evaluation, data.title or data.name, cross.pixels, waiting / "faces.html")
        evaluation.predictions.table.to_csv(waiting / "predictions.csv", index=False)
        tables.confusion(evaluation).to_csv(waiting / "confusion.csv", index=False)
        tables.write_json(metrics, waiting / "metrics.json")
        for file in sorted(f for f in waiting.rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def sentences(cross: "CrossEvaluation") -> list[str]:
    """How model and data set were brought together: which faces, which classes, which temperature."""
    return note(SENTENCES, "sentences", cross, cross.quarantine["reason"].value_counts()).split("\n")


def write_label_noise(found: "LabelNoise", about: dict[str, Any], folder: Path) -> None:
    """Write labels.html, suspects with filters, and labels.csv, all faces; `about`: title, model, folds, epochs."""
    classes, suspects = list(found.packed.classes), found.ranked[found.ranked["suspect"]]
    shown = suspects.head(MOST)
    pairs = pd.crosstab(suspects["label"], suspects["suggested"])
    filters = {
        title: {name: (shown[column] == name).to_numpy() for name in classes}
        for title, column in (("labelled", "label"), ("perhaps", "suggested"))
    }
    words = shown.assign(image=shown["image"] + " · " + shown["part"])[
        ["face_id", "image", "label", "p_label", "suggested", "p_suggested"]
    ]
    html = page(
        "labels.html",
        about={**about, "accuracy": found.accuracy, "faces": len(found.ranked)},
        suspects=len(suspects),
        classes=found.packed.classes,
        pairs=pairs.reindex(index=classes, columns=classes, fill_value=0),
        **gallery(filters, words.itertuples(index=False), found.packed.pixels[shown["row"]]),
    )
    for name, text in {LABELS_PAGE: html, LABELS_TABLE: found.ranked.drop(columns="row").to_csv(index=False)}.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
