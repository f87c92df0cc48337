"""Runs to compare, by address: a checkout's folder, a run's id or name, a registered version."""

import difflib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.base.errors import UserError
from mien.base.records import read_record, rerun
from mien.evaluation.tables import read_predictions
from mien.inference.address import FORM, ModelAddress, NoSuchModel
from mien.models.description import made_on_words, read_history, read_lineage
from mien.registry.promotion import registry
from mien.reporting.comparison import ComparedRun
from mien.tracking import publish
from mien.tracking.runs import EPOCH, PARENT
from mien.tracking.store import URI, database_file

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

NEEDED: Final = (
    "reports/metrics.json",
    "reports/predictions.csv",
    "build/train/lineage.json",
    "build/train/history.csv",
)
DIGESTS: Final = ("data_digest", "split_digest")
CURVES: Final = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
SHORT: Final = 8  # digits of a run's id that identify it for people
ID: Final = re.compile(r"[0-9a-f]{1,32}")
FORMS: Final = "a run's id or its beginning, a run's name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder"
MOST_RUNS: Final = 50_000  # the most that MLflow gives on one page
SHOWN: Final = 5  # of the runs that a person may have meant


def find_run(text: str) -> ComparedRun:
    """The run that a person means, with all that is compared; a UserError unless there is one that was evaluated."""
    if Path(text).is_dir():
        return read_folder(Path(text))
    if (file := database_file(os.environ.get(URI, ""))) and not file.exists():
        raise UserError(f"there is no run {text!r}: nothing has been tracked in {file}; run `make repro`.")
    with registry(text) as client:
        if ("@" in text or ":/" in text) and FORM.fullmatch(text):
            return read_run(client, _run_of_version(client, text), text)
        if run := _search_run(client, text):
            return read_run(client, run, text)
        raise UserError(f"there is no run {text!r}{_near(client, text)}; name {FORMS}.")


def read_folder(folder: Path) -> ComparedRun:
    """The run in a checkout or its reports/; a UserError where a file is missing, or they are of two trainings."""
    root = folder.resolve().parent if folder.resolve().name == "reports" else folder.resolve()
    if missing := [name for name in NEEDED if not (root / name).is_file()]:
        raise UserError(f"{folder} holds no evaluated model: {missing[0]} is missing; `dvc repro evaluate` writes it.")
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
        epochs=read_history(root / "build/train/history.csv"),
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
            raise UserError(
                f"{title} has no {publish.PREDICTIONS}, so there is nothing to compare: "
                "it was not evaluated, or `mien sync` has not sent it yet."
            ) from error
        predictions = read_predictions(Path(file), f"predictions.csv of {title}")
    return ComparedRun(
        key=run.info.run_id,
        name=name,
        source=f"run {short}" if run.info.run_id.startswith(text) or text == name else f"{text}, run {short}",
        data=client.get_experiment(run.info.experiment_id).name,
        facts=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        epochs=_epochs(client, run),
        predictions=predictions,
    )


def _epochs(client: "MlflowClient", run: "Run") -> list[tuple[int, dict[str, float]]]:
    """The epochs' losses and scores, as history.csv has them."""
    rows: dict[int, dict[str, float]] = {}
    for key in CURVES:
        if EPOCH + key in run.data.metrics:
            for metric in client.get_metric_history(run.info.run_id, EPOCH + key):
                rows.setdefault(metric.step, {})[key] = metric.value
    return sorted(rows.items())


def _run_of_version(client: "MlflowClient", text: str) -> "Run":
    address = ModelAddress.parse(text)
    try:
        version = address.look_up()[1]
    except NoSuchModel as error:
        raise UserError(f"there is no {text}; {_registered(client, address.name)}.") from error
    if not version.run_id:
        raise UserError(f"{text} was registered without a run, so its predictions are not known.")
    return client.get_run(version.run_id)


def _registered(client: "MlflowClient", name: str) -> str:
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        return f"the registered models are {', '.join(sorted(models)) or 'none'}"
    versions = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
    aliases = ", ".join(sorted(models[name].aliases)) or "none"
    return f"{name} has the versions {', '.join(map(str, versions)) or 'none'} and the aliases {aliases}"


def _search_run(client: "MlflowClient", text: str) -> "Run | None":
    """The run with this id, with an id that begins so, or with this name; None where there is none."""
    if ID.fullmatch(text) and (found := _search(client, f"attributes.run_id LIKE '{text}%'")):
        return _only(found, f"{text!r} begins the ids of")
    if "'" not in text and (found := _search(client, f"attributes.run_name = '{text}'")):
        return _only(found, f"{text!r} is the name of")
    return None


def _only(found: "list[Run]", what: str) -> "Run":
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise UserError(f"{what} {len(found)} runs: {names}{more}; name one by its id.")


def _search(client: "MlflowClient", text: str) -> "list[Run]":
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, text, max_results=MOST_RUNS))


def _near(client: "MlflowClient", text: str) -> str:
    """The trainings whose ids or names resemble the text, as half a sentence."""
    runs = _search(client, "tags.`mien.kind` = 'training'")
    if not runs:
        return ", and no training in the store"
    by_word = {word: run for run in runs for word in (run.info.run_id[:SHORT], str(run.info.run_name))}
    near = difflib.get_close_matches(text, by_word, n=SHOWN, cutoff=0.4)
    chosen = [by_word[word] for word in near] or runs[:SHOWN]
    names = ", ".join(dict.fromkeys(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in chosen))
    return f"; {'the nearest' if near else 'the newest'}: {names}"
