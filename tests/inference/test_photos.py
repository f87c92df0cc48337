"""Files of every kind, several in a batch, and those that fail beside those that do not."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.inference import predictor as photos_module
from mien.inference.address import load_model_of
from mien.inference.picture import Picture, read_photo
from mien.inference.predictor import Predictor, predict_pictures
from mien.runtime.decode import UnreadablePhoto
from mien.sources.detect import PredictConfig
from tests.inference.conftest import jpeg, portrait, portraits, write_model


def test_a_batch_answers_as_one_photo_after_the_other(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number, (photo, _) in enumerate(portraits(8)):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(jpeg(photo))
    monkeypatch.setattr(photos_module, "PICTURES_A_BATCH", 3)
    together = list(predict_pictures(predictor, map(Picture, files)))
    alone = [next(predict_pictures(predictor, [Picture(file)])) for file in files]
    first, second = ([(p.picture.file, [f.box for f in p.faces]) for p in found] for found in (together, alone))
    assert first == second
    for one, other in zip(together, alone, strict=True):
        for a, b in zip(one.faces, other.faces, strict=True):
            np.testing.assert_allclose(list(a.probabilities.values()), list(b.probabilities.values()), atol=1e-6)


def test_cropped_takes_the_whole_photo_as_the_face(predictor: Predictor, tmp_path: Path) -> None:
    """A face of the network's own size goes in unchanged."""
    face = np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)
    (tmp_path / "face.png").write_bytes(cv2.imencode(".png", face)[1].tobytes())
    ((prediction,),) = [p.faces for p in predict_pictures(predictor, [Picture(tmp_path / "face.png")], cropped=True)]
    assert prediction.box == (0, 0, 48, 48)
    expected = predictor.model.probabilities(face[None, ..., None])[0]
    np.testing.assert_allclose([prediction.probabilities[name] for name in EXPRESSIONS], expected)


def test_bytes_frames_and_files_share_a_batch(predictor: Predictor, photo_file: Path) -> None:
    photo, _ = portrait()
    clip = Path("clip.mp4")
    pictures = [
        Picture(photo_file),
        Picture(Path("-"), data=photo_file.read_bytes()),
        Picture(clip, frame=photo, time=1.5),
        Picture(clip, frame=np.full((200, 300, 3), 90, np.uint8), time=2.0),
        Picture(Path("-"), data=b"hello"),
    ]
    found = list(predict_pictures(predictor, pictures))
    assert [len(p.faces) for p in found] == [1, 1, 1, 0, 0]
    assert found[0].faces == found[1].faces
    assert found[2].faces[0].box == found[0].faces[0].box
    assert found[3].problem.startswith("clip.mp4 at 2.00 s: no face found")
    assert found[4].problem == "-: cannot be used: the file is no image of a known format (5 bytes)."
    assert found[2].without_frame().picture == Picture(clip, time=1.5)


def test_a_file_above_the_limit_is_not_read(photo_file: Path, tmp_path: Path) -> None:
    size = photo_file.stat().st_size
    model = load_model_of(str(write_model(tmp_path / "one")))
    limits = ((size - 1) / 1e6, size / 1e6)
    small, fits = (Predictor(model, settings=PredictConfig(max_megabytes=limit)) for limit in limits)
    (refused,) = predict_pictures(small, [Picture(photo_file)])
    assert "cannot be used: it has more than" in refused.problem
    (piped,) = predict_pictures(small, [Picture(Path("-"), data=photo_file.read_bytes())])
    assert "-: cannot be used: it has more than" in piped.problem
    (taken,) = predict_pictures(fits, [Picture(photo_file)])
    assert taken.problem == ""


def test_a_file_comes_whole_and_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "photo\nwith\x1b[31m a name.jpg"
    file.write_bytes(b"x" * 1000)
    assert read_photo(file, 1001) == b"x" * 1000
    os.truncate(file, 10**12)  # a terabyte, of which the disk holds a kilobyte
    with pytest.raises(UnreadablePhoto, match=r"it has more than 0\.001 megabytes") as caught:
        Picture(file).pixels(PredictConfig(max_megabytes=0.001))
    assert caught.value.reason == "too_large"
    endless = Path("/proc/self/maps")
    if endless.exists() and not endless.stat().st_size:  # it says that it is empty
        assert len(read_photo(endless, 11)) == 11


def test_folders_pipes_and_devices_are_named_and_nothing_waits(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "folder", tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UnreadablePhoto, match="it is a folder, a pipe or a device, not a file") as caught:
            read_photo(Path(file), 50)
        assert caught.value.reason == "not_a_file"
    with pytest.raises(UnreadablePhoto, match="no file can have this name"):
        read_photo(tmp_path / "a\0b.jpg", 50)
