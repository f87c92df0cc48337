"""Publishing what stages wrote to MLflow."""

import csv
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.base.records import read_record
from mien.base.state import publishing
from mien.evaluation.other_data import CrossEvaluation
from mien.models.spec import read_lineage
from mien.tracking.notes import (
    SEARCH,
    TEST,
    TRAINING,
    evaluation_note,
    git_facts,
    lock_facts,
    search_note,
    set_note,
    training_note,
)
from mien.tracking.runs import (
    DIGEST,
    PARENT,
    MetricHistory,
    RunIdentity,
    flatten,
    obtain_run,
    of_epoch,
    send_params,
    set_tags,
    shown_name,
    trial_digest,
)
from mien.tracking.store import URI, connect, first_line, shown, use_store
from mien.tracking.views import offer_view
from mien.training.hardware import hardware_mismatch

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

TRAINED: Final = "build/train"
TRAINING_FILES: Final = {
    "training": ("build/train/history.csv", "build/train/lineage.json", "reports/train.json", "reports/train/*.png"),
    "data": ("reports/ingest.json", "reports/crop.json", "reports/split.json"),
}
PREDICTIONS: Final = "evaluation/predictions.csv"  # as an artifact
EVALUATION_FILES: Final = {
    "evaluation": (
        "reports/report.html",
        "reports/metrics.json",
        "reports/predictions.csv",
        "reports/confusion.csv",
        "build/evaluate/temperature.json",
        "reports/evaluate/*.png",
    ),
}


def publish_training_files(client: "MlflowClient", root: Path, history: MetricHistory | None = None) -> str:
    """Parameters, epochs, data set and files of `build/train`; returns what was sent.

    `history` is what the caller knows already of the run's metrics.
    """
    lineage = read_lineage(root / TRAINED)
    identity = training_identity(lineage)
    run = obtain_run(client, identity)
    run_id = run.info.run_id
    params = send_params(client, run_id, training_params(lineage))
    metrics = (history or MetricHistory(client, run_id)).send(
        (epoch, of_epoch(values)) for epoch, values in read_history(root / "build/train/history.csv")
    )
    _send_data(client, run, lineage)
    files = send_files(client, run, root, TRAINING_FILES)
    set_tags(client, run_id, {**identity.tags, **_missing(run, git_facts(root)), **lock_facts(root)})
    set_note(client, run_id, TRAINING, training_note(lineage))
    if run.info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")
    return f"{params} parameters, {metrics} metrics, {files} files"


def publish_evaluation_files(client: "MlflowClient", root: Path) -> str:
    """Numbers with their intervals, figures and report; returns what was sent."""
    lineage = read_lineage(root / TRAINED)
    run = obtain_run(client, training_identity(lineage))
    report = read_record(root / "reports/metrics.json", {}, "`dvc repro evaluate` writes it anew")
    metrics = MetricHistory(client, run.info.run_id).send([(0, evaluation_metrics(report))])
    files = send_files(client, run, root, EVALUATION_FILES)
    set_tags(client, run.info.run_id, lock_facts(root))
    set_note(client, run.info.run_id, TEST, evaluation_note(report, hardware_mismatch(lineage)))
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id, "FINISHED")
    return f"{metrics} metrics, {files} files"


def training_identity(lineage: Mapping[str, Any]) -> RunIdentity:
    """The run of a training, from its lineage."""
    tags = {
        "mien.kind": "training",
        "mien.data_digest": str(lineage["data_digest"]),
        "mien.split_digest": str(lineage["split_digest"]),
        "mien.precision": str(lineage["precision"]),
        "mien.device": str(lineage.get("device", "unknown")),
    }
    data, digest = lineage["data"], lineage["digest"]
    return RunIdentity(data, shown_name(data, lineage["run"], digest), digest, tags)


def training_params(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved configuration with dotted keys, and the choices that led to it."""
    overruled = {f"search.{key}": value["search"] for key, value in lineage["search"].get("overruled", {}).items()}
    choices = {f"choice.{group}": choice for group, choice in lineage["choices"].items()}
    return {**flatten(lineage["config"]), **choices, **overruled, "parameters": lineage["parameters"]}


def read_history(file: Path) -> list[tuple[int, dict[str, float]]]:
    """The epochs of a history.csv: (epoch, values), without the empty cells."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [
            (int(float(row.pop("epoch"))), {key: float(value) for key, value in row.items() if value})
            for row in csv.DictReader(rows)
        ]


def evaluation_metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """The test set's numbers under `test/`, their intervals below, and of its leak-free part beside it.

    MLflow makes a group of charts of each path: with the ends of the intervals among the numbers, none is found.
    """
    flat: dict[str, float] = {}
    for prefix, part in (("test", report), ("test_leak_free", report.get("leak_free") or {})):
        for key, value in flatten(part).items():
            if key.startswith("leak_free.") or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            measure, _, end = key.rpartition(".")
            name = f"interval.{measure}_{end}" if end in ("low", "high") else key.removesuffix(".value")
            flat[f"{prefix}/{name.replace('.', '/')}"] = float(value)
    return flat


@dataclass(frozen=True)
class _Files:
    by_folder: dict[str, list[Path]]

    @property
    def digest(self) -> str:
        parts = [(folder, f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for folder, f in self.pairs]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def pairs(self) -> list[tuple[str, Path]]:
        return [(folder, file) for folder, files in self.by_folder.items() for file in files]


def send_files(client: "MlflowClient", run: "Run", root: Path, patterns: Mapping[str, tuple[str, ...]]) -> int:
    """Send the files that are there into the run's folders, unless they went before; returns how many."""
    files = _Files({folder: [f for g in globs for f in sorted(root.glob(g))] for folder, globs in patterns.items()})
    tag = f"mien.sent.{next(iter(patterns))}"
    if run.data.tags.get(tag) == files.digest:
        return 0
    for folder, file in files.pairs:
        client.log_artifact(run.info.run_id, str(file), folder)
    set_tags(client, run.info.run_id, {tag: files.digest})
    return len(files.pairs)


def _send_data(client: "MlflowClient", run: "Run", lineage: Mapping[str, Any]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"path": lineage["config"].get("data", {}).get("path", ""), "split": lineage["split_digest"]})
    dataset = Dataset(lineage["data"], str(lineage["data_digest"])[:36], "local", source)
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _missing(run: "Run", tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that the run lacks: where the training logged them itself, they are the truth."""
    return {key: value for key, value in tags.items() if key not in run.data.tags}


SEARCH_FILES: Final = {"search": ("reports/tune.json", "build/tune/best.yaml", "reports/tune/*.png")}
STATUS: Final = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}  # Optuna's to MLflow's


def publish_trials(client: "MlflowClient", root: Path) -> str:
    """The trials of `reports/tune.json` that the store lacks; returns what was sent."""
    report = read_record(root / "reports/tune.json", {}, "`dvc repro tune` writes it anew")
    if not report.get("trials"):
        return "no trials"
    data, digest = report["data"], report["digest"]
    parent = obtain_run(client, RunIdentity(data, shown_name(data, report["run"], digest), digest))
    there = _children(client, parent)
    sent = [_send_trial(client, report, trial) for trial in report["trials"] if _wanted(report, trial, there)]
    files = send_files(client, parent, root, SEARCH_FILES)
    set_note(client, parent.info.run_id, SEARCH, search_note(report))
    if parent.info.status == "RUNNING":
        client.set_terminated(parent.info.run_id, "FINISHED")
    return f"{len(sent)} trials, {files} files"


def _children(client: "MlflowClient", parent: "Run") -> dict[str, str]:
    """The digests of the trials in the store and their status."""
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.`{PARENT}` = '{parent.info.run_id}'", max_results=5000
    )
    return {run.data.tags.get(DIGEST, ""): run.info.status for run in found}


def _wanted(report: Mapping[str, Any], trial: Mapping[str, Any], there: Mapping[str, str]) -> bool:
    """Whether the store lacks the trial, or has it half: a trial is ended last."""
    status = there.get(trial_digest(report["digest"], trial["number"]))
    return trial["state"] in STATUS and status != STATUS[trial["state"]]


def _send_trial(client: "MlflowClient", report: Mapping[str, Any], trial: Mapping[str, Any]) -> int:
    number = int(trial["number"])
    identity = RunIdentity(
        report["data"],
        f"trial {number}",
        trial_digest(report["digest"], number),
        {"mien.kind": "trial", "mien.trial_state": trial["state"]},
        parent=report["digest"],
    )
    run_id = obtain_run(client, identity).info.run_id
    send_params(client, run_id, trial["params"])
    history = MetricHistory(client, run_id)
    name = str(report.get("objective", "objective"))
    history.send((epoch, of_epoch({name: value})) for epoch, value in enumerate(trial["history"]))
    if trial["value"] is not None:
        history.send([(0, {f"trial/best_{name}": trial["value"]})])
    client.set_terminated(run_id, STATUS[trial["state"]])
    return number


WITHIN: Final = 30.0  # seconds that a stage waits for a store
_log = logging.getLogger("mien.tracking")

Work = Callable[["MlflowClient", Path], str]
WORKS: Final[dict[str, tuple[str, Work]]] = {
    "search": ("reports/tune.json", publish_trials),
    "training": ("build/train/lineage.json", publish_training_files),
    "evaluation": ("reports/metrics.json", publish_evaluation_files),
}


def publish(root: Path, *names: str, within: float = WITHIN) -> None:
    """Send what the store lacks of the named works, by default of all; never raises, one warning where it cannot.

    A later stage sends all, so that what an earlier one could not send needs no person once the store is back.
    """
    uri = use_store(root)
    here = _here(root, names or tuple(WORKS))
    failure: list[str] = []

    def attempt() -> None:
        try:
            _send(connect(uri), root, here)
        # Whatever goes wrong in the store is no reason to fail a stage whose files are written.
        except Exception as error:
            failure.append(first_line(error))

    thread = threading.Thread(target=attempt, name=f"mien-publish-{os.getpid()}", daemon=True)
    thread.start()
    thread.join(within)
    if thread.is_alive():
        failure.append(f"no answer within {within:g} s")
    if failure:
        _log.warning("tracking: the store %s failed (%s); `mien sync` sends what is missing.", shown(uri), failure[0])


def sync(root: Path) -> str:
    """Send all that the store lacks, and say what that was.

    Raises:
        UserError: nothing has been trained yet, or the store cannot be reached or written.
    """
    uri = use_store(root)
    here = _here(root, tuple(WORKS))
    if not here:
        raise UserError(f"there is nothing to send: {root} has no build/train/lineage.json; run `dvc repro` first.")
    try:
        client = connect(uri)
        sent = _send(client, root, here)
        offer_view(client, json.loads((root / WORKS[here[0]][0]).read_text(encoding="utf-8"))["data"])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the tracking store {shown(uri)} failed ({first_line(error)}); "
            f"see that it runs and that {URI} is right, then `mien sync` again."
        ) from error
    return f"{shown(uri)} is level with the files. {'; '.join(sent)}."


def _here(root: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (root / WORKS[name][0]).exists()]


def _send(client: "MlflowClient", root: Path, names: list[str]) -> list[str]:
    with publishing(root):
        return [f"{name}: {WORKS[name][1](client, root)}" for name in names]


MEASURES: Final = ("accuracy", "unweighted_average_recall", "macro_f1", "ece", "nll")


def publish_cross(cross: CrossEvaluation) -> str:
    """Log `cross/DATA/accuracy` and others to the run of a registered model; what went wrong, or nothing.

    A model that is not registered has no run, and nothing is logged. The files hold the result either way, so a store
    that fails is no error.
    """
    if cross.model.run_id is None:
        return ""
    from mlflow.entities import Metric

    from mien.tracking.store import connect, first_line

    overall, now = cross.evaluation.whole.intervals.overall, int(time.time() * 1000)
    values = {name: overall[name].value for name in MEASURES} | {"faces": float(cross.evaluation.whole.faces)}
    prefix = f"cross/{cross.data.name}"
    try:
        connect().log_batch(cross.model.run_id, [Metric(f"{prefix}/{k}", v, now, 0) for k, v in values.items()])
    # Whatever goes wrong in the store is no reason to lose a report that is written.
    except Exception as error:
        return f"the tracking store failed ({first_line(error)}), so the result is not among the run's metrics."
    return ""
