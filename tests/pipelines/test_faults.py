"""A full disk, a clock that jumps, a killed stage: one sentence, and the same command ends well."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from mien.base.files import Outs
from mien.base.state import stage_lock
from mien.registry import promotion
from mien.tracking.runs import MetricHistory, RunIdentity, obtain_run
from mien.tracking.store import connect
from mien.training.fit import LAST, fit
from pipelines.__main__ import stage_command
from tests.training import tasks
from tests.training.tasks import SPEC, TRAIN, VAL, Epochs

NAME = "mien-tiny"
RECIPE = tasks.RECIPE.with_values({"train.epochs": 4})
FILES = resource.getrlimit(resource.RLIMIT_FSIZE)  # soft and hard


class Fills(Epochs):
    """Lets no file grow beyond 20 kB from an epoch on, as a full disk would."""

    def epoch(self, row: Mapping[str, float]) -> None:
        if row["epoch"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, FILES[1]))


def test_a_disk_that_fills_while_a_checkpoint_is_written_costs_that_epoch_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    undisturbed = fit(SPEC, RECIPE, TRAIN, VAL, tmp_path / "undisturbed")
    folder = tmp_path / "full"
    told = r"^mien: [^\n]+: file too large; raise the limit [^\n]+$"
    with pytest.raises(SystemExit, match=told), stage_command("train"):
        try:
            fit(SPEC, RECIPE, TRAIN, VAL, folder, listener=Fills())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, FILES)
    assert torch.load(folder / LAST, weights_only=True)["epoch"] == 1
    heard = Epochs()
    again = fit(SPEC, RECIPE, TRAIN, VAL, folder, listener=heard)
    assert heard.epochs == [2, 3]
    assert again.history == undisturbed.history
    pairs = zip(again.model.state_dict().values(), undisturbed.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def store(checkout: Path) -> Path:
    """An sqlite store with a registered model of two versions."""
    client = connect()
    client.create_registered_model(NAME)
    for _ in range(2):
        client.create_model_version(NAME, checkout.as_uri())
    return checkout / "mlruns/mlflow.db"


def promote(version: int) -> str:
    return promotion.promote(NAME, version, by="ada", reason="why not")


def test_a_clock_that_goes_back_leaves_the_history_in_its_order(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        year_of_now = 2030

        @classmethod
        def now(cls, tz: object = None) -> datetime:
            cls.year_of_now -= 1
            return datetime(cls.year_of_now, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(promotion, "datetime", Clock)
    promote(1)
    promote(2)
    assert [event["version"] for event in promotion.history(NAME)] == [1, 2]
    assert promotion.history(NAME)[0]["at"] > promotion.history(NAME)[1]["at"]
    assert promotion.rollback(NAME, by="ada", reason="it failed").startswith("mien-tiny is back at version 1")


def test_a_clock_that_goes_back_makes_no_second_run_and_no_second_number(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, real = connect(), time.time
    identity = RunIdentity("tiny", "tiny", "digest")
    run = obtain_run(client, identity)
    MetricHistory(client, run.info.run_id).send([(0, {"val_loss": 2.0}), (1, {"val_loss": 1.0})])
    monkeypatch.setattr(time, "time", lambda: real() - 400 * 24 * 3600)
    again = obtain_run(client, identity)
    MetricHistory(client, again.info.run_id).send([(1, {"val_loss": 1.0}), (2, {"val_loss": 0.5})])
    assert again.info.run_id == run.info.run_id
    values = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "val_loss")]
    assert sorted(values) == [(0, 2.0), (1, 1.0), (2, 0.5)]
    assert client.get_run(run.info.run_id).data.metrics["val_loss"] == 0.5  # the last epoch's, not the last clock's


HOLD = """
import time
from pipelines.__main__ import stage_command
from mien.base.files import Outs
def main():
    with Outs("evaluate") as outs:
        outs.path("reports/metrics.json").write_text("half")
        print("held", flush=True)
        time.sleep(60)
with stage_command("evaluate"):
    main()
"""


def test_a_second_writer_of_any_stage_is_refused_and_the_lock_of_a_killed_one_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'src'}"}
    monkeypatch.chdir(tmp_path)

    def write() -> None:
        with Outs("evaluate") as outs:
            outs.path("reports/metrics.json").write_text("whole")

    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        refused = rf"^mien: evaluate: process {first.pid} is still working on this"
        with pytest.raises(SystemExit, match=refused), stage_command("evaluate"):
            write()
        assert (tmp_path / "build/.partial/evaluate/reports/metrics.json").read_text() == "half"
        with stage_lock("train"):  # another stage of the same workspace
            pass
        first.kill()
    with stage_command("evaluate"):
        write()
    assert (tmp_path / "reports/metrics.json").read_text() == "whole"
