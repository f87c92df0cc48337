"""Reports outside the DAG: evaluation on another data set, and label noise."""

import base64
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.files import replacing
from mien.evaluation import tables
from mien.evaluation.other_data import CrossEvaluation, metrics
from mien.reporting.evaluation_report import Background, write_report
from mien.reporting.images import Pixels, face_jpeg
from mien.reporting.pages import note, page

if TYPE_CHECKING:
    from mien.evaluation.label_noise import LabelNoise  # imports PyTorch

SENTENCES: Final = Path(__file__).with_name("templates") / "other_data.md.j2"
LABELS_PAGE: Final = "labels.html"
LABELS_TABLE: Final = "labels.csv"
MOST: Final = 5000  # faces on the page; labels.csv has all
QUALITY: Final = 88  # of the JPEGs: a page of 5,000 faces stays at some 10 to 20 MB


def write_cross_evaluation(cross: CrossEvaluation, folder: Path) -> None:
    """Write the report, its figures, metrics and tables into a folder, each replaced as a whole; other files stay."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    evaluation, data = cross.evaluation, cross.data
    parts, about = {"measured": evaluation.whole.support}, (data.title or data.name, data.drawn, cross.model.lineage)
    background = Background(*about, parts, cross.quarantine, other=cross, sentences=sentences(cross))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as scratch:
        waiting = Path(scratch)
        (waiting / "figures").mkdir()
        write_report(evaluation, background, cross.pixels, waiting / "report.html", waiting / "figures")
        evaluation.predictions.table.to_csv(waiting / "predictions.csv", index=False)
        tables.confusion(evaluation).to_csv(waiting / "confusion.csv", index=False)
        tables.write_json(metrics(cross), waiting / "metrics.json")
        for file in sorted(f for f in waiting.rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def sentences(cross: CrossEvaluation) -> list[str]:
    """How model and data set were brought together: which faces, which classes, which temperature."""
    return note(SENTENCES, "sentences", cross, cross.quarantine["reason"].value_counts()).split("\n")


def write_label_noise(found: "LabelNoise", about: dict[str, Any], folder: Path) -> None:
    """Write labels.html, suspects with filters, and labels.csv, all faces; `about`: title, model, folds, epochs."""
    classes, suspects = list(found.packed.classes), found.ranked[found.ranked["suspect"]]
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
