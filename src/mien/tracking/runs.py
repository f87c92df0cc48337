"""Runs of the store: found by the digest of what they are, and brought up to date without duplicates."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.tracking.notes import set_note
from mien.tracking.store import find_experiment

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DIGEST: Final = "mien.digest"
PARENT: Final = "mlflow.parentRunId"
DVC_EXPERIMENT: Final = "DVC_EXP_NAME"  # DVC sets it for the stages of `dvc exp run`
EPOCH: Final = "epoch/"  # before the names of history.csv: MLflow makes a group of charts of it, the first one
METRICS_A_BATCH: Final = 1000  # MLflow's limits
PARAMS_A_BATCH: Final = 100
LONGEST_PARAM: Final = 6000

Row = tuple[int, Mapping[str, float]]  # step and values


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: another digest is another run, whatever machine or process asks."""

    experiment: str  # the data set's name
    name: str  # for people: "resnet16 · 48 px grey · 3f2a"
    digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""  # the digest of the parent run


@dataclass(frozen=True)
class RunContent:
    """What files say of a run, for `send`."""

    identity: RunIdentity
    params: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)  # tags that are set only where the run lacks them
    dataset: tuple[str, str, Mapping[str, str]] | None = None  # name, digest, source
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # globs by artifact folder
    note: tuple[str, Callable[[], str]] | None = None  # title and text of a section of the description
    status: str = "FINISHED"  # "" ends a run that is still running, and leaves the end of another as it is


@dataclass(frozen=True)
class Sent:
    """How much a run lacked."""

    params: int = 0
    metrics: int = 0
    files: int = 0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.params + other.params, self.metrics + other.metrics, self.files + other.files)

    def __str__(self) -> str:
        return f"{self.params} parameters, {self.metrics} metrics, {self.files} files"


def send(client: "MlflowClient", root: Path, content: RunContent, history: "MetricHistory | None" = None) -> Sent:
    """Bring a run up to date with what files say, and end it; returns what was sent.

    The digest of the files is a tag that is set last: where it is there, all of it went before.

    Args:
        client: of the store.
        root: the checkout, in which the content's files are.
        content: what the run must hold.
        history: what the caller knows already of the run's metrics.
    """
    run = obtain_run(client, content.identity)
    run_id, present = run.info.run_id, run.data.tags
    tags = {key: value for key, value in content.tags.items() if present.get(key) != value}
    set_tags(client, run_id, {**tags, **{key: value for key, value in content.facts.items() if key not in present}})
    status = content.status or ("FINISHED" if run.info.status == "RUNNING" else run.info.status)
    files = [(folder, file) for folder, globs in content.files.items() for glob in globs for file in root.glob(glob)]
    complete = {f"mien.sent.{next(iter(content.files), '')}": _digest(files)} if files else {}
    if complete and complete.items() <= present.items() and run.info.status == status:
        return Sent()
    params = send_params(client, run_id, content.params)
    metrics = (history or MetricHistory(client, run_id)).send(content.rows)
    if content.dataset:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest, source = content.dataset
        dataset = Dataset(name, digest[:36], "local", json.dumps(source))
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    unsent = [] if complete.items() <= present.items() else files
    for folder, file in unsent:
        client.log_artifact(run_id, str(file), folder)
    if content.note:
        title, text = content.note
        set_note(client, run_id, title, text())
    if run.info.status != status:
        client.set_terminated(run_id, status)
    set_tags(client, run_id, complete)
    return Sent(params, metrics, len(unsent))


def _digest(files: list[tuple[str, Path]]) -> str:
    parts = sorted((folder, file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for folder, file in files)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def find_run(client: "MlflowClient", experiment: str, digest: str) -> "Run | None":
    """The oldest run with this digest, or None."""
    found = client.search_runs(
        [find_experiment(client, experiment).experiment_id],
        f"tags.`{DIGEST}` = '{digest}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return found[0] if found else None


def obtain_run(client: "MlflowClient", identity: RunIdentity) -> "Run":
    """The run of an identity, created where there is none; of two created at once the older one stays."""
    if run := find_run(client, identity.experiment, identity.digest):
        return run
    tags = {**identity.tags, DIGEST: identity.digest}
    name = identity.name
    if identity.parent:
        parent = obtain_run(client, RunIdentity(identity.experiment, identity.experiment, identity.parent))
        tags[PARENT] = parent.info.run_id
    elif experiment := os.environ.get(DVC_EXPERIMENT):  # the configuration alone would not tell two of them apart
        name = f"{name} · {experiment}"
    made = client.create_run(find_experiment(client, identity.experiment).experiment_id, tags=tags, run_name=name)
    first = find_run(client, identity.experiment, identity.digest) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def of_epoch(values: Mapping[str, float]) -> dict[str, float]:
    """An epoch's values under the names that they have in the store."""
    return {EPOCH + name: value for name, value in values.items()}


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one call."""
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def send_params(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> int:
    """Send the parameters that the run lacks (a parameter cannot change); returns how many were sent."""
    from mlflow.entities import Param

    if not values:
        return 0
    known = client.get_run(run_id).data.params
    missing = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in values.items() if k not in known]
    for start in range(0, len(missing), PARAMS_A_BATCH):
        client.log_batch(run_id, params=missing[start : start + PARAMS_A_BATCH])
    return len(missing)


class MetricHistory:
    """A run's metrics as the store has them, so that only what is missing is sent."""

    def __init__(self, client: "MlflowClient", run_id: str, *, empty: bool = False) -> None:
        self._client = client
        self._run_id = run_id
        self._empty = empty  # a run made just now: nothing to ask for
        self._known: dict[str, dict[int, float]] = {}

    def send(self, rows: Iterable[Row]) -> int:
        """Send the (step, values) that the store lacks or has with another value; returns how many."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        missing = [
            Metric(key, float(value), now, step)
            for step, values in rows
            for key, value in values.items()
            if not self._has(key, step, float(value))
        ]
        try:
            for start in range(0, len(missing), METRICS_A_BATCH):
                self._client.log_batch(self._run_id, metrics=missing[start : start + METRICS_A_BATCH])
        except Exception:  # perhaps only the answer was lost
            self.forget()
            raise
        for metric in missing:
            self._known[metric.key][metric.step] = metric.value
        return len(missing)

    def forget(self) -> None:
        """Ask the store again: another process may have written."""
        self._known, self._empty = {}, False

    def _has(self, key: str, step: int, value: float) -> bool:
        if key not in self._known:
            history = [] if self._empty else self._client.get_metric_history(self._run_id, key)
            self._known[key] = {metric.step: metric.value for metric in history}
        known = self._known[key].get(step)
        if known is None:
            return False
        return math.isclose(known, value, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(known) and math.isnan(value))
