"""The process that writes a training's run while it trains; `RunLogger` starts and feeds it.

    python -m mien.tracking.live

It reads JSON lines, ["start", ...] first and ["close", ...] last, and writes a line only at the first failure: the
reason. What the store did not take is kept and tried again, now and then and at the end.
Where the lines end without "close", the training was killed: what came is sent, and the run stays RUNNING for resume.
"""

import json
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import IO, Any, Final

from mien.tracking.live_run import LiveRun
from mien.tracking.runs import RunIdentity
from mien.tracking.store import connect, first_line

NICENESS: Final = 10  # at 19 a busy machine would starve it, and closing a short training would wait for it
AGAIN: Final = 30.0  # seconds until a store that failed is tried again
LAST: Final = 60.0  # seconds to live when nothing more can come, whatever the store does
ENDS: Final = ("close", "killed")

Items = queue.SimpleQueue[list[Any]]


def main() -> None:
    """Write the run that stdin describes."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    items: Items = queue.SimpleQueue()
    threading.Thread(target=_read, args=(items,), daemon=True).start()
    # MLflow takes seconds to import: while the training still imports PyTorch, nobody waits for it.
    with suppress(Exception):  # the first attempt to send will say what is wrong
        connect()
    _work(items, answers)
    os._exit(0)  # all is written; an orderly end of MLflow's threads takes a second, for which the training would wait


def _read(items: Items) -> None:
    kind = ""
    for line in sys.stdin:
        item = json.loads(line)
        kind = item[0]
        items.put(item)
        if kind == "close":
            break
    if not kind:  # the stage ended before its training began
        os._exit(0)
    if kind != "close":
        items.put(["killed"])
    time.sleep(LAST)
    os._exit(1)


def _work(items: Items, answers: IO[str]) -> None:
    """Send what comes until nothing more can come."""
    _, root, uri, identity, pid, gpu = items.get()
    run = LiveRun(root, uri, RunIdentity(**identity), pid, gpu)
    told, due, ended = False, 0.0, False
    while not ended:
        for item in _waiting(items, max(0.0, due - time.monotonic())):
            run.take(item)
            ended = item[0] in ENDS
        if told and not ended and time.monotonic() < due:
            continue
        try:
            run.send()
            due = time.monotonic() + run.wait()
        # Whatever goes wrong in the store is told to the training once, which goes on.
        except Exception as error:
            due = time.monotonic() + AGAIN
            if not told:
                _tell(answers, first_line(error))
            told = True


def _tell(answers: IO[str], reason: str) -> None:
    with suppress(OSError):  # the training has ended, and nobody listens
        print(reason, file=answers, flush=True)


def _waiting(items: Items, seconds: float) -> list[list[Any]]:
    """All that waits, so that it goes up together; empty when nothing came in time."""
    try:
        come = [items.get(timeout=seconds)]
        while not items.empty():
            come.append(items.get())
    except queue.Empty:
        return []
    return come


if __name__ == "__main__":
    main()
