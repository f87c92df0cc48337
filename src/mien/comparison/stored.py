"""A side of a comparison from the tracking store."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from mien.comparison.subject import Subject, read_predictions
from mien.errors import UserError
from mien.tracking.files import PREDICTIONS
from mien.tracking.runs import EPOCH, PARENT

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

CURVES: Final = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
UNDER: Final = (EPOCH, "")  # what stands before them; older runs have nothing there
SHORT: Final = 8  # digits of a run's id that tell it apart for people


def read_run(client: "MlflowClient", run: "Run", said: str) -> Subject:
    """An evaluated run; `said` is what a person called it.

    Raises:
        UserError: it has no predictions.
    """
    name = str(run.info.run_name)
    predictions = _predictions(client, run, f"run {run.info.run_id[:SHORT]} ({name})")
    short = run.info.run_id[:SHORT]
    return Subject(
        key=run.info.run_id,
        name=name,
        source=f"run {short}" if run.info.run_id.startswith(said) or said == name else f"{said}, run {short}",
        data=client.get_experiment(run.info.experiment_id).name,
        facts=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        epochs=_epochs(client, run),
        predictions=predictions,
    )


def _predictions(client: "MlflowClient", run: "Run", of: str) -> pd.DataFrame:
    from mlflow.exceptions import MlflowException

    if PARENT in run.data.tags:
        raise UserError(f"{of} is a trial of a search, which is never tested; compare the trainings.")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = client.download_artifacts(run.info.run_id, PREDICTIONS, scratch)
        except (MlflowException, OSError) as error:
            raise UserError(
                f"{of} has no {PREDICTIONS}, so there is nothing to compare: "
                "it was not evaluated, or `mien sync` has not sent it yet."
            ) from error
        return read_predictions(Path(file), of)


def _epochs(client: "MlflowClient", run: "Run") -> list[tuple[int, dict[str, float]]]:
    """The epochs' losses and scores, as history.csv has them."""
    rows: dict[int, dict[str, float]] = {}
    for key in CURVES:
        tracked = next((prefix + key for prefix in UNDER if prefix + key in run.data.metrics), None)
        for metric in client.get_metric_history(run.info.run_id, tracked) if tracked else ():
            rows.setdefault(metric.step, {})[key] = metric.value
    return sorted(rows.items())
