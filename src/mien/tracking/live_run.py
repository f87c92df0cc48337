"""A training's run while it is written: what the store did not take yet waits for the next attempt."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.tracking.facts import run_facts
from mien.tracking.files import publish_training_files
from mien.tracking.machine import Machine
from mien.tracking.runs import MetricHistory, RunIdentity, obtain_run, of_epoch, send_params, set_tags
from mien.tracking.store import connect
from mien.tracking.turns import publishing

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

Row = tuple[int, dict[str, float]]


class LiveRun:
    """The run of one training.

    Args:
        root: the checkout.
        uri: the store.
        identity: of the run.
        pid: the training's process.
        gpu: its accelerator, for a tag.
    """

    def __init__(self, root: str, uri: str, identity: RunIdentity, pid: int, gpu: str) -> None:
        self._root = Path(root)
        self._uri = uri
        self._identity = identity
        self._pid = pid
        self._gpu = gpu
        self._params: dict[str, str] = {}
        self._rows: list[Row] = []
        self._end: tuple[str, bool] | None = None
        self._there: tuple[MlflowClient, str, MetricHistory] | None = None  # once the store has answered
        self._machine: Machine | None = None

    def take(self, item: list[Any]) -> None:
        """Keep what the training said, to be sent: ["params", ...], ["metrics", ...] or ["close", ...]."""
        match item:
            case ["params", values]:
                self._params.update(values)
            case ["metrics", step, values, gpu_megabytes]:
                self._rows.append((step, of_epoch(values)))
                if self._machine:
                    self._machine.gpu_megabytes = gpu_megabytes
            case ["close", status, publish]:
                self._end = (status, publish)

    def wait(self) -> float:
        """Seconds until the machine's next sample is due."""
        return self._machine.wait() if self._machine else 0.0

    def send(self) -> None:
        """Bring the store level with what was taken, and after "close" with the training's files.

        Raises:
            Exception: whatever MLflow raises; what was not sent is kept.
        """
        with publishing(self._root):
            client, run_id, history = self._there or self._begin()
            if self._params:
                send_params(client, run_id, self._params)
                self._params = {}
            if self._end:
                history.forget()  # the stage does not wait for a slow store: a later one may have sent the rest
            if self._machine and (self._end or self._machine.wait() == 0):
                self._rows.append(self._machine.sample())
            history.send(self._rows)
            self._rows = []
            if self._end:
                self._finish(client, run_id, history, *self._end)

    def _begin(self) -> "tuple[MlflowClient, str, MetricHistory]":
        client = connect(self._uri)
        run = obtain_run(client, self._identity)
        client.update_run(run.info.run_id, status="RUNNING")
        set_tags(client, run.info.run_id, {**self._identity.tags, **run_facts(self._root), "mien.gpu": self._gpu})
        self._machine = Machine(self._pid, run.info.start_time)
        self._there = (client, run.info.run_id, MetricHistory(client, run.info.run_id, empty=not run.data.metrics))
        return self._there

    def _finish(self, client: "MlflowClient", run_id: str, history: MetricHistory, status: str, publish: bool) -> None:
        client.set_terminated(run_id, status)
        if publish:
            publish_training_files(client, self._root, history)
