"""The live logger of a training: it never raises into it and never makes it wait."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mien.tracking.facts import gpu_megabytes, gpu_name
from mien.tracking.runs import RunIdentity
from mien.tracking.store import use_store

CHILD: Final = (sys.executable, "-m", "mien.tracking.live")
_log = logging.getLogger("mien.tracking")


class RunLogger:
    """One MLflow run, written by a child process: MLflow would fight the training for the interpreter's lock.

    Every method but `close` returns at once: what the child has not read yet waits in the pipe, and a full pipe is a
    failure. At the first failure the logger warns in one sentence and stops trying, because `history.csv` holds the
    same numbers and `mien sync` sends what is missing. The child ends when this process does, however that happens.
    """

    def __init__(self, root: Path, identity: RunIdentity, *, close_within: float = 10.0) -> None:
        self._close_within = close_within
        self._uri = use_store(root)
        self._warned = False
        self._child = self._launch()
        self._send("start", str(root), self._uri, asdict(identity), os.getpid(), gpu_name())

    def params(self, values: Mapping[str, Any]) -> None:
        """Send parameters, such as the flattened configuration."""
        self._send("params", {key: str(value) for key, value in values.items()})

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Send one epoch's metrics."""
        self._send("metrics", step, {key: float(value) for key, value in values.items()}, gpu_megabytes())

    def close(self, status: str = "FINISHED", *, publish: bool = False) -> None:
        """End the run as FINISHED, FAILED or KILLED, waiting at most `close_within` seconds.

        With `publish` the child, which has MLflow loaded, also does the work of `publish_training`.
        """
        self._send("close", status, publish)
        if self._child is None:
            return
        try:
            code = self._child.wait(self._close_within)
            self._hear(self._child)
            if code:
                self._warn(f"its process ended with code {code}")
        except subprocess.TimeoutExpired:
            self._warn(f"no answer within {self._close_within:g} s")
        self._end(self._child)

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
            if self._hear(self._child) or self._child.stdin.write(line) == len(line):
                return
            self._warn("its process does not keep up")
        except OSError:
            self._warn("its process has ended")
        self._end(self._child)

    def _hear(self, child: "subprocess.Popen[bytes]") -> bool:
        """Whether the child has failed; it writes nothing but the reason of a failure."""
        if not self._warned and child.stdout is not None and (reason := child.stdout.read()):
            self._warn(reason.decode().strip())
        return self._warned

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        """Kill what is left of the child; a dead one is only taken note of."""
        child.kill()
        with child:
            self._child = None

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "tracking stopped, the training goes on: the store %s failed (%s); `mien sync` sends what is missing.",
                self._uri,
                reason,
            )


def first_line(error: BaseException) -> str:
    """What an exception says, in a few words: MLflow quotes whole chains of them."""
    text = str(error).strip() or type(error).__name__
    known = [words for words in ("Connection refused", "timed out", "too many 500 error responses") if words in text]
    return known[0] if known else text.splitlines()[0][:200]
