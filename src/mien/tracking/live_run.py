"""A training's run while it is written: what the store did not take yet waits for the next attempt."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from mien.base.state import publishing
from mien.tracking.notes import run_facts
from mien.tracking.publish import publish_training_files
from mien.tracking.runs import MetricHistory, RunIdentity, obtain_run, of_epoch, send_params, set_tags
from mien.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SAMPLE_EVERY: Final = 10.0  # seconds between two samples, as in MLflow


class Machine:
    """Processor, memory and GPU, under the names that MLflow's system page shows.

    Args:
        pid: the training's process.
        start_ms: when its run began, in ms since 1970.
    """

    def __init__(self, pid: int, start_ms: int) -> None:
        self.gpu_megabytes: float | None = None  # only the training's process can know it
        self._pid = pid
        self._start = start_ms / 1000
        self._next = time.monotonic() + SAMPLE_EVERY
        psutil.cpu_percent(None)

    def wait(self) -> float:
        """Seconds until the next sample is due."""
        return max(0.0, self._next - time.monotonic())

    def sample(self) -> tuple[int, dict[str, float]]:
        """The step (tens of seconds since the run began, so that a resumed run goes on) and the values."""
        self._next = time.monotonic() + SAMPLE_EVERY
        memory = psutil.virtual_memory()
        values = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(None),
            "system/system_memory_usage_percentage": memory.percent,
            "system/system_memory_usage_megabytes": memory.used / 1e6,
        }
        with suppress(psutil.NoSuchProcess):  # the training has ended, and did not wait for a slow store
            values["system/process_memory_megabytes"] = psutil.Process(self._pid).memory_info().rss / 1e6
        if self.gpu_megabytes is not None:
            values["system/gpu_0_memory_usage_megabytes"] = self.gpu_megabytes
        return max(0, int((time.time() - self._start) / SAMPLE_EVERY)), values


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
