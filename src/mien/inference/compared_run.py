"""Runs to compare, by address: a checkout's folder, a run's id or name, a registered version."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.base.errors import UserError
from mien.base.files import read_out, read_record, rerun
from mien.evaluation.tables import read_predictions
from mien.inference.address import FORM, ModelAddress
from mien.models.description import made_on_words, read_history, read_lineage
from mien.registry.promotion import registry
from mien.reporting.comparison import ComparedRun
from mien.tracking import publish
from mien.tracking.runs import EPOCH, PARENT
from mien.tracking.store import URI, database_file

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DIGESTS: Final = ("data_digest", "split_digest")
CURVES: Final = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
SHORT: Final = 8  # digits of a run's id that identify it for people
FORMS: Final = "a run's id or its beginning, a run's name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder"
MOST_RUNS: Final = 50_000  # the most that MLflow gives on one page
SHOWN: Final = 5  # of the runs that a person may mean


def find_run(text: str) -> ComparedRun:
    """The run that a person means, with all that is compared; a UserError unless there is one that was evaluated."""
    if Path(text).is_dir():
        return read_folder(Path(text))
    if (file := database_file(os.environ.get(URI, ""))) and not file.exists():
        raise UserError(f"there is no run {text!r}: nothing has been tracked in {file}; run `make repro`.")
    with registry(text) as client:
        if ("@" in text or ":/" in text) and FORM.fullmatch(text):
            version = ModelAddress.parse(text).look_up()[1]
            return read_run(client, client.get_run(str(version.run_id)), text)
        queries = (f"attributes.run_id LIKE '{text}%'", f"attributes.run_name = '{text}'")
        asked = () if "'" in text else queries  # else it is no id, and no name that mien gives
        found = next(filter(None, (_search(client, query) for query in asked)), [])
        if len(found) == 1:
            return read_run(client, found[0], text)
        known = (found or _search(client, "tags.`mien.kind` = 'training'"))[:SHOWN]
        names = ", ".join(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in known) or "none"
        why = f"{text!r} means {len(found)} runs, such as" if found else f"there is no run {text!r}; the newest:"
        raise UserError(f"{why} {names}; name {FORMS}.")


def read_folder(folder: Path) -> ComparedRun:
    """The run in a checkout or its reports/; a UserError where a file is missing, or they are of two trainings."""
    root = folder.resolve().parent if folder.resolve().name == "reports" else folder.resolve()
    lineage = read_lineage(root / "build/train")
    report = read_record(root / "reports/metrics.json", {"split_digest": str, "model": str}, rerun("evaluate"))
    if report["split_digest"] != lineage["split_digest"] or report["model"] != lineage["model"]:
        raise UserError(f"{folder}: build/train and reports/ are of two trainings; `dvc repro evaluate` fixes this.")
    return ComparedRun(
        key=str(root),
        name=publish.training_identity(lineage).name,
        source=str(root),
        data=lineage["data"],
        facts={f"mien.{key}": str(lineage[key]) for key in DIGESTS} | {"mien.trained_on": made_on_words(lineage)},
        params={key: str(value) for key, value in publish.training_params(lineage).items()},
        metrics=publish.validation_metrics(root) | publish.evaluation_metrics(report),
        epochs=read_out(root / "build/train/history.csv", read_history, rerun("train")),
        predictions=read_predictions(root / "reports/predictions.csv", f"predictions.csv of {folder}"),
    )


def read_run(client: "MlflowClient", run: "Run", text: str) -> ComparedRun:
    """A run of the store, which a person called `text`; a UserError where it has no predictions."""
    from mlflow.exceptions import MlflowException

    name, short = str(run.info.run_name), run.info.run_id[:SHORT]
    title = f"run {short} ({name})"
    if PARENT in run.data.tags:
        raise UserError(f"{title} is a trial of a search, which is never tested; compare the trainings.")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            file = client.download_artifacts(run.info.run_id, publish.PREDICTIONS, scratch)
        except (MlflowException, OSError) as error:
            why = "it was not evaluated, or `mien sync` has not sent it yet"
            raise UserError(f"{title} has no {publish.PREDICTIONS} to compare: {why}.") from error
        predictions = read_predictions(Path(file), f"predictions.csv of {title}")
    epochs: dict[int, dict[str, float]] = {}  # as history.csv has them
    for key in (key for key in CURVES if EPOCH + key in run.data.metrics):
        for metric in client.get_metric_history(run.info.run_id, EPOCH + key):
            epochs.setdefault(metric.step, {})[key] = metric.value
    return ComparedRun(
        key=run.info.run_id,
        name=name,
        source=f"run {short}" if run.info.run_id.startswith(text) or text == name else f"{text}, run {short}",
        data=client.get_experiment(run.info.experiment_id).name,
        facts=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        epochs=sorted(epochs.items()),
        predictions=predictions,
    )


def _search(client: "MlflowClient", text: str) -> "list[Run]":
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, text, max_results=MOST_RUNS))
