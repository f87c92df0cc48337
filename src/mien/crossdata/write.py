"""The files of a cross-data-set evaluation: report, numbers, predictions and figures, each whole or not there."""

import json
import tempfile
from pathlib import Path

from mien.crossdata.account import metrics, sentences
from mien.crossdata.evaluate import CrossEvaluation
from mien.evaluation import tables
from mien.evaluation.pictures import draw_confused, draw_figures
from mien.evaluation.report import Background, Elsewhere, class_counts, render_report
from mien.evaluation.style import DARK


def write_cross(cross: CrossEvaluation, folder: Path) -> None:
    """Write report.html, metrics.json, predictions.csv, confusion.csv and figures/*.png into a folder.

    Files of these names are replaced; others that lie there stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as waiting:
        _write(cross, Path(waiting))
        for file in sorted(f for f in Path(waiting).rglob("*") if f.is_file()):
            file.replace(folder / file.relative_to(waiting))


def _write(cross: CrossEvaluation, folder: Path) -> None:
    evaluation = cross.evaluation
    light = draw_figures(evaluation)
    (folder / "figures").mkdir()
    for name, png in {**light, **draw_confused(evaluation, cross.pixels)}.items():
        (folder / "figures" / f"{name}.png").write_bytes(png)
    html = render_report(evaluation, _background(cross), light, draw_figures(evaluation, DARK), cross.pixels)
    (folder / "report.html").write_text(html, encoding="utf-8")
    tables.predictions(evaluation).to_csv(folder / "predictions.csv", index=False)
    tables.confusion(evaluation).to_csv(folder / "confusion.csv", index=False)
    numbers = json.dumps(metrics(cross), indent=2, allow_nan=False)
    (folder / "metrics.json").write_text(numbers + "\n", encoding="utf-8")


def _background(cross: CrossEvaluation) -> Background:
    evaluation, part = cross.evaluation, cross.faces.part
    elsewhere = Elsewhere(
        model=cross.model.name,
        title=cross.data.title or cross.data.name,
        part=part,
        drawn=cross.data.drawn,
        digest=cross.digest,
        sentences=sentences(cross),
    )
    counts = {"measured": class_counts(evaluation.index["label"], len(evaluation.classes))}
    return Background(cross.model.lineage, counts, cross.faces.quarantine, elsewhere)
