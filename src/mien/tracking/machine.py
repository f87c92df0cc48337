"""Samples of the machine that a training runs on."""

import time
from contextlib import suppress
from typing import Final

import psutil

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
