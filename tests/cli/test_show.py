"""`mien explain`, `mien video`, and `mien app` where it cannot start; the page itself is tested in tests/app."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mien.cli.main import app
from tests.cli.conftest import Command, refused
from tests.inference.conftest import jpeg, write_model
from tests.inference.videos import scene, write_video


def test_a_photo_becomes_a_picture(mien: Command, model: Path, photo_file: Path) -> None:
    done = mien("explain", photo_file, "--model", model)
    assert done.code == 0, done.err
    first, last = done.out.splitlines()
    label = first.removeprefix("face 1: ").split()[0]
    assert first.endswith(f"%; the map shows what speaks for {label}")
    assert last == "portrait-explained.png shows where the network looked."
    with Image.open("portrait-explained.png") as picture:
        assert picture.size == (1760, 808)
        drawn = np.asarray(picture.convert("RGB"), int)
    orange = (drawn[..., 0] - drawn[..., 2] > 60).mean(axis=0)
    assert orange[528:928].mean() > 5 * orange[56:456].mean()  # over the second face, not over the first
    other = mien("explain", photo_file, "--model", model, "--class", "fear", "--out", "to/fear.png", "--cropped")
    assert "the map shows what speaks for fear" in other.out
    assert Path("to/fear.png").read_bytes() != Path("portrait-explained.png").read_bytes()


def test_what_cannot_be_explained_is_said_in_a_sentence(mien: Command, model: Path, photo_file: Path) -> None:
    glad = f"--class: {model} has no class 'glad'; it has angry, disgust"
    refused(mien("explain", photo_file, "--model", model, "--class", "glad"), glad)
    Path("wall.jpg").write_bytes(jpeg(np.full((200, 300, 3), 90, np.uint8)))
    assert "wall.jpg: no face found (YuNet" in mien("explain", "wall.jpg", "--model", model).err
    Path("text.jpg").write_text("no photo")
    assert "text.jpg: cannot be used: " in mien("explain", "text.jpg", "--model", model).err
    gone = mien("explain", "gone.jpg", "--model", model)
    assert (gone.code, gone.err.splitlines()[-1]) == (1, "mien: gone.jpg: cannot be read: No such file or directory.")
    assert not list(Path().glob("*.png"))


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
    assert done.err == f"{source}: no face found in any frame (YuNet).\n"


def test_what_cannot_be_done_is_one_sentence_and_code_2(mien: Command, model: Path, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [scene()])
    (tmp_path / "no.mp4").write_bytes(b"hello")
    for arguments, sentence in [
        ((source, tmp_path / "out.avi"), "out.avi: mien writes mp4; choose a name that ends in .mp4."),
        ((source, source), "in.mp4 is the input video; choose another name for the annotated one."),
        ((tmp_path / "gone.mp4", tmp_path / "out.mp4"), "gone.mp4: there is no such file."),
        ((tmp_path / "no.mp4", tmp_path / "out.mp4"), "no.mp4: is not a readable video"),
    ]:
        refused(mien("video", *arguments, "--model", model), sentence, 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["build", "in.mp4", "no.mp4"]


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["app", *words])
    return result.exit_code, result.output


def test_without_a_champion_it_says_what_makes_one(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    code, says = run("--data", "sample")
    assert code == 1
    assert "there is no models:/mien-sample@champion yet" in says
    assert "`make repro` trains and promotes one" in says


def test_a_port_that_is_taken_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = write_model(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, says = run("--model", str(model), "--port", str(port))
    assert code == 1
    assert f"mien: 127.0.0.1:{port} cannot be used (Address already in use); choose another --port." in says


def test_a_wrong_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/app.yaml").write_text("queue: 0\n")
    monkeypatch.chdir(tmp_path)
    assert run("--model", "x") == (1, "mien: conf/app.yaml: queue must be greater than or equal to 1, not 0.\n")
