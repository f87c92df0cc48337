"""Frames, times and rotation of videos, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.base.errors import UserError
from mien.inference.video import open_video
from tests.inference.videos import scene, turned, write_tone, write_video

Make = Callable[..., Path]


def test_every_frame_comes_in_its_colours_at_its_time(make: Make) -> None:
    with open_video(make(6)) as video:
        frames = list(video.frames())
        assert (video.expected, video.rate, video.read, video.problem) == (6, 10, 6, "")
    assert [frame.time for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert np.abs(frames[0].pixels.astype(int) - scene()).mean() < 6  # channels in the order red, green, blue


def test_one_in_so_many_seconds(make: Make) -> None:
    with open_video(make(12)) as video:
        assert [round(frame.time, 3) for frame in video.frames(every=0.5)] == [0.0, 0.5, 1.0]
        assert video.read == 12
    with open_video(make(3)) as video:
        assert len(list(video.frames(every=0.01))) == 3


def test_times_of_a_variable_rate_stay(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.5, 0.55, 2.0]
    file = write_video(tmp_path / "phone.mp4", [scene()] * 5, times=times)
    with open_video(file) as video:
        assert [frame.time for frame in video.frames()] == pytest.approx(times, abs=0.002)


def test_a_video_on_its_side_is_turned_as_players_do(make: Make) -> None:
    with open_video(turned(make(2))) as video:
        first = next(video.frames()).pixels
    assert first.shape == (320, 240, 3)
    assert np.abs(first.astype(int) - np.rot90(scene(), -1)).mean() < 6


def test_a_file_that_breaks_off_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 120, 160, 3), np.uint8)
    file = write_video(tmp_path / "a.mp4", noise, options={"movflags": "+faststart"})
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with open_video(file) as video:
        n = len(list(video.frames()))
        assert 10 < n < 40
        assert video.problem == f"{file}: is damaged or breaks off: {n} of 40 frames could be read."


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 100, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.mp4"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"no\.mp4: is no video that can be read"), open_video(file):
        pass


def test_a_playlist_reads_no_other_file(make: Make, tmp_path: Path) -> None:
    make(3, "secret.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(UserError, match="is no video"), open_video(tmp_path / "list.mp4"):
        pass


def test_other_odd_files_are_refused_too(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.mp4: there is no such file\."), open_video(tmp_path / "gone.mp4"):
        pass
    with pytest.raises(UserError, match="there is no such file"), open_video(tmp_path):
        pass
    whole = make(3).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # its index stood at the end
    with pytest.raises(UserError, match=r"half\.mp4: is no video"), open_video(tmp_path / "half.mp4"):
        pass


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000, layout="mono"), 1.0)
    with pytest.raises(UserError, match=r"song\.mp4: has no pictures, only sound\."), open_video(tmp_path / "song.mp4"):
        pass


def test_no_frame_at_all_is_said(make: Make, tmp_path: Path) -> None:
    """The index promises frames, and the file ends before the first."""
    data = write_video(tmp_path / "b.mp4", [scene()] * 3, options={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    with (
        pytest.raises(UserError, match=r"b\.mp4: (no frame of this video can be decoded|is no video)"),
        open_video(tmp_path / "b.mp4") as video,
    ):
        list(video.frames())
