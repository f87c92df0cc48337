"""`mien video` and `mien detector`, as a person meets them."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command
from tests.inference.conftest import write_model
from tests.inference.videos import scene, write_video


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "build")


def test_what_came_of_a_video_is_told(mien: Command, model: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [scene(i) for i in range(5)])
    out = tmp_path / "results" / "out.mp4"
    done = mien("video", source, out, "--model", model)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"{out}: 5 frames, 0.5 s, 1 face; a face in 5 frames, by {model}"
    assert "out.timeline.csv and out.timeline.png: the timeline" in done.out
    assert len(list(out.parent.iterdir())) == 3


def test_no_face_is_code_1(mien: Command, model: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 3)
    done = mien("video", source, tmp_path / "out.mp4", "--model", model)
    assert done.code == 1
    assert done.err == f"{source}: no face found in any frame (Haar cascade).\n"


def test_what_cannot_be_done_is_one_sentence_and_code_2(mien: Command, model: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [scene()])
    (tmp_path / "no.mp4").write_bytes(b"hello")
    for arguments, sentence in [
        ((source, tmp_path / "out.avi"), "out.avi: mien writes mp4; give it a name that ends in .mp4."),
        ((source, source), "in.mp4: is the video itself; give the annotated one another name."),
        ((tmp_path / "gone.mp4", tmp_path / "out.mp4"), "gone.mp4: there is no such file."),
        ((tmp_path / "no.mp4", tmp_path / "out.mp4"), "no.mp4: is no video that can be read"),
        ((source, tmp_path / "out.mp4", "--smoothing", "-1"), "--smoothing is a time in seconds, 0 or more, not -1."),
    ]:
        done = mien("video", *arguments, "--model", model)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert sentence in done.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["build", "in.mp4", "no.mp4"]


def test_without_pyav_it_says_what_to_install(
    mien: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_video(tmp_path / "in.mp4", [scene()])
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    done = mien("video", source, tmp_path / "out.mp4", "--model", model)
    assert (done.code, done.err) == (
        2,
        "mien: videos need PyAV, which is not installed: `pip install -c constraints.txt '.[video]'` brings it.\n",
    )


def test_the_detectors_and_the_chosen_one(mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "* haar cascade: faces from the front comes with OpenCV" in " ".join(mien("detector").out.split())
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/predict.yaml").write_text("detector: yunet\n")
    assert "* yunet network: faster, and finds more comes with mien" in " ".join(mien("detector").out.split())
