"""Live tracking: complete where the store works, harmless where it does not."""

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from mien.tracking import live
from mien.tracking.live import LiveTracking
from mien.tracking.publish import publish_training
from mien.tracking.runs import find_run
from mien.tracking.store import URI, connect
from mien.training import hardware
from tests.faults import fault_proxy
from tests.servers import wait_until
from tests.tracking.conftest import LINEAGE, TUNE
from tests.tracking.stage import prepared, run_train


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine needs more than two seconds to open a store, and these trainings take none."""
    monkeypatch.setattr(live, "CLOSE_WITHIN", 60.0)


@pytest.fixture
def failing_server() -> Iterator[str]:
    """A server that answers 500 to everything."""
    with fault_proxy("http://nowhere") as proxy:
        proxy.set("500")
        yield proxy.address


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "val_loss": 2.0 - epoch / 10, "val_accuracy": 0.1 * epoch, "images_per_second": 500.0}


def begun(root: Path, epochs: range) -> LiveTracking:
    listener = LiveTracking(root)
    listener.started(LINEAGE)
    for epoch in epochs:
        listener.epoch(row(epoch))
    return listener


def run_of(digest: str) -> Run:
    run = find_run(connect(), "tiny", digest)
    assert run is not None
    return run


def steps(run: Run, key: str) -> list[int]:
    return [metric.step for metric in connect().get_metric_history(run.info.run_id, key)]


@pytest.mark.usefixtures("patient")
def test_a_training_is_in_the_store_with_all_its_epochs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    listener = begun(checkout, range(5))
    wait_until(lambda: find_run(connect(), "tiny", "d1") is not None)
    time.sleep(1.0)  # for samples of the machine
    listener.ended("failed")
    run = run_of("d1")
    assert (run.info.run_name, run.info.status) == ("resnet4 · 24 px grey · d1", "FAILED")
    assert run.data.params["optim.lr"] == "0.003"
    assert steps(run, "epoch/val_loss") == [0, 1, 2, 3, 4]
    assert run.data.metrics["epoch/val_loss"] == 1.6
    assert run.data.tags["mien.kind"] == "training"
    assert run.data.tags["mien.cores"].isdigit()
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0
    assert run.data.metrics["machine/images_per_second"] == 500.0
    assert run.data.metrics["machine/peak_memory_megabytes"] > 50


@pytest.mark.usefixtures("patient")
def test_a_resumed_training_continues_its_run_without_duplicates(checkout: Path) -> None:
    begun(checkout, range(3)).ended("killed")
    first = run_of("d1")
    assert first.info.status == "KILLED"
    begun(checkout, range(1, 6)).ended("failed")
    second = run_of("d1")
    assert second.info.run_id == first.info.run_id
    assert second.info.status == "FAILED"
    assert steps(second, "epoch/val_loss") == [0, 1, 2, 3, 4, 5]


@pytest.mark.usefixtures("patient")
def test_a_training_that_finished_brings_its_files(trained: Path) -> None:
    listener = begun(trained, range(0))
    listener.epoch({"epoch": 0, "val_loss": 1.5})  # as history.csv says
    listener.ended("finished")
    run = run_of("d1")
    assert run.info.status == "FINISHED"
    assert steps(run, "epoch/val_loss") == [0, 1]  # the second one from history.csv
    files = [file.path for file in connect().list_artifacts(run.info.run_id, "training")]
    assert files == [f"training/{name}" for name in ("history.csv", "lineage.json", "train.json")]


@pytest.mark.usefixtures("patient")
def test_a_trial_is_a_child_run_as_soon_as_it_has_ended(checkout: Path) -> None:
    listener = LiveTracking(checkout)
    lineage = {key: TUNE[key] for key in ("digest", "data", "model", "run", "objective")}
    listener.started(lineage)
    trials: list[Any] = list(TUNE["trials"])  # type: ignore[call-overload]
    listener.trial(trials[0])
    wait_until(lambda: (run := find_run(connect(), "tiny", "d1-trial-0")) is not None and run.info.status == "FINISHED")
    listener.trial(trials[1])
    listener.ended("killed")
    assert run_of("d1-trial-1").info.status == "KILLED"
    assert run_of("d1-trial-1").data.tags["mlflow.parentRunId"] == run_of("d1").info.run_id


@pytest.mark.parametrize("kind", ["closed_port", "hanging_server", "failing_server"])
def test_a_broken_server_costs_a_training_three_seconds_at_most(
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
        begun(tmp_path, range(900)).ended("finished")
        seconds = time.monotonic() - start
    assert seconds < 3
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert uri in warning
    assert "mien sync" in warning


def test_a_store_that_breaks_in_the_middle_warns_once(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        listener = begun(checkout, range(1))
        wait_until(lambda: (run := find_run(connect(), "tiny", "d1")) is not None and bool(run.data.metrics))
        with closing(sqlite3.connect(checkout / "mlruns/mlflow.db")) as database:
            database.execute("DROP TABLE runs")
        for epoch in range(1, 5):
            listener.epoch(row(epoch))
        wait_until(lambda: bool(caplog.records))
        listener.ended("failed")
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert "no such table: runs" in warning
    assert "\n" not in warning


def test_more_events_than_the_queue_holds_neither_stop_nor_delay_a_training(
    tmp_path: Path, hanging_server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(URI, hanging_server)
    start = time.monotonic()
    begun(tmp_path, range(3 * live.LONGEST_QUEUE)).ended("finished")
    assert time.monotonic() - start < 3
    assert "does not keep up" in caplog.text


def test_a_killed_training_leaves_a_run_to_resume(checkout: Path) -> None:
    script = f"""if True:
        import sys, time
        from pathlib import Path
        from mien.tracking.live import LiveTracking
        listener = LiveTracking(Path(sys.argv[1]))
        listener.started({LINEAGE})
        listener.epoch({row(0)})
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", script, str(checkout)]) as training:
        wait_until(lambda: (run := find_run(connect(), "tiny", "d1")) is not None and bool(run.data.metrics))
        training.kill()
    run = run_of("d1")
    assert run.info.status == "RUNNING"
    assert steps(run, "epoch/val_loss") == [0]


def test_two_kinds_of_machine_are_two_runs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(checkout)
    runs = []
    for instructions in ("AMD avx512_bf16", "AMD avx2"):
        monkeypatch.setattr(hardware, "instruction_set", lambda known=instructions: known)
        trained = run_train(checkout, "tiny")
        publish_training(connect(), checkout)
        runs.append(trained.run)
    assert runs[0].info.run_id != runs[1].info.run_id
    words = [run.data.tags["mien.trained_on"] for run in runs]
    assert words == ["the CPU (AMD avx512_bf16, 1 thread), float32", "the CPU (AMD avx2, 1 thread), float32"]
    for run in runs:
        assert steps(run, "epoch/val_loss") == [0, 1, 2, 3] and steps(run, "val/loss") == [0]
