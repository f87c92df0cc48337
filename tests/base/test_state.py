"""Resumable state: kept after a kill, held by one process, found from DVC's copies of the workspace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mien.base.errors import UserError
from mien.base.state import code_digest, digest, main_checkout, resumable_state, state_folder

HOLD = """
import sys, time
from pathlib import Path
from mien.base.state import resumable_state
with resumable_state("train", "key", {}, Path(sys.argv[1])) as folder:
    (folder / "last.ckpt").write_text("half way")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_stops_at_once_and_names_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(UserError, match=f"process {holder.pid} is still working on this"),
        resumable_state("train", "key", {}, tmp_path),
    ):
        pytest.fail("two writers")
    age(tmp_path / ".mien/train/key", 99)
    with resumable_state("train", "another key", {}, tmp_path):
        pass
    assert (tmp_path / ".mien/train/key/last.ckpt").exists()  # a state that is held stays however old


def test_state_outlives_kill_9_and_goes_with_success(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with resumable_state("train", "key", {}, tmp_path) as folder:
        assert (folder / "last.ckpt").read_text() == "half way"
    assert not folder.exists()


ORPHAN = """
import os, sys, time
from pathlib import Path
from mien.base.state import resumable_state
parent = os.getppid()
with resumable_state("train", "key", {}, Path(sys.argv[1])) as folder:
    (folder / "last.ckpt").write_text("the end")
    print(os.getpid(), flush=True)
    while os.getppid() == parent:
        time.sleep(0.05)
"""


def test_state_outlives_success_where_nobody_takes_note_of_it(tmp_path: Path) -> None:
    """A killed `dvc`: its training went on for hours and ended, and the next `dvc repro` must not train again."""
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ORPHAN!r}, sys.argv[1]])"
    dvc = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert dvc.stdout is not None
    orphan = psutil.Process(int(dvc.stdout.readline()))
    dvc.kill()
    dvc.wait()
    orphan.wait(20)
    with resumable_state("train", "key", {}, tmp_path) as folder:
        assert (folder / "last.ckpt").read_text() == "the end"
    assert not folder.exists()


def age(state: Path, days: float) -> None:
    """Make all of a state's files look so old."""
    then = time.time() - days * 24 * 3600
    for file in (*state.rglob("*"), state):
        os.utime(file, (then, then))


def test_states_that_nobody_continues_go_when_the_stage_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states = {}
    for key, days in (("young", 13.0), ("old", 15.0), ("continued", 15.0)):
        states[key] = tmp_path / ".mien/train" / key
        states[key].mkdir(parents=True)
        (states[key] / "last.ckpt").write_text("half way")
        age(states[key], days)
    os.utime(states["continued"] / "last.ckpt")
    other = tmp_path / ".mien/unpacked/photos"
    other.mkdir(parents=True)
    age(other, 99)
    with resumable_state("train", "key", {}, tmp_path):
        assert states["old"].exists()
    assert {key for key, state in states.items() if state.exists()} == {"young", "continued"}
    assert other.exists()
    assert f"removed old of {tmp_path}/.mien/train, unused for 14 days" in capsys.readouterr().out


def test_a_stage_that_fails_removes_neither_its_state_nor_old_ones(tmp_path: Path) -> None:
    old = tmp_path / ".mien/train/old"
    old.mkdir(parents=True)
    age(old, 99)
    with pytest.raises(OSError, match="full"), resumable_state("train", "key", {}, tmp_path) as folder:
        (folder / "last.ckpt").touch()
        raise OSError("full")
    assert (folder / "last.ckpt").exists() and old.exists()


def test_digests_follow_content(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text("x = 1\n")
    before = code_digest("room", package=tmp_path)
    (tmp_path / "room/a.py").write_text("x = 2\n")
    assert code_digest("room", package=tmp_path) != before
    assert code_digest("models") != code_digest("models/networks.py")  # of mien itself
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize("copy", ["tmpabc", "standalone/tmpxyz", "tmpabc/src"])
def test_a_copy_leads_to_the_main_checkout_and_any_other_place_is_its_own(tmp_path: Path, copy: str) -> None:
    assert main_checkout(tmp_path / ".dvc/tmp/exps" / copy) == tmp_path
    for place in (".", "src", ".dvc/tmp", "exps/tmp"):
        assert main_checkout(tmp_path / place) == (tmp_path / place).resolve()


def test_the_environment_can_move_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "elsewhere"))
    with resumable_state("train", "key", {}, tmp_path / "checkout") as folder:
        assert folder == tmp_path / "elsewhere/train/key"
    assert state_folder(tmp_path / "checkout") == tmp_path / "elsewhere"
