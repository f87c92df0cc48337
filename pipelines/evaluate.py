"""Measure the trained network on the test set: `python -m pipelines evaluate evaluate=standard`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.classes import PARTS
from mien.base.errors import UserError
from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.records import read_out, read_record
from pipelines.compose import Config

if TYPE_CHECKING:
    import numpy as np

    from mien.evaluation.scoring import Evaluation
    from mien.reporting.evaluation_page import Background

FACES: Final = Path("build/crop")
SPLIT: Final = Path("build/split")
MODEL: Final = Path("build/train")
SPLIT_ANEW: Final = "`dvc repro split` writes it anew"


def run(config: Config, listener: Listener) -> None:
    """Open the test set, and write what was measured: numbers, tables, figures, the report, the temperature."""
    import numpy as np
    import pandas as pd

    from mien.crop.packed import open_faces
    from mien.evaluation.scoring import evaluate_model
    from mien.models.spec import read_lineage
    from mien.models.weights import load_model
    from mien.reporting.evaluation_page import between
    from mien.training.hardware import hardware_mismatch

    model, _ = load_model(MODEL)
    packed = open_faces(FACES)
    lineage = read_lineage(MODEL)
    _belong_together(lineage, packed.digest)
    parts = {name: read_out(SPLIT / f"{name}.parquet", pd.read_parquet, SPLIT_ANEW) for name in PARTS}
    evaluation = evaluate_model(model, packed, parts["val"], parts["test"], config.evaluate)
    pixels = packed.pixels[np.asarray(parts["test"]["row"])]
    with Outs("evaluate") as outs:
        _write(evaluation, _background(lineage, parts, len(packed.classes)), pixels, outs)
    accuracy = evaluation.whole.intervals.overall["accuracy"]
    print(
        f"evaluate: accuracy {accuracy.value:.3f} ({between(accuracy)}) on "
        f"{evaluation.whole.faces:,} faces of {evaluation.whole.photos:,} photos; see reports/report.html"
    )
    if unlike := hardware_mismatch(lineage):
        print(f"  {unlike}")
    from mien.tracking.publish import publish

    publish(Path.cwd())


def _belong_together(lineage: dict[str, Any], faces: str) -> None:
    """Refuse to measure a network on another split than its own: its training faces could be among the test's."""
    split = read_record(SPLIT / "split.json", {"digest": str}, SPLIT_ANEW)["digest"]
    for what, trained, here in (
        ("faces", lineage["data_digest"], faces),
        ("split", lineage["split_digest"], split),
    ):
        if trained != here:
            raise UserError(
                f"the model in {MODEL} was trained with {what} {trained[:12]}, and the {what} here are {here[:12]}; "
                "`dvc repro evaluate` trains it on these first."
            )


def _background(lineage: dict[str, Any], parts: dict[str, Any], classes: int) -> "Background":
    import pandas as pd

    from mien.reporting.evaluation_page import Background, class_counts

    quarantine = read_out(
        FACES / "quarantine.csv",
        lambda file: pd.read_csv(file, dtype="str", keep_default_na=False),
        "`dvc repro crop` writes it anew",
    )
    return Background(lineage, {name: class_counts(part["label"], classes) for name, part in parts.items()}, quarantine)


def _write(evaluation: "Evaluation", background: "Background", pixels: "np.ndarray", outs: Outs) -> None:
    from mien.evaluation import tables
    from mien.reporting.contact_sheets import draw_confused, draw_figures
    from mien.reporting.evaluation_page import render_report
    from mien.reporting.style import DARK

    light = draw_figures(evaluation)
    folder = outs.folder("reports/evaluate")
    for name, png in {**light, **draw_confused(evaluation, pixels)}.items():
        (folder / f"{name}.png").write_bytes(png)
    html = render_report(evaluation, background, light, draw_figures(evaluation, DARK), pixels)
    outs.path("reports/report.html").write_text(html, encoding="utf-8")
    tables.predictions(evaluation).to_csv(outs.path("reports/predictions.csv"), index=False)
    tables.confusion(evaluation).to_csv(outs.path("reports/confusion.csv"), index=False)
    for name, content in (
        ("reports/metrics.json", tables.metrics(evaluation, background.lineage)),
        ("build/evaluate/temperature.json", tables.temperature(evaluation)),
    ):
        outs.path(name).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
