"""The command in a folder of its own, in this process or, where that matters, as a process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.tracking.store import URI
from tests.inference.conftest import photo_file, write_model

__all__ = ["photo_file"]

Command = Callable[..., "Done"]


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


def refused(done: Done, says: str, code: int = 1) -> None:
    """A command that printed one sentence on stderr, which says so, and no result."""
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert done.err.startswith("mien: ") and says in done.err, done.err


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in this process, plain and 80 columns wide."""
    for name in ("COLUMNS", "FORCE_COLOR", "MIEN_USER"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> Done:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Command:
    """Runs the command as a person does; outside of any checkout unless told."""

    def run(*arguments: str | Path, cwd: Path = tmp_path) -> Done:
        command = [str(Path(sys.executable).with_name("mien")), *(str(argument) for argument in arguments)]
        environment = {key: value for key, value in os.environ.items() if key not in (URI, "FORCE_COLOR")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model in a folder of the current folder, which is no checkout."""
    monkeypatch.chdir(tmp_path)
    return write_model(tmp_path / "build")
