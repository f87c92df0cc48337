"""The process that writes a training's run while it trains; `RunLogger` starts and feeds it.

    python -m mien.tracking.live

It reads JSON lines, ["start", ...] first and ["close", ...] last, and writes a line only when it fails: the reason.
Where the lines end without "close", the training was killed: what came is sent, and the run stays RUNNING for resume.
"""

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.tracking.facts import run_facts
from mien.tracking.files import publish_training_files
from mien.tracking.machine import Machine
from mien.tracking.run import first_line
from mien.tracking.runs import MetricHistory, RunIdentity, obtain_run, of_epoch, send_params, set_tags
from mien.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

NICENESS: Final = 10  # at 19 a busy machine would starve it, and closing a short training would wait for it
LAST: Final = 60.0  # seconds to live when nothing more can come, whatever the store does

Items = queue.SimpleQueue[list[Any]]


def main() -> None:
    """Write the run that stdin describes."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    items: Items = queue.SimpleQueue()
    threading.Thread(target=_read, args=(items,), daemon=True).start()
    try:
        _work(items)
    # Whatever goes wrong in the store is told to the training, which goes on.
    except Exception as error:
        print(first_line(error), file=answers, flush=True)
    os._exit(0)  # all is written; an orderly end of MLflow's threads takes a second, for which the training would wait


def _read(items: Items) -> None:
    kind = ""
    for line in sys.stdin:
        item = json.loads(line)
        kind = item[0]
        items.put(item)
        if kind == "close":
            break
    if kind != "close":
        items.put(["killed"])
    time.sleep(LAST)
    os._exit(1)


def _work(items: Items) -> None:
    first = items.get()
    if first[0] != "start":
        return
    _, root, uri, fields, pid, gpu = first
    identity = RunIdentity(**fields)
    client = connect(uri)
    run = obtain_run(client, identity)
    client.update_run(run.info.run_id, status="RUNNING")
    set_tags(client, run.info.run_id, {**identity.tags, **run_facts(Path(root)), "mien.gpu": gpu})
    last = _feed(client, run, items, Machine(pid, run.info.start_time))
    if last[0] == "close":
        _, status, publish = last
        client.set_terminated(run.info.run_id, status)
        if publish:
            publish_training_files(client, Path(root))


def _feed(client: "MlflowClient", run: "Run", items: Items, machine: Machine) -> list[Any]:
    """Send what comes until nothing more can come; returns the last item."""
    run_id = run.info.run_id
    history = MetricHistory(client, run_id, empty=not run.data.metrics)
    while True:
        come = _waiting(items, machine.wait())
        for item in come:
            if item[0] == "params":
                send_params(client, run_id, item[1])
            elif item[0] == "metrics":
                machine.gpu_megabytes = item[3]
        rows = [(item[1], of_epoch(item[2])) for item in come if item[0] == "metrics"]
        if not come or come[-1][0] == "close":
            rows.insert(0, machine.sample())
        history.send(rows)
        if come and come[-1][0] in ("close", "killed"):
            return come[-1]


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
