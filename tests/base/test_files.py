"""Files, folders and outs appear complete or not at all."""

from pathlib import Path

import pytest

from mien.base.files import Outs, replacing


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


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path: Path) -> None:
    file = tmp_path / "a/report.json"
    for content in ("old", "new"):
        with replacing(file) as part:
            assert part.name == file.name
            part.write_text(content)
    assert file.read_text() == "new"
    with pytest.raises(OSError, match="disk full"), replacing(file) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert file.read_text() == "new"
    assert [path.name for path in file.parent.iterdir()] == ["report.json"]


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".partial-faces"
    left.mkdir()
    (left / "faces").write_text("half")
    with replacing(tmp_path / "faces") as part:
        assert not part.exists()
        part.mkdir()
        (part / "0.png").write_text("face")
    assert (tmp_path / "faces/0.png").read_text() == "face"
    assert not left.exists()
