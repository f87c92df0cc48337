"""The live logger of a training: it never raises into it and never makes it wait."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.tracking.facts import run_facts
from mien.tracking.runs import MetricHistory, RunIdentity, obtain_run, send_params, set_tags
from mien.tracking.store import connect, use_store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SAMPLE_EVERY: Final = 10.0  # seconds between two samples of the machine, as in MLflow
_log = logging.getLogger("mien.tracking")


class RunLogger:
    """One MLflow run, fed from a queue by one background thread.

    Every method returns at once. The thread imports MLflow, finds or creates the run by its digest, and
    sends each epoch in one call; at the first failure it warns in one sentence and stops trying, because
    `history.csv` holds the same numbers and `mien sync` sends what is missing.
    """

    def __init__(self, root: Path, identity: RunIdentity, *, close_within: float = 10.0) -> None:
        self._root = root
        self._identity = identity
        self._close_within = close_within
        self._uri = use_store(root)
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mien-tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, Any]) -> None:
        """Send parameters, such as the flattened configuration."""
        self._put("params", dict(values))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send one epoch's metrics."""
        self._put("metrics", (step, dict(values)))

    def close(self, status: str = "FINISHED") -> None:
        """End the run as FINISHED, FAILED or KILLED, waiting at most `close_within` seconds."""
        self._put("close", status)
        self._thread.join(self._close_within)
        if self._thread.is_alive():
            self._warn(f"no answer within {self._close_within:g} s")

    def _put(self, kind: str, value: Any) -> None:
        if not self._stopped.is_set():
            self._queue.put((kind, value))

    def _warn(self, reason: str) -> None:
        if not self._stopped.is_set():
            self._stopped.set()
            _log.warning(
                "tracking stopped, the training goes on: the store %s failed (%s); `mien sync` sends what is missing.",
                self._uri,
                reason,
            )

    def _work(self) -> None:
        try:
            client = connect(self._uri)
            run = obtain_run(client, self._identity)
            client.update_run(run.info.run_id, status="RUNNING")
            set_tags(client, run.info.run_id, {**self._identity.tags, **run_facts(self._root)})
            self._feed(client, run)
        # Whatever goes wrong in the store is no reason to lose a training.
        except Exception as error:
            self._warn(first_line(error))

    def _feed(self, client: "MlflowClient", run: "Run") -> None:
        run_id = run.info.run_id
        history = MetricHistory(client, run_id, empty=not run.data.metrics)
        machine = Machine(run.info.start_time)
        while not self._stopped.is_set():
            items = self._waiting(machine.wait())
            if not items or items[-1][0] == "close":
                items.insert(0, ("metrics", machine.sample()))
            history.send(value for kind, value in items if kind == "metrics")
            for kind, value in items:
                if kind == "params":
                    send_params(client, run_id, value)
                elif kind == "close":
                    client.set_terminated(run_id, value)
                    return

    def _waiting(self, seconds: float) -> list[tuple[str, Any]]:
        """All that waits in the queue, so that it goes up together; empty when nothing came in time."""
        try:
            items = [self._queue.get(timeout=seconds)]
            while not self._queue.empty():
                items.append(self._queue.get())
        except queue.Empty:
            return []
        return items


class Machine:
    """Samples of processor, memory and GPU, under the names that MLflow's system page shows."""

    def __init__(self, start_ms: int) -> None:
        import psutil

        self._psutil = psutil
        self._start = start_ms / 1000
        self._next = time.monotonic() + SAMPLE_EVERY
        psutil.cpu_percent(None)

    def wait(self) -> float:
        """Seconds until the next sample is due."""
        return max(0.0, self._next - time.monotonic())

    def sample(self) -> tuple[int, dict[str, float]]:
        """The step (tens of seconds since the run began, so that a resumed run goes on) and the values."""
        self._next = time.monotonic() + SAMPLE_EVERY
        memory = self._psutil.virtual_memory()
        values = {
            "system/cpu_utilization_percentage": self._psutil.cpu_percent(None),
            "system/system_memory_usage_percentage": memory.percent,
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/process_memory_megabytes": self._psutil.Process().memory_info().rss / 1e6,
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            free, total = torch.cuda.mem_get_info()
            values["system/gpu_0_memory_usage_megabytes"] = (total - free) / 1e6
        return max(0, int((time.time() - self._start) / SAMPLE_EVERY)), values


def first_line(error: BaseException) -> str:
    """What an exception says, in a few words: MLflow quotes whole chains of them."""
    text = str(error).strip() or type(error).__name__
    known = [words for words in ("Connection refused", "timed out", "too many 500 error responses") if words in text]
    return known[0] if known else text.splitlines()[0][:200]
