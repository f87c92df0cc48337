"""Report stage, results -> figures and pages: `python -m pipelines report data=sample`.

It reads build/crop, build/split, build/train, build/evaluate, reports/train.json, reports/tune.json and
reports/predictions.csv, and writes reports/report.html, reports/faces.html and
reports/figures/{crop,tune,train,evaluate}/*.png. Of the data set's settings it uses name, title and drawn.
"""

from pathlib import Path
from typing import Final

from mien.base.files import Outs, read_record, rerun
from mien.base.listener import Listener
from mien.crop.packed import open_faces
from mien.evaluation.tables import read_evaluation
from mien.reporting.curves import draw_search
from mien.reporting.evaluation_report import faces_of, read_background, write_report, write_viewer
from mien.reporting.images import write_contact_sheets
from pipelines.compose import Config

BUILD: Final = Path("build")


def run(config: Config, listener: Listener) -> None:
    """Draw contact sheets, search, curves and evaluation, and write the report."""
    packed = open_faces(BUILD / "crop")
    evaluation = read_evaluation(BUILD / "evaluate", Path("reports/predictions.csv"))
    search = read_record(Path("reports/tune.json"), {"trials": list, "space": dict}, rerun("tune"))
    training = read_record(Path("reports/train.json"), {"best_epoch": int}, rerun("train"))
    title = config.data.title or config.data.name
    background = read_background(BUILD, packed, title, config.data.drawn, training["best_epoch"])
    with Outs("report") as outs:
        figures = outs.folder("reports/figures")
        for name in ("crop", "tune", "train", "evaluate"):
            (figures / name).mkdir()
        write_contact_sheets(packed, figures / "crop")
        for name, png in draw_search(search).items():
            (figures / "tune" / f"{name}.png").write_bytes(png)
        (figures / "train/curves.png").write_bytes(background.curves[0])
        (figures / "train/augmented.png").write_bytes(background.augmented)
        faces = faces_of(evaluation, packed)
        write_report(evaluation, background, faces, outs.path("reports/report.html"), figures / "evaluate")
        write_viewer(evaluation, title, faces, outs.path("reports/faces.html"))
    print("report: reports/report.html, reports/faces.html with all test faces, and figures in reports/figures")
