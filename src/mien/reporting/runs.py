"""Runs to compare: from a folder, a revision, a registered version or MLflow."""

import difflib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mien.base.classes import EXPRESSIONS, class_names
from mien.base.errors import UserError
from mien.base.records import read_record
from mien.evaluation.checks import Floats, Ints
from mien.evaluation.intervals import Interval
from mien.models.spec import read_lineage
from mien.registry.promotion import registry
from mien.tracking.publish import PREDICTIONS, evaluation_metrics, read_history, training_params
from mien.tracking.runs import EPOCH, PARENT
from mien.tracking.store import URI, database_file

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

COLUMNS: Final = (
    "face_id",
    "image",
    "label",
    "predicted",
    "leaked",
    "group",
    *(f"p_{name}" for name in EXPRESSIONS),
)  # at least
NAN: Final = float("nan")


@dataclass(frozen=True)
class Subject:
    """A run, wherever it was read from.

    `params` and `metrics` have the names that MLflow shows (`optim.lr`, `test/accuracy`), `epochs` the rows of
    history.csv as (epoch, values), and `predictions` the rows of predictions.csv.
    """

    key: str  # the run's id, or the folder
    name: str
    source: str  # where it was read from: a run's id, a version, a folder
    data: str
    facts: Mapping[str, str]  # digests, commit, precision, versions
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    epochs: Sequence[tuple[int, Mapping[str, float]]]
    predictions: pd.DataFrame

    @property
    def classes(self) -> tuple[str, ...]:
        """The expressions that it tells apart, in their order."""
        return class_names(sum(str(column).startswith("p_") for column in self.predictions))

    @property
    def probabilities(self) -> Floats:
        """Calibrated probabilities, (N, classes) float64; each row of rounded numbers adds up to 1 again."""
        given = self.predictions[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)
        normed: Floats = given / given.sum(axis=1, keepdims=True)
        return normed

    @property
    def labels(self) -> Ints:
        """True classes, (N,) int64."""
        return self.predictions["label"].map(self.classes.index).to_numpy(dtype=np.int64)

    def measure(self, name: str) -> Interval:
        """A measure of the test set as it was tracked, with its interval; NaN for what was not."""
        ends = (self.metrics.get(f"test/interval/{name}_{end}", NAN) for end in ("low", "high"))
        return Interval(self.metrics.get(f"test/{name}", NAN), *ends)


def read_predictions(file: Path, of: str) -> pd.DataFrame:
    """The rows of a predictions.csv.

    Raises:
        UserError: it lacks a column, or holds no face.
    """
    table: pd.DataFrame = pd.read_csv(file, dtype={"face_id": str, "image": str})
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"predictions.csv of {of} lacks the column {missing[0]}; `dvc repro evaluate` writes it anew.")
    if table.empty:
        raise UserError(f"predictions.csv of {of} holds no face; `dvc repro evaluate` writes it anew.")
    return table


def plain_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them: words."""
    return {key: str(value) for key, value in params.items()}


NEEDED: Final = (
    "reports/metrics.json",
    "reports/predictions.csv",
    "build/train/lineage.json",
    "build/train/history.csv",
)
DIGESTS: Final = ("data_digest", "split_digest", "precision")


def read_folder(folder: Path) -> Subject:
    """The run whose files lie in a checkout, named by the checkout or by its reports/.

    Raises:
        UserError: a file is missing, or build/ and reports/ are of two trainings.
    """
    root = folder.resolve().parent if folder.resolve().name == "reports" else folder.resolve()
    if missing := [name for name in NEEDED if not (root / name).is_file()]:
        raise UserError(f"{folder} holds no evaluated model: {missing[0]} is missing; `dvc repro evaluate` makes it.")
    lineage = read_lineage(root / "build/train")
    report = read_record(
        root / "reports/metrics.json", {"split_digest": str, "model": str}, "`dvc repro evaluate` writes it anew"
    )
    if report["split_digest"] != lineage["split_digest"] or report["model"] != lineage["model"]:
        raise UserError(f"{folder}: build/train and reports/ are of two trainings; `dvc repro evaluate` mends it.")
    return Subject(
        key=str(root),
        name=lineage["run"],
        source=str(root),
        data=lineage["data"],
        facts={f"mien.{key}": str(lineage[key]) for key in DIGESTS},
        params=plain_params(training_params(lineage)),
        metrics=evaluation_metrics(report),
        epochs=read_history(root / "build/train/history.csv"),
        predictions=read_predictions(root / "reports/predictions.csv", str(folder)),
    )


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


ALIAS: Final = re.compile(r"(models:/)?(?P<name>[^/@]+)@(?P<alias>[^/@]+)")
VERSION: Final = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
ID: Final = re.compile(r"[0-9a-f]{1,32}")
FORMS: Final = "a run's id or its beginning, a run's name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder"
SHOWN: Final = 5  # of the runs that a person may have meant


def find_subject(said: str) -> Subject:
    """The run that a person means, with all that is compared.

    Raises:
        UserError: there is none, or more than one, or it was not evaluated, or the store fails.
    """
    if Path(said).is_dir():
        return read_folder(Path(said))
    store = os.environ.get(URI, "")
    if (file := database_file(store)) and not file.exists():
        raise UserError(f"there is no run {said!r}: nothing has been tracked in {file}; run `make repro`.")
    with registry(said) as client:
        if match := ALIAS.fullmatch(said) or VERSION.fullmatch(said):
            return read_run(client, _run_of_version(client, said, **match.groupdict()), said)
        if run := _find(client, said):
            return read_run(client, run, said)
        raise UserError(f"there is no run {said!r}{_near(client, said)}; name {FORMS}.")


def _run_of_version(client: "MlflowClient", said: str, name: str, alias: str = "", version: str = "") -> "Run":
    from mlflow.exceptions import MlflowException

    try:
        found: ModelVersion = (
            client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
        )
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"there is no {said}; {_registered(client, name)}.") from error
    if not found.run_id:
        raise UserError(f"{said} was registered without a run, so its predictions are not known.")
    return client.get_run(found.run_id)


def _registered(client: "MlflowClient", name: str) -> str:
    models = {model.name: model for model in client.search_registered_models()}
    if name not in models:
        return f"the registered models are {', '.join(sorted(models)) or 'none'}"
    versions = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
    aliases = ", ".join(sorted(models[name].aliases)) or "none"
    return f"{name} has the versions {', '.join(map(str, versions)) or 'none'} and the aliases {aliases}"


def _find(client: "MlflowClient", said: str) -> "Run | None":
    """The run with this id, with an id that begins so, or with this name; None where there is none."""
    if ID.fullmatch(said) and (found := _search(client, f"attributes.run_id LIKE '{said}%'")):
        return _only(found, f"{said!r} begins the ids of")
    if "'" not in said and (found := _search(client, f"attributes.run_name = '{said}'")):
        return _only(found, f"{said!r} is the name of")
    return None


def _only(found: "list[Run]", what: str) -> "Run":
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise UserError(f"{what} {len(found)} runs: {names}{more}; say one by its id.")


def _search(client: "MlflowClient", text: str) -> "list[Run]":
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: list[Run] = []
    page = client.search_runs(experiments, text, max_results=1000)
    found.extend(page)
    while page.token:
        page = client.search_runs(experiments, text, max_results=1000, page_token=page.token)
        found.extend(page)
    return found


def _near(client: "MlflowClient", said: str) -> str:
    """The trainings whose ids or names resemble what was said, as half a sentence."""
    runs = _search(client, "tags.`mien.kind` = 'training'")
    if not runs:
        return ", and no training in the store"
    by_word = {word: run for run in runs for word in (run.info.run_id[:SHORT], str(run.info.run_name))}
    near = difflib.get_close_matches(said, by_word, n=SHOWN, cutoff=0.4)
    chosen = [by_word[word] for word in near] or runs[:SHOWN]
    names = ", ".join(dict.fromkeys(f"{run.info.run_id[:SHORT]} ({run.info.run_name})" for run in chosen))
    return f"; {'the nearest' if near else 'the newest'}: {names}"
