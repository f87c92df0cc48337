"""Publishing of stage results to MLflow: parameters, metrics, trials, descriptions and files, each sent once."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.errors import UserError
from mien.base.files import read_record, rerun
from mien.base.state import publish_lock
from mien.evaluation.intervals import Interval
from mien.models.description import hardware_words, made_on_words, read_history, read_lineage
from mien.tracking import runs
from mien.tracking.store import connect, first_line, shown, store_errors, use_store
from mien.training.hardware import hardware_mismatch

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from mien.evaluation.other_data import CrossEvaluation  # brings PyTorch

TRAINED: Final = Path("build/train")
TRAIN_REPORT: Final = "reports/train.json"
TRAINING_FILES: Final = {
    "training": ("build/train/history.csv", "build/train/lineage.json", TRAIN_REPORT),
    "data": ("reports/ingest.json", "reports/crop.json", "reports/split.json"),
}
PREDICTIONS: Final = "evaluation/predictions.csv"  # as an artifact
EVALUATION_FILES: Final = {
    "evaluation": (
        "reports/index.html",
        "reports/faces.html",
        "reports/metrics.json",
        "reports/predictions.csv",
        "reports/confusion.csv",
        "build/evaluate/temperature.json",
        "reports/figures/evaluate/*.png",
    ),
    "training": ("reports/figures/train/*.png",),
    "search": ("reports/figures/tune/*.png",),
}
SEARCH_FILES: Final = {"search": ("reports/tune.json", "build/tune/best.yaml")}
TRIAL_STATUS: Final = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}  # Optuna's to MLflow's
# What a note says of reports/metrics.json.
MEASURED: Final = {"n": int, "photos": int, "majority_share": float, "accuracy": dict, "macro_f1": dict}
SPEED: Final = "machine/images_per_second"  # of the moment, so known only while a run is tracked live
WITHIN: Final = 30.0  # seconds that a stage waits for a store

_log = logging.getLogger("mien.tracking")


def publish(root: Path) -> None:
    """Send what the store lacks; never raises, one warning where it cannot, and the next call sends what is missing."""
    uri = use_store(root)
    failure: list[str] = []

    def attempt() -> None:
        try:
            _send_works(connect(uri), root)
        # Whatever goes wrong in the store is no reason to fail a stage whose files are written.
        except Exception as error:
            failure.append(first_line(error))

    thread = threading.Thread(target=attempt, name=f"mien-publish-{os.getpid()}", daemon=True)
    thread.start()
    thread.join(WITHIN)
    if thread.is_alive():
        failure.append(f"no answer within {WITHIN:g} s")
    if failure:
        _log.warning("tracking: the store %s failed (%s); `mien sync` sends what is missing.", shown(uri), failure[0])


def sync(root: Path) -> str:
    """Send all that the store lacks, and say what that was; a UserError without a training, or a store that works."""
    uri = use_store(root)
    if not any((root / file).exists() for file, _ in WORKS.values()):
        raise UserError(f"there is nothing to send: {root} has no build/train/lineage.json; run `dvc repro` first.")
    with store_errors("the tracking store", uri):
        sent = _send_works(connect(uri), root)
    return f"{shown(uri)} is up to date. {'; '.join(sent)}."


def _send_works(client: "MlflowClient", root: Path) -> list[str]:
    with publish_lock(root):
        return [f"{name}: {work(client, root)}" for name, (file, work) in WORKS.items() if (root / file).exists()]


def publish_training(client: "MlflowClient", root: Path) -> str:
    """Parameters, epochs, data set and files of `build/train`; returns what was sent."""
    lineage = read_lineage(root / TRAINED)
    content = runs.RunContent(
        training_identity(lineage),
        params=training_params(lineage),
        rows=[(epoch, runs.of_epoch(values)) for epoch, values in read_history(root / TRAINED / "history.csv")],
        results=validation_metrics(root),
        tags=runs.lock_facts(root),
        facts=runs.git_facts(root),  # a run that was tracked while it trained knows its commit better
        dataset=(lineage["data"], lineage["data_digest"], {"split": lineage["split_digest"]}),
        files=TRAINING_FILES,
        note=("Training", "training", lambda: (lineage, hardware_words(lineage))),
    )
    return _words(runs.send(client, root, content))


def publish_evaluation(client: "MlflowClient", root: Path) -> str:
    """The test set's numbers with their intervals, figures and report; returns what was sent."""
    lineage = read_lineage(root / TRAINED)
    report = read_record(root / "reports/metrics.json", MEASURED, rerun("evaluate"))
    content = runs.RunContent(
        training_identity(lineage),
        results=evaluation_metrics(report),
        tags={**runs.lock_facts(root), "mien.score": Interval.from_json(report["accuracy"]).text()},
        files=EVALUATION_FILES,
        note=("Test set", "test_set", lambda: (report, hardware_mismatch(lineage))),
    )
    return _words(runs.send(client, root, content))


def publish_search(client: "MlflowClient", root: Path) -> str:
    """The trials of `reports/tune.json` that the store lacks, as children of the training's run."""
    report = read_record(root / "reports/tune.json", {}, rerun("tune"))
    if not report.get("trials"):
        return "no trials"
    identity = search_identity(report)
    parent = runs.obtain_run(client, identity)
    below = f"tags.`{runs.PARENT}` = '{parent.info.run_id}'"
    children = client.search_runs([parent.info.experiment_id], below, max_results=5000)
    status = {run.data.tags.get(runs.DIGEST, ""): run.info.status for run in children}
    sent, trials = runs.Sent(), 0
    for row in report["trials"]:
        content = trial_content(report, row)
        if status.get(content.identity.digest) != content.status:  # a trial is ended last
            sent, trials = sent + runs.send(client, root, content), trials + 1
    content = runs.RunContent(identity, files=SEARCH_FILES, note=("Search", "search", lambda: (report,)), status="")
    sent += runs.send(client, root, content)
    return f"{trials} trials, {_words(sent)}"


def _words(sent: runs.Sent) -> str:
    return ", ".join(f"{sent[what]} {what}" for what in ("parameters", "metrics", "files"))


# What the stages write, by the file that shows that it exists.
WORKS: Final[dict[str, tuple[str, Callable[["MlflowClient", Path], str]]]] = {
    "search": ("reports/tune.json", publish_search),
    "training": ("build/train/lineage.json", publish_training),
    "evaluation": ("reports/metrics.json", publish_evaluation),
}


def training_identity(lineage: Mapping[str, Any]) -> runs.RunIdentity:
    """The run of a training, from its lineage."""
    tags = {
        "mien.kind": "training",
        "mien.data_digest": str(lineage["data_digest"]),
        "mien.split_digest": str(lineage["split_digest"]),
        "mien.trained_on": made_on_words(lineage),
    }
    return replace(search_identity(lineage), tags=tags)


def search_identity(report: Mapping[str, Any]) -> runs.RunIdentity:
    """The run that a search's trials are children of, which the training goes on in: `resnet16 · 48 px grey · 3f2a`."""
    network = report["run"].removeprefix(f"{report['data']} · ")  # the digest behind it tells equal networks apart
    return runs.RunIdentity(report["data"], f"{network} · {report['digest'][:4]}", report["digest"])


def trial_content(report: Mapping[str, Any], row: Mapping[str, Any]) -> runs.RunContent:
    """A trial of a search as a run of its own, below the search's."""
    objective = report.get("objective", "objective")
    rows = [(epoch, runs.of_epoch({objective: value})) for epoch, value in enumerate(row["history"])]
    if row["value"] is not None:
        rows.append((0, {f"trial/best_{objective}": row["value"]}))
    if speed := row.get("images_per_second"):
        rows.append((0, {SPEED: speed}))
    search, number = report["digest"], row["number"]
    tags = {"mien.kind": "trial", "mien.trial_state": row["state"]}
    identity = runs.RunIdentity(report["data"], f"trial {number}", f"{search}-trial-{number}", tags, parent=search)
    return runs.RunContent(identity, params=row["params"], rows=rows, status=TRIAL_STATUS[row["state"]])


def training_params(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that were used, with dotted keys; as `config.KEY` those that the search overruled; the choices."""
    overruled = lineage["search"].get("overruled", {})
    searched = {key: value["search"] for key, value in overruled.items()}
    configured = {f"config.{key}": value["config"] for key, value in overruled.items()}
    choices = {f"choice.{group}": choice for group, choice in lineage["choices"].items()}
    return {**_flatten(lineage["config"]), **searched, **configured, **choices, "parameters": lineage["parameters"]}


def evaluation_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """The test set's numbers under `test/`, their intervals below, and of its leak-free part beside it.

    MLflow makes a group of charts of each path: with the ends of the intervals among the numbers, none is found.
    """
    flat: dict[str, float] = {}
    for prefix, part in (("test", report), ("test_leak_free", report.get("leak_free") or {})):
        for key, value in _flatten(part).items():
            if key.startswith("leak_free.") or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            measure, _, end = key.rpartition(".")
            name = f"interval.{measure}_{end}" if end in ("low", "high") else key.removesuffix(".value")
            flat[f"{prefix}/{name.replace('.', '/')}"] = float(value)
    return flat


def validation_metrics(root: Path) -> dict[str, float]:
    """The validation scores of the epoch that was kept, as `val/accuracy`; empty where no report says them."""
    if not (file := root / TRAIN_REPORT).is_file():
        return {}
    report = read_record(file, {}, rerun("train"))
    return {key.replace("_", "/", 1): float(value) for key, value in report.items() if key.startswith("val_")}


def _flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping with dotted keys: {"optim": {"lr": 1}} gives {"optim.lr": 1}."""
    flat: dict[Any, Any] = pd.json_normalize(dict(config)).to_dict("records")[0]
    return flat


def publish_cross(cross: "CrossEvaluation") -> str:
    """Log `cross/DATA/accuracy` and others to the run of a registered model; returns what went wrong, or nothing.

    A model that is not registered has no run, and nothing is logged. The files hold the result either way, so a store
    that fails is no error.
    """
    if cross.model.run_id is None:
        return ""
    whole = cross.evaluation.whole
    values = {"faces": float(whole.faces), **{name: found.value for name, found in whole.intervals.overall.items()}}
    row = {f"cross/{cross.data.name}/{name}": value for name, value in values.items()}
    try:
        runs.MetricHistory(connect(), cross.model.run_id).send([(0, row)])
    # Whatever goes wrong in the store is no reason to lose a report that is written.
    except Exception as error:
        return f"the tracking store failed ({first_line(error)}), so the result is not among the run's metrics."
    return ""
