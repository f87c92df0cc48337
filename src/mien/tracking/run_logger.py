"""The live logger of a training: it never raises into it and never makes it wait."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mien.tracking.notes import gpu_megabytes, gpu_name
from mien.tracking.runs import RunIdentity
from mien.tracking.store import first_line, shown, use_store

CLOSE_WITHIN: Final = 10.0  # seconds; only a training that is over before MLflow is imported waits for more than one
CHILD: Final = (sys.executable, "-m", "mien.tracking.live")
_log = logging.getLogger("mien.tracking")


class RunLogger:
    """One MLflow run, written by a child process: MLflow would fight the training for the interpreter's lock.

    The child starts with the logger and imports MLflow while the training still imports PyTorch. Every method but
    the end of `run` returns at once: what the child has not read yet waits in the pipe, and a full pipe is a failure.
    At the first failure the logger warns in one sentence; the child goes on trying, because `history.csv` holds the
    same numbers and `mien sync` sends what is missing. The child ends soon after this process, however that ends.
    """

    def __init__(self, root: Path, *, close_within: float = CLOSE_WITHIN) -> None:
        self._root = root
        self._close_within = close_within
        self._uri = use_store(root)
        self._warned = False
        self._child = self._launch()

    @contextmanager
    def run(self, identity: RunIdentity, params: Mapping[str, Any]) -> Iterator[None]:
        """Write a run while the block lasts; FINISHED with the files of `build/train`, or FAILED after an exception."""
        self.start(identity, params)
        try:
            yield
        except BaseException:
            self.close("FAILED")
            raise
        self.close("FINISHED", publish=True)

    def start(self, identity: RunIdentity, params: Mapping[str, Any]) -> None:
        """Begin the run, or go on in it, with parameters such as the flattened configuration."""
        self._send("start", str(self._root), self._uri, asdict(identity), os.getpid(), gpu_name())
        self._send("params", {key: str(value) for key, value in params.items()})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send one epoch's metrics."""
        self._send("metrics", step, {key: float(value) for key, value in values.items()}, gpu_megabytes())

    def close(self, status: str = "FINISHED", *, publish: bool = False) -> None:
        """End the run as FINISHED, FAILED or KILLED.

        Waits at most `close_within` seconds, and not at all for a store that has failed: the child, which may still
        be sending, is left alone and ends within a minute.

        With `publish` the child, which has MLflow loaded, also sends the files of `build/train`.
        """
        self._send("close", status, publish)
        if self._child is None:
            return
        try:
            code = None if self._warned else self._child.wait(self._close_within)
            if not self._hear(self._child) and code:
                self._warn(f"its process ended with code {code}")
        except subprocess.TimeoutExpired:
            self._warn(f"not done within {self._close_within:g} s; its process goes on by itself")
        self._leave(self._child)

    def _launch(self) -> "subprocess.Popen[bytes] | None":
        pipe = subprocess.PIPE
        try:
            # A group of its own, so that Ctrl-C leaves it alive to note how the training ended.
            child = subprocess.Popen(
                CHILD, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0, process_group=0
            )
        except OSError as error:
            self._warn(first_line(error))
            return None
        for end in (child.stdin, child.stdout):
            if end is not None:
                os.set_blocking(end.fileno(), False)
        return child

    def _send(self, *item: Any) -> None:
        if self._child is None or self._child.stdin is None:
            return
        line = json.dumps(item).encode() + b"\n"
        try:
            self._hear(self._child)
            if self._child.stdin.write(line) == len(line):
                return
            self._warn("its process does not keep up")
        except OSError:
            self._warn("its process has ended")
        self._child.kill()
        self._leave(self._child)

    def _hear(self, child: "subprocess.Popen[bytes]") -> bool:
        """Whether the child has failed; it writes nothing but the reason of a failure."""
        if not self._warned and child.stdout is not None and (reason := child.stdout.read()):
            self._warn(reason.decode().strip())
        return self._warned

    def _leave(self, child: "subprocess.Popen[bytes]") -> None:
        """Let go of the child; where it has ended, take note of it."""
        for end in (child.stdin, child.stdout):
            if end is not None:
                end.close()
        child.poll()
        self._child = None

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "tracking: the store %s failed (%s); the training goes on, and `mien sync` sends what is missing.",
                shown(self._uri),
                reason,
            )
