"""The live logger: complete where the store works, harmless where it does not."""

import http.server
import logging
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run

from mien.tracking.run_logger import RunLogger
from mien.tracking.runs import RunIdentity, find_run
from mien.tracking.store import URI, connect

IDENTITY = RunIdentity("tiny", "tiny · resnet4 · 24 px grey", "d1", {"mien.kind": "training"})


@pytest.fixture
def failing_server() -> Iterator[str]:
    """A server that answers 500 to everything."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        def do_POST(self) -> None:
            self.send_error(500)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def logged(root: Path, epochs: range, status: str = "FINISHED", identity: RunIdentity = IDENTITY) -> Run:
    logger = RunLogger(root, close_within=60)
    logger.start(identity, {"optim.lr": 0.01})
    for epoch in epochs:
        logger.metrics(epoch, {"val_loss": 2.0 - epoch / 10, "val_accuracy": 0.1 * epoch})
    logger.close(status)
    run = find_run(connect(), identity.experiment, identity.digest)
    assert run is not None
    return run


def steps(run: Run, key: str) -> list[int]:
    return [metric.step for metric in connect().get_metric_history(run.info.run_id, key)]


def test_a_training_is_in_the_store_with_all_its_epochs(checkout: Path) -> None:
    ballast = b"x" * 500_000_000
    run = logged(checkout, range(5))
    memory = psutil.Process().memory_info().rss / 1e6
    del ballast
    assert (run.info.run_name, run.info.status) == (IDENTITY.name, "FINISHED")
    assert run.data.params == {"optim.lr": "0.01"}
    assert steps(run, "epoch/val_loss") == [0, 1, 2, 3, 4]
    assert run.data.metrics["epoch/val_loss"] == 1.6
    assert run.data.tags["mien.kind"] == "training"
    assert run.data.tags["mien.cores"].isdigit()
    assert run.data.metrics["system/process_memory_megabytes"] == pytest.approx(memory, abs=200)


def test_a_resumed_training_goes_on_in_its_run_without_duplicates(checkout: Path) -> None:
    first = logged(checkout, range(3), status="KILLED")
    assert first.info.status == "KILLED"
    second = logged(checkout, range(1, 6))
    assert second.info.run_id == first.info.run_id
    assert second.info.status == "FINISHED"
    assert steps(second, "epoch/val_loss") == [0, 1, 2, 3, 4, 5]


def test_another_digest_is_another_run_and_a_trial_has_its_parent(checkout: Path) -> None:
    parent = logged(checkout, range(1))
    child = logged(checkout, range(1), identity=RunIdentity("tiny", "trial 3", "d1-trial-3", parent="d1"))
    assert child.info.run_id != parent.info.run_id
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


@pytest.mark.parametrize("kind", ["closed_port", "hanging_server", "failing_server"])
def test_a_broken_server_neither_stops_nor_delays_a_training(
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = request.getfixturevalue(kind)
    monkeypatch.setenv(URI, uri)
    with caplog.at_level(logging.WARNING):
        start = time.monotonic()
        logger = RunLogger(tmp_path, close_within=3)
        logger.start(IDENTITY, {})
        for epoch in range(1000):
            logger.metrics(epoch, {"val_loss": 1.0})
        fed = time.monotonic()
        logger.close()
        closed = time.monotonic()
    assert fed - start < 2  # a single request that hangs takes longer
    assert closed - fed < 10
    warnings = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert len(warnings) == 1
    assert uri in warnings[0]
    assert "mien sync" in warnings[0]


def test_a_store_that_breaks_in_the_middle_warns_once(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        logger = RunLogger(checkout, close_within=30)
        logger.start(IDENTITY, {})
        logger.metrics(0, {"val_loss": 1.0})
        wait_until(lambda: (run := find_run(connect(), "tiny", "d1")) is not None and bool(run.data.metrics))
        with closing(sqlite3.connect(checkout / "mlruns/mlflow.db")) as database:
            database.execute("DROP TABLE runs")
        for epoch in range(1, 5):
            logger.metrics(epoch, {"val_loss": 1.0})
        logger.close()
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert "no such table: runs" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("child", "epochs", "reason"),
    [
        ((sys.executable, "-c", "import time; time.sleep(60)"), 5000, "does not keep up"),  # more than a pipe holds
        ((sys.executable, "-c", "raise SystemExit(3)"), 10, "has ended|code 3"),
        (("/no/such/python",), 10, "No such file"),
    ],
)
def test_a_broken_process_neither_stops_nor_delays_a_training(
    checkout: Path,
    child: tuple[str, ...],
    epochs: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("mien.tracking.run_logger.CHILD", child)
    start = time.monotonic()
    logger = RunLogger(checkout, close_within=20)
    logger.start(IDENTITY, {})
    for epoch in range(epochs):
        logger.metrics(epoch, {"val_loss": 1.0})
    logger.close()
    assert time.monotonic() - start < 10
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert re.search(reason, warning)


def test_a_killed_training_leaves_a_run_to_resume_and_no_process(checkout: Path) -> None:
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        import psutil
        from mien.tracking.run import RunLogger
        from mien.tracking.runs import RunIdentity
        logger = RunLogger(Path(sys.argv[1]))
        logger.start(RunIdentity("tiny", "killed", "d1"), {})
        logger.metrics(0, {"val_loss": 1.0})
        print(psutil.Process().children()[0].pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", script, str(checkout)], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    wait_until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    run = find_run(connect(), "tiny", "d1")
    assert run is not None
    assert run.info.status == "RUNNING"
    assert steps(run, "epoch/val_loss") == [0]


def wait_until(happened: Callable[[], bool], within: float = 60.0) -> None:
    end = time.monotonic() + within
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)
