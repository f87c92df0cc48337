"""Live tracking of a training or a search: a listener that writes MLflow runs from one thread.

It never raises into the work and makes it wait at most `CLOSE_WITHIN` seconds, at its end. What a dead or slow server
does not take is missing in the store alone: `history.csv` and `tune.json` hold the same, and the next stage or
`mien sync` sends it.
"""

import logging
import queue
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any, Final

import psutil

from mien.base.listener import Listener
from mien.base.state import publish_lock
from mien.tracking import publish
from mien.tracking.runs import MetricHistory, obtain_run, of_epoch, run_facts, send, send_params, set_tags
from mien.tracking.store import connect, first_line, shown, use_store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CLOSE_WITHIN: Final = 2.0  # seconds
RETRY_AFTER: Final = 30.0  # seconds until a store that failed is tried again
LONGEST_QUEUE: Final = 1000  # events
SAMPLED_EVERY: Final = 1.0  # seconds between two looks at the memory

_log = logging.getLogger("mien.tracking")


class LiveTracking(Listener):
    """Listener for the stage that runs in a checkout."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._uri = use_store(root)
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue(LONGEST_QUEUE)
        self._thread = threading.Thread(target=self._work, name="mien-tracking", daemon=True)
        self._failing = False
        self._warned = False

    def started(self, lineage: Mapping[str, Any]) -> None:
        """Begin the run, or continue it."""
        # Not in the thread: imports in two threads at once can find each other's modules half made.
        import mlflow.tracking  # noqa: F401

        self._put("started", lineage)
        self._thread.start()

    def epoch(self, row: Mapping[str, float]) -> None:
        """Send an epoch's metrics."""
        self._put("epoch", row)

    def trial(self, row: Mapping[str, Any]) -> None:
        """Send a trial as a run of its own."""
        self._put("trial", row)

    def ended(self, outcome: str) -> None:
        """End the run, after "finished" with the stage's files; a store that has failed is not waited for."""
        self._put("ended", outcome)
        if not self._failing:
            self._thread.join(CLOSE_WITHIN)
            if self._thread.is_alive():
                self._warn(f"not done within {CLOSE_WITHIN:g} s")

    def _put(self, kind: str, content: Any) -> None:
        try:
            self._events.put_nowait((kind, content))
        except queue.Full:
            self._warn("it does not keep up")

    def _warn(self, reason: str) -> None:
        self._failing = True
        if not self._warned:
            self._warned = True
            _log.warning(
                "tracking: the store %s failed (%s); the stage continues, and `mien sync` sends what is missing.",
                shown(self._uri),
                reason,
            )

    def _work(self) -> None:
        """Send events until the last one; what a failing store did not take waits for the next attempt."""
        waiting: list[tuple[str, Any]] = []
        run: _LiveRun | None = None
        ended, retry_at = False, 0.0
        peak = 0.0
        while not ended:
            peak = max(peak, memory_megabytes())
            try:
                waiting.append(self._events.get(timeout=SAMPLED_EVERY))
            except queue.Empty:
                continue
            ended = waiting[-1][0] == "ended"
            if not ended and (time.monotonic() < retry_at or not self._events.empty()):
                continue
            try:
                with publish_lock(self._root):
                    run = run or _LiveRun(connect(self._uri), self._root, waiting[0][1])
                    run.send(waiting, peak)
                self._failing = False
            # Whatever goes wrong in the store is a warning, and the work goes on.
            except Exception as error:
                retry_at = time.monotonic() + RETRY_AFTER
                self._warn(first_line(error))


def memory_megabytes() -> float:
    """The memory that this process and its children have now; what several of them share counts for each."""
    total = 0
    with suppress(psutil.Error):  # a child may end meanwhile
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            total += process.memory_info().rss
    return total / 1e6


class _LiveRun:
    """The run of a training, or of a search and its trials."""

    def __init__(self, client: "MlflowClient", root: Path, lineage: Mapping[str, Any]) -> None:
        self._client = client
        self._root = root
        self._lineage = lineage
        self._speeds: dict[int, float] = {}  # images a second, by epoch or trial
        self._searches = "objective" in lineage
        identity = publish.search_identity(lineage) if self._searches else publish.training_identity(lineage)
        run = obtain_run(client, identity)
        self._id = run.info.run_id
        self._history = MetricHistory(client, self._id)
        client.update_run(self._id, status="RUNNING")
        set_tags(client, self._id, {**identity.tags, **run_facts(root)})
        self._monitor: Any = None
        if not self._searches:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            send_params(client, run, publish.training_params(lineage))
            # MLflow's own sampling of processor, memory, disk and network, every ten seconds
            options: dict[str, Any] = {"resume_logging": True, "tracking_uri": client.tracking_uri}
            self._monitor = SystemMetricsMonitor(self._id, **options)  # type: ignore[no-untyped-call]
            self._monitor.start()

    def send(self, events: list[tuple[str, Any]], megabytes: float) -> None:
        """Send events in their order, and remove each that the store has taken; the last with the peak of memory."""
        rows = [content for kind, content in events if kind == "epoch"]
        self._history.send((int(row["epoch"]), of_epoch({k: row[k] for k in row if k != "epoch"})) for row in rows)
        while events:
            kind, content = events[0]
            if kind in ("epoch", "trial") and content.get("images_per_second"):
                self._speeds[content["epoch" if kind == "epoch" else "number"]] = content["images_per_second"]
            if kind == "trial":
                send(self._client, self._root, publish.trial_content(self._lineage, content))
            elif kind == "ended":
                self._end(content, megabytes)
            del events[0]

    def _end(self, outcome: str, megabytes: float) -> None:
        if self._monitor:
            self._monitor.finish()
        costs = {"machine/peak_memory_megabytes": megabytes}
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            costs["machine/peak_gpu_memory_megabytes"] = torch.cuda.max_memory_reserved() / 1e6
        if self._speeds:
            costs[publish.SPEED] = harmonic_mean(list(self._speeds.values()))
        self._history.send([(self._history.step_of(costs), costs)])
        self._client.set_terminated(self._id, outcome.upper())
        if outcome == "finished":
            send_results = publish.publish_search if self._searches else publish.publish_training
            send_results(self._client, self._root)
