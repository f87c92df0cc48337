"""Every command that opens the store says in one sentence that it cannot, and what would be right."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command

COMMANDS = [
    ("history",),
    ("promote", "1"),
    ("rollback",),
    ("sync",),
    ("ui",),
    ("compare", "tiny", "other"),
    ("predict", "PHOTO"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_a_damaged_store_is_one_sentence(
    mien: Command, two_champions: Path, photo_file: Path, command: tuple[str, ...]
) -> None:
    (two_champions / "mlruns/mlflow.db").write_bytes(b"garbage " * 999)
    done = mien(*(photo_file if word == "PHOTO" else word for word in command))
    assert done.code in (1, 2)
    assert done.out == ""
    assert done.err.startswith("mien: the tracking store sqlite:///") and done.err.count("\n") == 1
    assert "no database of MLflow's, or a damaged one (file is not a database)" in done.err
    assert "`dvc repro` and `mien sync` fill a new one" in done.err
