"""`mien promote`, `rollback` and `history` on a real registry."""

import getpass
import os
from pathlib import Path

import pytest

from mien.tracking.store import URI, connect
from tests.cli.conftest import Command


def champion() -> int:
    return int(connect().get_registered_model("mien-tiny").aliases["champion"])


def test_promote_roll_back_and_read_it_all(mien: Command, two_champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_USER", "ada")
    done = mien("promote", "1", "--reason", "A customer asked.")
    assert done.out == "mien-tiny version 1 is champion now, in place of version 2.\n"
    assert champion() == 1
    monkeypatch.delenv("MIEN_USER")
    assert mien("rollback").out == "mien-tiny is back at version 2; version 1 stepped down.\n"
    assert champion() == 2
    out = mien("history", "--data", "tiny").out
    assert max(map(len, out.splitlines())) <= 80
    folded = " ".join(out.split())
    for said in ("rolled back", "promoted", "ada", getpass.getuser(), "A customer asked.", "Rolled back by hand."):
        assert said in folded
    assert folded.index("Rolled back by hand.") < folded.index("A customer asked.") < folded.index("no champion yet")


def test_what_cannot_be_done_is_a_sentence(mien: Command, two_champions: Path) -> None:
    for arguments, reason in (
        (["promote"], "has no challenger"),
        (["promote", "9"], "has no version 9; its versions are 1, 2"),
        (["rollback", "--data", "other"], "there is no registered model 'mien-other'"),
    ):
        done = mien(*arguments)
        assert (done.code, done.out) == (1, "")
        assert reason in done.err
    assert champion() == 2


@pytest.mark.parametrize("command", ["promote", "rollback", "history"])
def test_looking_creates_no_store(
    mien: Command, command: str, tmp_path: Path, no_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = mien(command, "--data", "sample")
    assert done.code == 1
    assert "nothing has been registered" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_dead_server_is_a_sentence(mien: Command, no_store: None, closed_port: str) -> None:
    os.environ[URI] = closed_port
    done = mien("history", "--data", "tiny")
    assert done.code == 1
    assert closed_port in done.err
