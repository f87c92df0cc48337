"""`mien export`: the champion of a checkout in one command, and clear words where faces are missing."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def test_the_champion_in_one_command_and_used_at_once(mien: Command, two_champions: Path, photo_file: Path) -> None:
    done = mien("export", "--int8")
    assert done.code == 0, done.err
    first, checked, moved, cost, use = done.out.splitlines()
    assert first.startswith("mien-tiny-2-int8.onnx: mien-tiny version 2 in int8, 0.")
    assert checked.startswith("float32 beside PyTorch, on 64 of its own validation faces: no probability differs by")
    assert moved.startswith("int8 beside float32: the same expression on ")
    assert "95 % interval" in cost
    assert use == "`mien predict PHOTO --model mien-tiny-2-int8.onnx` uses it."
    assert [file.name for file in two_champions.glob("*.onnx*")] == ["mien-tiny-2-int8.onnx"]
    used = mien("predict", photo_file, "--model", "mien-tiny-2-int8.onnx")
    assert used.code == 0, used.err
    assert "1 face in 1 photo, by mien-tiny version 2" in used.out


def test_without_own_faces_it_says_what_it_did_without(mien: Command, two_champions: Path) -> None:
    shutil.rmtree(two_champions / "build")
    refused = mien("export", "--int8")
    assert refused.code == 1
    assert refused.err.startswith("mien: int8 needs faces to find its ranges on: the faces that mien-tiny version 2")
    assert refused.err.endswith("crop is missing (`dvc repro crop`). --photos FOLDER gives others.\n")
    done = mien("export", "--model", "models:/mien-tiny/1", "--out", "to/here.onnx")
    assert done.code == 0, done.err
    assert "The file is checked on drawn faces instead; --photos FOLDER gives others." in done.err
    assert "on 64 drawn faces: no probability differs by more than" in done.out
    assert (two_champions / "to/here.onnx").is_file()


def test_what_cannot_be_exported(mien: Command, two_champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no such folder" in mien("export", "--model", "nowhere").err
    assert "gone.jpg: there is no such file" in mien("export", "--photos", "gone.jpg").err
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else real(name))
    absent = mien("export")
    assert absent.code == 1
    assert absent.err == "mien: onnx is not installed: `pip install -c constraints.txt '.[onnx]'` brings it.\n"
