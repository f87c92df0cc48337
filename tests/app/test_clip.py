"""A video on the page: its faces over time, and the limits of what is looked at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.app.answers import Answerer
from mien.app.clip import Watched, watch
from mien.app.limits import AppConfig
from mien.app.turns import Refused
from mien.base.settings import check_settings
from mien.inference.current import CurrentModel
from mien.inference.detectors import PredictConfig, build_detector
from tests.app.asking import ask, file_data, shown, upload
from tests.inference.videos import scene, write_video

Look = Callable[..., Watched]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of two faces at ten frames a second."""
    return write_video(tmp_path_factory.mktemp("clip") / "two.mp4", [scene(two=True)] * 30)


@pytest.fixture
def look(model: str) -> Look:
    """Watches a file within limits."""
    current = CurrentModel(model)

    def look(file: Path, **limits: Any) -> Watched:
        return watch(Answerer(current, build_detector(PredictConfig()), PredictConfig(), AppConfig(**limits)), file)

    return look


def test_each_face_is_followed(look: Look, clip: Path) -> None:
    watched = look(clip)
    assert (watched.pictures, len(watched.faces), watched.note) == (8, 2, "")  # at 0, 0.4, ... 2.8 seconds
    for seen in watched.faces:
        assert sum(seen.face.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert seen.face.label == max(seen.face.probabilities, key=lambda name: seen.face.probabilities[name])
    assert watched.timeline.startswith(b"\x89PNG")


def test_the_page_shows_it(address: str, clip: Path) -> None:
    (path,) = upload(address, "two.mp4", clip.read_bytes()).json()
    html = shown(ask(address, "mien-video", file_data(path))[1])
    assert html.count("<article") == 2
    assert "means over 8 pictures from 2.8 seconds" in html


@pytest.mark.parametrize(
    ("limits", "pictures", "says"),
    [
        ({"video_seconds": 1.0}, 3, "Only the first 1 seconds were analysed."),
        ({"video_work_seconds": 1e-9}, 0, "the video took too long"),
    ],
)
def test_only_so_much_is_looked_at(look: Look, clip: Path, limits: dict[str, float], pictures: int, says: str) -> None:
    watched = look(clip, **limits)
    assert (watched.pictures, says in watched.note) == (pictures, True)


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"video_megabytes": 0.001}, "at most 0.001 MB"), ({"video_megapixels": 0.05}, "at most 0.05 megapixels")],
)
def test_what_is_too_large_is_refused(look: Look, clip: Path, limits: dict[str, float], says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        look(clip, **limits)
    assert refused.value.status == 413


@pytest.mark.parametrize("data", [b"", b"no video" * 100, b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_what_is_no_video_gets_a_sentence_without_its_place(look: Look, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(Refused, match=r"^This video is not a readable video") as refused:
        look(tmp_path / "a.mp4")
    assert str(tmp_path) not in str(refused.value)


def test_without_a_face_it_says_so(look: Look, tmp_path: Path) -> None:
    file = write_video(tmp_path / "grey.mp4", [np.full((120, 160, 3), 128, np.uint8)] * 5)
    watched = look(file)
    assert (watched.faces, watched.note) == ([], "No face found in this video.")


def test_pictures_must_be_close_enough_to_follow_a_face() -> None:
    with pytest.raises(ValueError, match=r"video_every must be at most 0\.5, not 0\.6"):
        check_settings(AppConfig(video_every=0.6))
