"""A video over HTTP: its faces over time, the annotated file, the limits, and a decoder that is killed or starved."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import requests

from tests.app.serving import serving
from tests.inference.videos import scene, write_video

Message = dict[str, Any]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of two faces at ten frames a second, with a tone."""
    return write_video(tmp_path_factory.mktemp("clip") / "two.mp4", [scene(two=True)] * 30, sound="aac")


def send(address: str, data: bytes) -> tuple[int, list[Message]]:
    answer = requests.post(f"{address}/api/video", data=data, timeout=120)
    return answer.status_code, [json.loads(line) for line in answer.text.splitlines()]


def workers() -> list[psutil.Process]:
    def works(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):  # a zombie among them
            return "mien.app.clip_worker" in process.cmdline()
        return False

    return list(filter(works, psutil.Process().children()))


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the server keeps videos: no process and no file is left in it when a test has ended."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    yield tmp_path / "kept"
    assert until(lambda: not workers())
    assert list((tmp_path / "kept").iterdir()) == []


def test_each_face_is_followed_and_the_annotated_file_goes_after_its_time(
    model: str, clip: Path, folder: Path, tmp_path: Path
) -> None:
    with serving(model, keep_seconds=10.0) as (address, _):
        status, messages = send(address, clip.read_bytes())
        (answer,) = [message for message in messages if "timeline" in message]
        assert (status, answer["model"], answer["pictures"], answer["note"]) == (200, "train", 8, "")  # 0, 0.4, ... 2.8
        assert [face["face"] for face in answer["faces"]] == [1, 2]
        for face in answer["faces"]:
            shares = face["probabilities"]
            assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
            assert face["label"] == max(shares, key=lambda name: shares[name])
        assert answer["timeline"]["columns"][:3] == ["frame", "time", "track"]
        assert len(answer["timeline"]["data"]) == 16
        shares = [message["share"] for message in messages if "share" in message]
        assert shares == sorted(shares) and shares[-1] == 1
        last = messages[-1]
        assert last["note"] == ""
        file = tmp_path / "annotated.mp4"
        file.write_bytes(requests.get(f"{address}/api/video/{last['video']}", timeout=20).content)
        with av.open(str(file)) as shown:
            frames = [frame.to_ndarray(format="rgb24") for frame in shown.decode(video=0)]
            assert (len(frames), len(shown.streams.audio)) == (30, 1)
        plain = scene(two=True).astype(int)
        changed = [int((np.abs(frame - plain).max(axis=2) > 60).sum()) for frame in frames]
        assert min(changed) > 300  # the boxes and tags are in each frame, also between those that were analysed
        gone = f"{address}/api/video/{last['video']}"
        assert until(lambda: requests.get(gone, timeout=20).status_code == 404)
        assert [list(place.iterdir()) for place in folder.iterdir()] == [[]]


def test_only_so_much_is_looked_at(model: str, clip: Path, folder: Path) -> None:
    with serving(model, video_seconds=1.0) as (address, _):
        _, messages = send(address, clip.read_bytes())
        (answer,) = [message for message in messages if "timeline" in message]
        assert (answer["pictures"], answer["note"]) == (3, "Only the first 1 seconds were analysed.")
        assert messages[-1]["note"] == "The annotated video has no sound."
    with serving(model, video_work_seconds=1e-9) as (address, _):
        status, messages = send(address, clip.read_bytes())
        assert (status, len(messages), "the video took too long" in messages[0]["note"]) == (200, 1, True)


@pytest.mark.parametrize(
    ("limits", "status", "says"),
    [
        ({"video_megabytes": 0.001}, 413, "An upload may have at most 0.1 MB."),
        ({"video_megapixels": 0.05}, 413, "The pictures of a video may have at most 0.05 megapixels."),
        ({"disk_megabytes": 1e-9}, 503, "Too many videos at once"),
        ({"video_memory_megabytes": 100}, 415, "This video"),
    ],
)
def test_what_is_too_large_is_refused(
    model: str, folder: Path, tmp_path: Path, limits: dict[str, float], status: int, says: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 240, 320, 3), np.uint8)
    data = write_video(tmp_path / "noise.mp4", list(noise)).read_bytes()
    with serving(model, **limits) as (address, _):
        if "disk_megabytes" in limits:
            (next(folder.iterdir()) / "full").write_bytes(b"1")
        got, messages = send(address, data)
        assert got == status and says in messages[0]["error"], messages
        assert str(folder) not in messages[0]["error"]
        assert requests.get(f"{address}/api/model", timeout=20).ok


@pytest.mark.parametrize("data", [b"", b"no video" * 100, b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_what_is_no_video_gets_a_sentence_without_its_place(address: str, data: bytes) -> None:
    status, messages = send(address, data)
    assert (status, "This video is not a readable video" in messages[0]["error"]) == (415, True)
    assert "/" not in messages[0]["error"]


def test_without_a_face_it_says_so(address: str, tmp_path: Path) -> None:
    file = write_video(tmp_path / "grey.mp4", [np.full((120, 160, 3), 128, np.uint8)] * 5)
    (answer,) = [message for message in send(address, file.read_bytes())[1] if "timeline" in message]
    assert (answer["faces"], answer["note"]) == ([], "No face found in this video.")


@pytest.mark.parametrize("ended", ["killed", "left"])
def test_a_decoder_that_is_killed_and_a_visitor_who_leaves_end_that_video_alone(
    model: str, folder: Path, tmp_path: Path, photo: bytes, ended: str
) -> None:
    file = write_video(tmp_path / "long.mp4", [scene()] * 600)
    with serving(model) as (address, _):
        with requests.post(f"{address}/api/video", data=file.read_bytes(), stream=True, timeout=60) as answer:
            lines = answer.iter_lines()
            assert "share" in json.loads(next(lines))
            (worker,) = workers()
            if ended == "killed":
                worker.kill()
                assert "could not be decoded" in json.loads(list(lines)[-1])["error"]
        assert until(lambda: not workers())
        assert until(lambda: [list(place.iterdir()) for place in folder.iterdir()] == [[]])
        assert requests.post(f"{address}/api/predict", data=photo, timeout=60).status_code == 200
