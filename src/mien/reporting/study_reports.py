"""Reports outside the DAG: evaluation on another data set, and label noise."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.files import replacing
from mien.evaluation import tables
from mien.evaluation.other_data import ALL, CrossEvaluation, metrics
from mien.reporting.evaluation_report import Background, write_report
from mien.reporting.images import Pixels, face_jpeg
from mien.reporting.pages import page

if TYPE_CHECKING:
    from mien.evaluation.label_noise import LabelNoise  # imports PyTorch

LABELS_PAGE: Final = "labels.html"
LABELS_TABLE: Final = "labels.csv"
MOST: Final = 5000  # faces on the page; labels.csv has all
QUALITY: Final = 88  # of the JPEGs: a page of 5,000 faces stays at some 10 to 20 MB


def write_cross_evaluation(cross: CrossEvaluation, folder: Path) -> None:
    """Write the report, its figures, metrics and tables into a folder, each replaced as a whole; other files stay."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    evaluation = cross.evaluation
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as scratch:
        waiting = Path(scratch)
        (waiting / "figures").mkdir()
        write_report(evaluation, _background(cross), cross.pixels, waiting / "report.html", waiting / "figures")
        evaluation.predictions.table.to_csv(waiting / "predictions.csv", index=False)
        tables.confusion(evaluation).to_csv(waiting / "confusion.csv", index=False)
        tables.write_json(metrics(cross), waiting / "metrics.json")
        for file in sorted(f for f in waiting.rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def _background(cross: CrossEvaluation) -> Background:
    model, data = cross.model, cross.data
    about = data.title or data.name, data.drawn, model.lineage
    parts = {"measured": cross.evaluation.whole.support}
    return Background(*about, parts, cross.quarantine, other=cross, sentences=list(sentences(cross)))


def sentences(cross: CrossEvaluation) -> Iterator[str]:
    """How model and data set were brought together: which faces, which classes, which temperature."""
    part, data = cross.part, cross.data.name
    which = f"All usable faces of {data}" if part == ALL else f"The {part} part that {data} itself gives"
    filtered = cross.quarantine["reason"].value_counts()
    left = ", ".join(f"{n:,} {str(why).replace('_', ' ')}" for why, n in filtered.items())
    unread = cross.problems
    rows = f" {unread:,} rows of the raw data set could not be read." if unread else ""
    yield f"{which}; left out: {left or 'none'}.{rows}"
    cut = cross.model.spec.cut
    shape = f"margin {cut.margin:g}" + (", made square" if cut.square else "")
    yield f"Faces were cut from the data set's boxes as the model's own were: {cut.size} px, {cut.colour}, {shape}."
    if cross.learnt_from is None:
        yield "Which faces the model learnt from is not written beside it: copies of them may be among these."
    elif not cross.learnt_from:
        yield "The model learnt from none of these faces: no photo and no pixels are the same."
    else:
        faces = "face was" if cross.learnt_from == 1 else "faces were"
        yield f"{cross.learnt_from:,} {faces} left out because the model learnt from the same photo or the same pixels."
    for name, n in cross.unknown.items():
        faces = "face" if n == 1 else "faces"
        yield f"{n:,} {faces} of {name} were left out: the model cannot name that class."
    if dropped := cross.dropped:
        yield (
            f"The data set cannot name {', '.join(dropped['classes'])}, so it was taken out of the model's choice and "
            f"the rest scaled up to 1. It had been the first answer on {dropped['first_answers']:,} faces; with these "
            f"counted as wrong the accuracy is {dropped['accuracy_if_wrong']:.3f}."
        )
    if missing := [name for name, faces_of_it in cross.evaluation.whole.support.items() if not faces_of_it]:
        yield (
            f"No face here is labelled {', '.join(missing)}: the averages over classes leave that out, and an answer "
            "of it counts as wrong."
        )
    if cross.model.temperature is None:
        yield "The model has no temperature, so its probabilities are not calibrated."
    else:
        yield (
            "Its probabilities are calibrated as it is used, by the temperature fitted on its own validation set "
            f"({cross.model.temperature:.3f}), which was not fitted again on these faces."
        )


def write_label_noise(found: "LabelNoise", about: dict[str, Any], folder: Path) -> None:
    """Write labels.html, suspects with filters, and labels.csv, all faces; `about`: title, model, folds, epochs."""
    classes, suspects = list(found.packed.classes), found.suspects
    shown = suspects.head(MOST)
    pairs = pd.crosstab(suspects["label"], suspects["suggested"])
    html = page(
        "labels.html",
        about={**about, "accuracy": found.accuracy, "faces": len(found.ranked)},
        suspects=len(suspects),
        shown=len(shown),
        classes=found.packed.classes,
        pairs=pairs.reindex(index=classes, columns=classes, fill_value=0),
        faces=[_face(row, found.packed.pixels[row["row"]]) for row in shown.to_dict("records")],
    )
    for name, text in {LABELS_PAGE: html, LABELS_TABLE: found.ranked.drop(columns="row").to_csv(index=False)}.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")


def _face(row: dict[Any, Any], pixels: Pixels) -> list[Any]:
    """A face for the page's script; a list, as names in thousands of objects would double the page."""
    words = [row[name] for name in ("face_id", "image", "part", "label", "suggested")]
    shares = [round(float(row[name]), 3) for name in ("p_label", "p_suggested")]
    return [*words, *shares, base64.b64encode(face_jpeg(pixels, QUALITY)).decode("ascii")]
