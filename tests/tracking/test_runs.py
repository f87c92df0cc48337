"""Runs that a DVC experiment makes carry its name."""

from pathlib import Path

import pytest

from mien.tracking.runs import RunIdentity, obtain_run
from mien.tracking.store import connect


def test_a_training_in_an_experiment_ends_with_its_name_and_a_trial_does_not(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    monkeypatch.setenv("DVC_EXP_NAME", "slower")
    training = obtain_run(client, RunIdentity("faces", "net · ab12", "ab12"))
    trial = obtain_run(client, RunIdentity("faces", "trial 0", "ab12-trial-0", parent="ab12"))
    assert (training.info.run_name, trial.info.run_name) == ("net · ab12 · slower", "trial 0")
    monkeypatch.delenv("DVC_EXP_NAME")
    again = obtain_run(client, RunIdentity("faces", "net · ab12", "ab12"))
    assert again.info.run_id == training.info.run_id
