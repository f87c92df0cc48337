"""Where tracking goes, and the store's first creation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.base.errors import UserError
from mien.tracking.store import URI, connect, find_experiment, use_store


def test_the_default_store_lies_in_the_checkout(tmp_path: Path, no_store: None) -> None:
    assert use_store(tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert os.environ[URI] == use_store(tmp_path)
    other = tmp_path / "other"
    assert use_store(other) == f"sqlite:///{other}/mlruns/mlflow.db"
    assert not (tmp_path / "mlruns").exists()


def test_an_address_that_a_person_set_wins(tmp_path: Path, no_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI, "http://mlflow.example:5000")
    assert use_store(tmp_path) == "http://mlflow.example:5000"


def test_two_processes_create_the_store_at_once_over_a_half_made_one(tmp_path: Path) -> None:
    half = tmp_path / "deep/mlruns/.partial-mlflow.db/mlflow.db"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    script = (
        "import sys; from mien.tracking.store import connect, find_experiment;"
        "print(find_experiment(connect(sys.argv[1]), 'tiny').experiment_id)"
    )
    uri = f"sqlite:///{tmp_path}/deep/mlruns/mlflow.db"
    both = [subprocess.Popen([sys.executable, "-c", script, uri], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=120)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert not list((tmp_path / "deep/mlruns").glob(".partial*"))


def test_artifacts_lie_beside_the_database(checkout: Path) -> None:
    experiment = find_experiment(connect(), "tiny")
    assert experiment.artifact_location == (checkout / "mlruns/artifacts/tiny").as_uri()


def test_an_experiment_that_was_deleted_in_the_ui_comes_back(checkout: Path) -> None:
    client = connect()
    first = find_experiment(client, "tiny")
    client.delete_experiment(first.experiment_id)
    assert find_experiment(client, "tiny").experiment_id == first.experiment_id
    assert client.get_experiment(first.experiment_id).lifecycle_stage == "active"


def test_without_a_store_the_sentence_names_the_variable(no_store: None) -> None:
    with pytest.raises(UserError, match=URI):
        connect()
