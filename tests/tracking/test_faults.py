"""Servers that fail while the stage `train` runs: its result is unchanged, and `mien sync` brings the store level."""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.tracking.live import LiveTracking
from mien.tracking.publish import publish, sync
from mien.tracking.runs import find_run, of_epoch
from mien.tracking.store import URI, connect
from tests.faults import FaultProxy, Mode, fault_proxy
from tests.servers import wait_until
from tests.stores import with_store
from tests.tracking.conftest import LINEAGE
from tests.tracking.stage import Heard, Trained, prepared, run_train

PATIENT = 60.0  # seconds: a busy machine needs more than two for a whole training, and these take one


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("faces") / "checkout")


@pytest.fixture
def root(faces: Path, tmp_path: Path, no_store: None) -> Path:
    shutil.copytree(faces, tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.fixture(scope="session")
def undisturbed(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same training with the default store."""
    root = tmp_path_factory.mktemp("undisturbed") / "checkout"
    shutil.copytree(faces, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(URI, raising=False)
        patch.setattr("mien.tracking.live.CLOSE_WITHIN", PATIENT)
        trained = run_train(with_store(root), "undisturbed")
        assert trained.missing() == []
        os.environ.pop(URI, None)
    assert trained.warnings == []
    return trained


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def proxy(request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """What fails on demand in front of a real server, and is the store in use."""
    with fault_proxy(request.getfixturevalue(f"server_on_{request.param}")) as between:
        monkeypatch.setenv(URI, between.address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setattr("mien.tracking.live.CLOSE_WITHIN", PATIENT)
        yield between


def assert_level_after_one_sync(proxy: FaultProxy, trained: Trained) -> None:
    """One sync brings the store level with the files, the next finds nothing to send."""
    proxy.set("work")
    sync(trained.root)
    assert trained.missing() == []
    proxy.seen.clear()
    assert "training: 0 parameters, 0 metrics, 0 files" in sync(trained.root)
    assert not [path for method, path in proxy.handled("work") if method == "PUT"]
    assert trained.missing() == []


def test_a_server_that_works_is_level_when_the_stage_ends(proxy: FaultProxy, root: Path, undisturbed: Trained) -> None:
    trained = run_train(root, name())
    assert (trained.warnings, trained.missing()) == ([], [])
    assert (trained.history, trained.weights) == (undisturbed.history, undisturbed.weights)
    assert_level_after_one_sync(proxy, trained)


@pytest.mark.parametrize("mode", ["refuse", "500", "hang", "cut"])
@pytest.mark.parametrize("after", [0, 3], ids=["at the start", "in the middle"])
def test_a_failing_server_changes_nothing_but_one_warning(
    proxy: FaultProxy, root: Path, undisturbed: Trained, mode: Mode, after: int
) -> None:
    if after:
        proxy.fail_at("runs/log-batch", after, mode)
    else:
        proxy.set(mode)
    trained = run_train(root, name())
    assert (trained.history, trained.weights) == (undisturbed.history, undisturbed.weights)
    (warning,) = trained.warnings
    assert proxy.address in warning and "`mien sync` sends what is missing" in warning
    if after:
        assert proxy.mode == mode  # else it would have failed after the training only
    assert_level_after_one_sync(proxy, trained)


def test_the_thread_left_behind_and_a_sync_send_nothing_twice(
    proxy: FaultProxy, root: Path, undisturbed: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another stage follows a training that did not wait for a slow server."""
    monkeypatch.setattr("mien.tracking.live.CLOSE_WITHIN", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # it still hangs when the training ends
    proxy.fail_at("runs/log-batch", 3, "hang")
    trained = run_train(root, name())
    assert len(trained.warnings) == 1 and "not done within 0.1 s" in trained.warnings[0]
    wait_until(lambda: proxy.mode == "hang")
    proxy.set("work")
    publish(root)
    wait_until(lambda: not senders())
    assert trained.missing() == []
    assert trained.weights == undisturbed.weights


def test_what_failed_is_sent_at_the_end_if_the_server_is_back(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.tracking.live.RETRY_AFTER", 0.0)
    lineage = {**LINEAGE, "data": name()}
    listener = LiveTracking(tmp_path)
    proxy.fail_at("runs/log-batch", 4, "500")
    epochs = iter(range(10_000))
    with Heard() as heard:
        listener.started(lineage)
        while not heard.warnings:
            listener.epoch({"epoch": next(epochs), "val_loss": 1.0})
            time.sleep(0.1)
        proxy.set("work")
        listener.epoch({"epoch": (last := next(epochs)), "val_loss": 0.5})
        wait_until(lambda: find_run(connect(), lineage["data"], "d1") is not None)
        listener.ended("failed")
    wait_until(lambda: not senders())
    run = find_run(connect(), lineage["data"], "d1")
    assert run is not None and run.info.status == "FAILED"
    stored = connect().get_metric_history(run.info.run_id, *of_epoch({"val_loss": 0.0}))
    assert sorted(metric.step for metric in stored) == list(range(last + 1))
    assert len(heard.warnings) == 1


def senders() -> list[threading.Thread]:
    """The threads that still send."""
    return [thread for thread in threading.enumerate() if thread.name == "mien-tracking"]


def name() -> str:
    """A data set that the servers, which all tests share, do not know yet."""
    return f"faces-{uuid.uuid4().hex[:8]}"
