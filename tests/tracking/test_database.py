"""A store that another MLflow made, or a disk damaged: migrated, or refused in one sentence with the remedy."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy.exc import DBAPIError

from mien.base.errors import UserError
from mien.tracking.store import connect, unusable_database

OLDER = "75868b020152"  # the last but one
LONG_AGO = "bda7b8c39065"  # of June 2025: 42 tables fewer


def set_revision(file: Path, revision: str | None) -> None:
    """Write another schema version into a database."""
    with sqlite3.connect(file) as database:
        if revision:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        else:
            database.execute("DROP TABLE alembic_version")
    database.close()


CASES: list[tuple[str, Callable[[Path], object], tuple[str, ...]]] = [
    ("older", lambda f: set_revision(f, OLDER), ("has MLflow's schema 75868b020152", "`mlflow db upgrade sqlite:///")),
    (
        "newer",
        lambda f: set_revision(f, "ffffffffffff"),
        ("schema ffffffffffff", "installed"),
    ),
    ("without", lambda f: set_revision(f, None), ("no database of MLflow's", "no schema version", "move it away")),
    ("garbage", lambda f: f.write_bytes(b"garbage " * 999), ("damaged one (file is not a database)", "move it away")),
    ("truncated", lambda f: f.write_bytes(f.read_bytes()[:99_999]), ("damaged one (", "`dvc repro` and `mien sync`")),
]


@pytest.mark.parametrize(("name", "change", "says"), CASES, ids=[case[0] for case in CASES])
def test_a_store_that_cannot_be_opened_is_told_in_one_sentence(
    checkout: Path, name: str, change: Callable[[Path], object], says: tuple[str, ...]
) -> None:
    file = checkout / "mlruns/mlflow.db"
    change(file)
    with pytest.raises(UserError) as told:
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


def test_no_password_is_shown() -> None:
    error = MlflowException("Detected out-of-date database schema (found version 75868b020152, but expected x).")
    sentence = unusable_database("postgresql://mien:secret@db.example/mlflow", error)
    assert sentence is not None and "db.example" in sentence and "secret" not in sentence
    assert '`mlflow db upgrade "$MLFLOW_TRACKING_URI"`' in sentence


def test_passing_trouble_is_no_damage(checkout: Path) -> None:
    with pytest.raises(DBAPIError) as busy:
        raise DBAPIError("", {}, sqlite3.OperationalError("database is locked"))
    assert unusable_database("sqlite:///x", busy.value) is None
