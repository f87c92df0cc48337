"""Reports outside the DAG: evaluation on another data set, and label noise."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.files import replacing
from mien.evaluation import tables
from mien.evaluation.other_data import CrossEvaluation, metrics
from mien.reporting.evaluation_report import MOST, Background, gallery, write_report, write_viewer
from mien.reporting.pages import note, page

if TYPE_CHECKING:
    from mien.evaluation.label_noise import LabelNoise  # imports PyTorch

SENTENCES: Final = Path(__file__).with_name("templates") / "other_data.md.j2"
LABELS_PAGE: Final = "labels.html"
LABELS_TABLE: Final = "labels.csv"


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
        write_viewer(evaluation, data.title or data.name, cross.pixels, waiting / "faces.html")
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
