"""`mien explain`: a picture of where the network looked."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Command
from tests.inference.conftest import jpeg, write_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_model(tmp_path / "build")


def test_a_photo_becomes_a_picture(mien: Command, model: Path, photo_file: Path) -> None:
    done = mien("explain", photo_file, "--model", model)
    assert done.code == 0, done.err
    first, last = done.out.splitlines()
    label = first.removeprefix("face 1: ").split()[0]
    assert first.endswith(f"%; shown is what speaks for {label}")
    assert last == "portrait-explained.png shows where the network looked."
    with Image.open("portrait-explained.png") as picture:
        assert picture.size == (1760, 808)
        drawn = np.asarray(picture.convert("RGB"), int)
    orange = (drawn[..., 0] - drawn[..., 2] > 60).mean(axis=0)
    assert orange[528:928].mean() > 5 * orange[56:456].mean()  # over the second face, not over the first
    other = mien("explain", photo_file, "--model", model, "--class", "fear", "--out", "to/fear.png", "--cropped")
    assert "shown is what speaks for fear" in other.out
    assert Path("to/fear.png").read_bytes() != Path("portrait-explained.png").read_bytes()


def test_what_cannot_be_explained_is_said_in_a_sentence(mien: Command, model: Path, photo_file: Path) -> None:
    unknown = mien("explain", photo_file, "--model", model, "--class", "glad")
    assert (unknown.code, unknown.out) == (1, "")
    assert f"--class: {model} knows no 'glad'; it knows angry, disgust" in unknown.err
    Path("wall.jpg").write_bytes(jpeg(np.full((200, 300, 3), 90, np.uint8)))
    assert "wall.jpg: no face found (Haar cascade" in mien("explain", "wall.jpg", "--model", model).err
    Path("text.jpg").write_text("no photo")
    assert "text.jpg cannot be used: " in mien("explain", "text.jpg", "--model", model).err
    gone = mien("explain", "gone.jpg", "--model", model)
    assert (gone.code, gone.err.splitlines()[-1]) == (1, "mien: gone.jpg cannot be used: No such file or directory.")
    assert not list(Path().glob("*.png"))
