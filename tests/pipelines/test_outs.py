"""Outs appear together or not at all."""

from pathlib import Path

import pytest

from mien.base.files import Outs


def test_outs_appear_when_the_block_ends(tmp_path: Path) -> None:
    with Outs("crop", tmp_path) as outs:
        outs.path("reports/crop.json").write_text("{}")
        (outs.folder("build/crop") / "faces.npy").write_text("faces")
        assert not (tmp_path / "reports/crop.json").exists()
    assert (tmp_path / "reports/crop.json").read_text() == "{}"
    assert (tmp_path / "build/crop/faces.npy").read_text() == "faces"
    assert not (tmp_path / "build/.partial/crop").exists()


def test_an_error_leaves_nothing_new_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/crop.json").write_text("old")
    with pytest.raises(OSError, match="disk full"), Outs("crop", tmp_path) as outs:
        outs.path("reports/crop.json").write_text("half")
        outs.path("build/new").write_text("half")
        raise OSError("disk full")
    assert (tmp_path / "reports/crop.json").read_text() == "old"
    assert not (tmp_path / "build/new").exists()


def test_what_a_killed_run_left_is_forgotten(tmp_path: Path) -> None:
    Outs("crop", tmp_path).__enter__().path("build/crop").write_text("half")
    with Outs("crop", tmp_path) as outs:
        waiting = outs.path("build/crop")
        assert not waiting.exists()
        waiting.write_text("whole")
    assert (tmp_path / "build/crop").read_text() == "whole"


def test_a_folder_replaces_an_older_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Outs("train", tmp_path) as outs:
            (outs.folder("build/train") / name).touch()
    assert [p.name for p in (tmp_path / "build/train").iterdir()] == ["b"]
