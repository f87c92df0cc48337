"""Names on a terminal."""

import os
from pathlib import Path

import pytest

from mien.base.errors import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größer 写真.jpg", "größer 写真.jpg"),
        ("a\nmien: all is well.jpg", r"a\nmien: all is well.jpg"),
        ("\x1b[2J\x07\r.jpg", r"\x1b[2J\x07\r.jpg"),
        ("\x9b31m.jpg", r"\x9b31m.jpg"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        (os.fsdecode(b"\xff\xfe.jpg"), r"\xff\xfe.jpg"),
        (Path("..") / "x", "../x"),
    ],
)
def test_nothing_acts_on_the_terminal(name: str | Path, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).encode("utf-8").decode() == shown
