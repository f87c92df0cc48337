"""The files of a training and of its evaluation, sent to its run."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.models.account import read_lineage
from mien.models.machine import unlike_here
from mien.records import read_record
from mien.tracking.facts import git_facts, lock_facts
from mien.tracking.notes import TEST, TRAINING, evaluation_note, set_note, training_note
from mien.tracking.runs import (
    MetricHistory,
    RunIdentity,
    flatten,
    obtain_run,
    of_epoch,
    send_params,
    set_tags,
    shown_name,
)

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
    set_note(client, run.info.run_id, TEST, evaluation_note(report, unlike_here(lineage)))
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
