"""Runs of the store: found by the digest of what they are, and brought level without duplicates."""

import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

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


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: another digest is another run, whatever machine or process asks."""

    experiment: str  # the data set's name
    name: str  # for people: "resnet16 · 48 px grey · 3f2a"
    digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""  # the digest of the parent run


def shown_name(data: str, run: str, digest: str) -> str:
    """What a run is called in its experiment, which is the data set: `resnet16 · 48 px grey · 3f2a`.

    The digest's beginning tells apart trainings of one network with other values.
    """
    return f"{run.removeprefix(f'{data} · ')} · {digest[:4]}"


def of_epoch(values: Mapping[str, float]) -> dict[str, float]:
    """An epoch's values under the names that they have in the store."""
    return {EPOCH + name: value for name, value in values.items()}


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
    if identity.parent:
        parent = obtain_run(client, RunIdentity(identity.experiment, identity.experiment, identity.parent))
        tags[PARENT] = parent.info.run_id
    experiment = find_experiment(client, identity.experiment).experiment_id
    made = client.create_run(experiment, tags=tags, run_name=_name(identity))
    first = find_run(client, identity.experiment, identity.digest) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def _name(identity: RunIdentity) -> str:
    """With the name of the DVC experiment that makes the run: its configuration alone would not tell two apart."""
    experiment = "" if identity.parent else os.environ.get(DVC_EXPERIMENT, "")
    return f"{identity.name} · {experiment}" if experiment else identity.name


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one call."""
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def send_params(client: "MlflowClient", run_id: str, values: Mapping[str, Any]) -> int:
    """Send the parameters that the run lacks (a parameter cannot change); returns how many were sent."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    missing = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in values.items() if k not in known]
    for start in range(0, len(missing), PARAMS_A_BATCH):
        client.log_batch(run_id, params=missing[start : start + PARAMS_A_BATCH])
    return len(missing)


class MetricHistory:
    """A run's metrics as the store has them, so that only what is missing goes up."""

    def __init__(self, client: "MlflowClient", run_id: str, *, empty: bool = False) -> None:
        self._client = client
        self._run_id = run_id
        self._empty = empty  # a run made just now: nothing to ask for
        self._known: dict[str, dict[int, float]] = {}

    def send(self, rows: Iterable[tuple[int, Mapping[str, float]]]) -> int:
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
        """Ask the store anew: somebody else may have written."""
        self._known, self._empty = {}, False

    def _has(self, key: str, step: int, value: float) -> bool:
        if key not in self._known:
            history = [] if self._empty else self._client.get_metric_history(self._run_id, key)
            self._known[key] = {metric.step: metric.value for metric in history}
        known = self._known[key].get(step)
        if known is None:
            return False
        return math.isclose(known, value, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(known) and math.isnan(value))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys: {"optim": {"lr": 1}} gives {"optim.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def trial_digest(digest: str, number: int) -> str:
    """The digest of a search's trial."""
    return f"{digest}-trial-{number}"
