"""The tracking store: where it is, its first creation, and databases that cannot be used."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base

from mien.base.errors import UserError
from mien.tracking.store import (
    URI,
    Unreachable,
    connect,
    find_experiment,
    shown,
    store_errors,
    use_store,
)

OLDER = "75868b020152"  # the last but one
LONG_AGO = "bda7b8c39065"  # of June 2025: 42 tables fewer


def set_revision(file: Path, revision: str) -> None:
    """Write another schema version into a database."""
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    database.close()


CASES: list[tuple[str, Callable[[Path], object], tuple[str, ...]]] = [
    ("older", lambda f: set_revision(f, OLDER), ("make a copy, then", "`mlflow db upgrade ADDRESS`")),
    ("newer", lambda f: set_revision(f, "ffffffffffff"), ("newer MLflow", "installed")),
    ("garbage", lambda f: f.write_bytes(b"garbage " * 999), ("is damaged", "move it away")),
    ("truncated", lambda f: f.write_bytes(f.read_bytes()[:99_999]), ("is damaged", "`mien sync`")),
]


@pytest.mark.parametrize(("name", "change", "says"), CASES, ids=[case[0] for case in CASES])
def test_a_store_that_cannot_be_opened_is_one_sentence(
    checkout: Path, name: str, change: Callable[[Path], object], says: tuple[str, ...]
) -> None:
    file = checkout / "mlruns/mlflow.db"
    change(file)
    with pytest.raises(UserError) as told, store_errors("the tracking store"):
        connect()
    sentence = str(told.value)
    assert not [text for text in (str(file), *says) if text not in sentence], sentence
    assert "\n" not in sentence and sentence.endswith(".")


def test_a_store_of_long_ago_is_migrated_and_keeps_what_it_holds(checkout: Path) -> None:
    file = checkout / "mlruns/mlflow.db"
    file.unlink()
    engine = create_sqlalchemy_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    settings = _get_alembic_config(f"sqlite:///{file}")
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, LONG_AGO)
    engine.dispose()
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'tiny', 'active')")
    database.close()
    assert connect().get_experiment_by_name("tiny").experiment_id == "7"


@pytest.mark.parametrize(
    "address", ["./mlruns", "file:///mlruns", "htp://mien:secret@server", "postgresql://mien:secret@server/mlflow"]
)
def test_an_address_of_no_store_is_one_sentence_that_shows_what_would_be_right(address: str) -> None:
    with pytest.raises(UserError) as told, store_errors("the tracking store", address):
        connect(address)
    assert "sqlite:///FOLDER/mlflow.db or postgresql+psycopg2://" in str(told.value)
    assert "secret" not in str(told.value) and "\n" not in str(told.value)


def test_the_default_store_lies_in_the_checkout_and_an_address_that_a_person_set_wins(
    tmp_path: Path, no_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert use_store(tmp_path) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert os.environ[URI] == use_store(tmp_path)
    other = tmp_path / "other"
    assert use_store(other) == f"sqlite:///{other}/mlruns/mlflow.db"
    assert shown(use_store(tmp_path / "100%25?")) == f"sqlite:///{tmp_path}/100%25?/mlruns/mlflow.db"
    assert not (tmp_path / "mlruns").exists()
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


def test_artifacts_lie_beside_the_database_and_a_copy_names_the_same(checkout: Path, tmp_path: Path) -> None:
    before = find_experiment(connect(), "tiny").artifact_location
    assert before == (checkout / "mlruns/artifacts/tiny").as_uri()
    (tmp_path / "backup").mkdir()
    copy = shutil.copy(checkout / "mlruns/mlflow.db", tmp_path / "backup")
    assert connect(f"sqlite:///{copy}").get_experiment_by_name("tiny").artifact_location == before


def test_every_address_follows_a_store_that_was_moved(checkout: Path, tmp_path: Path) -> None:
    client = connect()
    for name in ("tiny", "tiny2"):
        run = client.create_run(find_experiment(client, name).experiment_id)
        client.create_logged_model(run.info.experiment_id, source_run_id=run.info.run_id)
    client.create_registered_model("mien-tiny")
    client.create_model_version("mien-tiny", run.info.artifact_uri)
    before = "\n".join(sqlite3.connect(checkout / "mlruns/mlflow.db").iterdump())
    use_store(checkout.rename(tmp_path / "moved"))
    connect()
    after = "\n".join(sqlite3.connect(tmp_path / "moved/mlruns/mlflow.db").iterdump())
    assert before.count(old := f"{checkout.as_uri()}/mlruns/artifacts/tiny") == 8
    assert after == before.replace(old, f"{(tmp_path / 'moved').as_uri()}/mlruns/artifacts/tiny")


def test_an_experiment_that_was_deleted_in_the_ui_comes_back(checkout: Path) -> None:
    client = connect()
    first = find_experiment(client, "tiny")
    client.delete_experiment(first.experiment_id)
    assert find_experiment(client, "tiny").experiment_id == first.experiment_id
    assert client.get_experiment(first.experiment_id).lifecycle_stage == "active"


def test_without_a_store_the_sentence_names_the_variable(no_store: None) -> None:
    with pytest.raises(UserError, match=URI):
        connect()


def test_a_failure_of_the_store_is_one_sentence_and_another_stays_as_it_is(closed_port: str, checkout: Path) -> None:
    refused = rf"the registry at {closed_port} failed \(Connection refused\); see that"
    with pytest.raises(Unreachable, match=refused), store_errors("the registry at", closed_port):
        connect(closed_port).search_experiments()
    with pytest.raises(UserError, match="; ask Ada") as gone, store_errors("the store", remedy="ask Ada"):
        connect().get_run("0" * 32)
    assert str(gone.value).startswith("the store sqlite:///") and not isinstance(gone.value, Unreachable)
    for full in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a"), OSError("database or disk is full")):
        with pytest.raises(UserError, match=r"\(no space left on device\); make room there"), store_errors("the store"):
            raise full
    with pytest.raises(KeyError), store_errors("the store"):
        raise KeyError
