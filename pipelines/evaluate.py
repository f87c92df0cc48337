"""Evaluation stage, trained network -> test scores: `python -m pipelines evaluate data=sample evaluate=standard`."""

from pathlib import Path
from typing import Any, Final

import pandas as pd

from mien.base.errors import UserError
from mien.base.files import Outs, read_out, read_record, rerun
from mien.base.listener import Listener
from mien.crop.packed import open_faces
from mien.evaluation import tables
from mien.evaluation.scoring import evaluate_model
from mien.models.description import read_lineage, read_spec
from mien.runtime.session import GRAPH_FILE, Model, open_graph
from mien.runtime.spec import UnusableModel
from pipelines.compose import Config

PARTS: Final = Path("build/split")
MODEL: Final = Path("build/train")


def run(config: Config, listener: Listener) -> None:
    """Open the test set, and write what was measured: numbers, tables, the temperature."""
    spec = read_spec(MODEL).serving(None)
    try:
        model = Model(open_graph(MODEL / GRAPH_FILE, spec, config.evaluate.threads), spec)
    except UnusableModel as error:
        raise UserError(f"{error}; {rerun('train')}.") from error
    packed, lineage = open_faces(Path("build/crop"), ["row"]), read_lineage(MODEL)
    test_faces = _refuse_other_split(lineage, packed.digest)
    val = read_out(PARTS / "val.parquet", lambda file: pd.read_parquet(file, columns=["row", "label"]), rerun("split"))
    test = tables.with_leaks(read_out(PARTS / "test.parquet", pd.read_parquet, rerun("split")), MODEL)
    test = tables.add_slices(test, Path("build/ingest/faces.parquet"), config.data.slices)
    evaluation = evaluate_model(model, packed, val, test, config.evaluate)
    tables.record_look(test_faces, MODEL, evaluation.temperature.value)
    with Outs("evaluate") as outs:
        folder = outs.folder("build/evaluate")
        tables.write_numbers(evaluation, folder)
        tables.write_json(tables.temperature(evaluation), folder / "temperature.json")
        about = {key: lineage[key] for key in ("data", "model", "data_digest", "split_digest")}
        tables.write_json(tables.metrics(evaluation, about), outs.path("reports/metrics.json"))
        evaluation.predictions.table.to_csv(outs.path("reports/predictions.csv"), index=False)
        tables.confusion(evaluation).to_csv(outs.path("reports/confusion.csv"), index=False)
    whole = evaluation.whole
    accuracy = whole.intervals.overall["accuracy"].text()
    print(f"evaluate: accuracy {accuracy} on {whole.faces:,} faces of {whole.photos:,} photos")


def _refuse_other_split(lineage: dict[str, Any], faces: str) -> str:
    """The digest of the test faces; another split than the network's is refused, whose test faces it may know."""
    split = read_record(PARTS / "split.json", {"digest": str, "test_faces": str}, rerun("split"))
    for what, key, here in (("faces", "data_digest", faces), ("split", "split_digest", split["digest"])):
        if (trained := lineage[key]) != here:
            raise UserError(
                f"the model in {MODEL} was trained with {what} {trained[:12]}, and the {what} here are {here[:12]}; "
                "`dvc repro evaluate` trains it on these first."
            )
    return str(split["test_faces"])
