"""One process at a stage of a workspace: what a killed `dvc` leaves running is not joined by a second one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mien.base.files import Outs
from mien.base.state import stage_lock
from pipelines.__main__ import stage_command

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


@pytest.fixture
def orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'src'}"}
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_of_any_stage_is_refused_and_touches_nothing(
    tmp_path: Path, orphan: subprocess.Popen[str]
) -> None:
    def second() -> None:
        pytest.fail("two writers")

    with (
        pytest.raises(SystemExit, match=rf"^mien: evaluate: process {orphan.pid} is still at work on this"),
        stage_command("evaluate"),
    ):
        second()
    assert (tmp_path / "build/.partial/evaluate/reports/metrics.json").read_text() == "half"
    with stage_lock("train"):  # another stage of the same workspace
        pass
    os.kill(orphan.pid, signal.SIGKILL)
    orphan.wait()


def test_the_lock_of_a_killed_stage_holds_nobody_up(tmp_path: Path, orphan: subprocess.Popen[str]) -> None:
    os.kill(orphan.pid, signal.SIGKILL)
    orphan.wait()

    def write() -> None:
        with Outs("evaluate") as outs:
            outs.path("reports/metrics.json").write_text("whole")

    with stage_command("evaluate"):
        write()
    assert (tmp_path / "reports/metrics.json").read_text() == "whole"
