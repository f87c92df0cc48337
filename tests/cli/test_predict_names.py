"""Names that act on terminals or are no text, and what is no file, through `mien predict`."""

import csv
import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.inference.conftest import write_model

NAMES = {
    b"\xff\xfe.jpg": r"\xff\xfe.jpg",
    b"\x1b[31mred.jpg": r"\x1b[31mred.jpg",
    b"a\nmien: all is well.jpg": r"a\nmien: all is well.jpg",
    "größe.jpg".encode(): "größe.jpg",
    b"[bold]x.jpg": "[bold]x.jpg",
}


@pytest.fixture
def album(tmp_path: Path, photo_file: Path) -> Path:
    """Photos of these names, and files that are none."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(photo_file.read_bytes())
    (folder / "\x1b[2Jbroken.jpg").write_bytes(b"<html>")
    return folder


def test_names_are_shown_escaped_and_given_to_programs_whole(process: Command, album: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "build")
    shown = process("predict", "--cropped", album, "--model", model)
    assert shown.code == 1 and "\x1b" not in shown.out + shown.err
    unfolded = "".join(shown.out.split())  # the table is 80 columns wide
    assert all(f"{album}/{name}".replace(" ", "") in unfolded for name in NAMES.values())
    assert shown.err == rf"{album}/\x1b[2Jbroken.jpg: cannot be used: no image of a known format (6 bytes)." + "\n"
    done = process("predict", "--cropped", album, "--model", model, "--json", "--csv", "faces.csv")
    files = {Path(face["file"]).name for face in json.loads(done.out)}
    expected = {os.fsencode(name).decode("utf-8", "backslashreplace") for name in map(os.fsdecode, NAMES)}
    assert files == expected
    rows = csv.DictReader((tmp_path / "faces.csv").read_text(encoding="utf-8").splitlines(keepends=True))
    assert {Path(row["file"]).name for row in rows} == expected


def test_pipes_devices_and_loops_are_sentences_and_nobody_waits(process: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    model = write_model(tmp_path / "build")
    done = process("predict", "pipe.jpg", "/dev/zero", "round.jpg", "--model", model)
    assert (done.code, done.out) == (1, "") and "Traceback" not in done.err
    assert "pipe.jpg: cannot be used: it is a pipe, not a file." in done.err
    assert "/dev/zero: cannot be used: it is a device, not a file." in done.err
    assert "round.jpg: there is no such file." in done.err
