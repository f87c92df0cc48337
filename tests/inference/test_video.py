"""Videos, read and annotated: times, sound, tracks, timeline, and what is left behind when it fails."""

import math
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import WITH_CONTEMPT
from mien.base.errors import UserError
from mien.inference.annotation import (
    COLOURS,
    OTHER,
    READABLE,
    Tracker,
    annotate_video,
    class_colours,
    draw_faces,
    overlap,
    timeline_file,
)
from mien.inference.predictor import Predictor
from mien.inference.video import open_video
from mien.runtime.cut import Box
from tests.inference.videos import scene, turned, write_tone, write_video

Make = Callable[..., Path]


def times_of(file: Path) -> list[float]:
    with open_video(file) as video:
        return [frame.time for frame in video.frames()]


def test_a_video_with_sound_and_a_variable_rate(predictor: Predictor, tmp_path: Path) -> None:
    """Decoded again: the same times, H.264 that browsers play, the sound as it was, and something drawn."""
    times = [i / 10 + (0.3 if i > 6 else 0) for i in range(12)]
    source = write_video(tmp_path / "in.mp4", [scene(i) for i in range(12)], times=times, sound="aac")
    told: list[tuple[int, int]] = []
    report = annotate_video(predictor, source, tmp_path / "out.mp4", progress=lambda *counts: told.append(counts))
    assert (report.frames, report.tracks, report.with_a_face, report.problem) == (12, 1, 12, "")
    assert told[-1] == (12, 12)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(times, abs=0.002)
    with av.open(str(tmp_path / "out.mp4")) as out, av.open(str(source)) as before:
        codec = out.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.width, codec.height) == ("h264", "yuv420p", 320, 240)
        sounds = [[bytes(p) for p in c.demux(c.streams.audio[0]) if p.size] for c in (out, before)]
        assert sounds[0] == sounds[1] != []
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can begin before it has all
    with open_video(tmp_path / "out.mp4") as video:
        drawn = next(video.frames()).pixels.astype(int)
    changed = np.abs(drawn - scene()).max(axis=2) > 60
    assert 0.005 < changed.mean() < 0.3
    assert sorted(file.name for file in tmp_path.glob("out*")) == ["out.mp4", "out.timeline.csv", "out.timeline.png"]


def test_the_timeline_says_what_each_face_said_when(predictor: Predictor, tmp_path: Path) -> None:
    frames = [scene(i, two=i >= 4) for i in range(8)]
    source = write_video(tmp_path / "$_$.mp4", frames)  # would be a formula of matplotlib's
    report = annotate_video(predictor, source, tmp_path / "out.mp4", smoothing=0.2)
    table = pd.read_csv(timeline_file(tmp_path / "out.mp4", ".csv"))
    assert report.tracks == table["track"].nunique() == 2
    assert (table["track"] == 1).sum() == 8
    assert (table["track"] == 2).sum() >= 3
    assert table.loc[table["track"] == 1, "time"].tolist() == pytest.approx([i / 10 for i in range(8)])
    classes = list(predictor.model.spec.classes)
    np.testing.assert_allclose(table[classes].sum(axis=1), 1, atol=1e-5)
    first = table[table["track"] == 1].reset_index(drop=True)
    smooth = first.loc[0, "happy_raw"]
    for i in range(8):
        kept = np.exp(-0.1 / 0.2) if i else 0.0
        smooth = kept * smooth + (1 - kept) * first.loc[i, "happy_raw"]
        assert first.loc[i, "happy"] == pytest.approx(smooth, abs=1e-5)
    assert (first["label"] == first[classes].idxmax(axis=1)).all()
    assert timeline_file(tmp_path / "out.mp4", ".png").read_bytes().startswith(b"\x89PNG")


def test_a_turned_video_is_turned_as_players_do_and_odd_sides_become_even(
    predictor: Predictor, tmp_path: Path, make: Make
) -> None:
    annotate_video(predictor, turned(make(3)), tmp_path / "up.mp4")
    with open_video(tmp_path / "up.mp4") as video:
        frame = next(video.frames()).pixels
    assert frame.shape == (320, 240, 3)
    assert np.abs(frame.astype(int) - np.rot90(scene(), -1)).mean() < 6
    odd = write_video(tmp_path / "odd.mkv", [np.ascontiguousarray(scene()[:239, :319])] * 2, form="yuv444p")
    annotate_video(predictor, odd, tmp_path / "even.mp4")
    with open_video(tmp_path / "even.mp4") as video:
        assert next(video.frames()).pixels.shape == (238, 318, 3)


def test_a_still_face_is_one_face_at_a_frame_a_second(predictor: Predictor, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [scene()] * 12, rate=1)
    report = annotate_video(predictor, source, tmp_path / "out.mp4")
    assert (report.frames, report.tracks, report.with_a_face) == (12, 1, 12)


def test_sound_that_an_mp4_cannot_carry_is_told(predictor: Predictor, tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mkv", [scene()] * 3, sound="pcm_f32le")
    assert annotate_video(predictor, source, tmp_path / "out.mp4").sound_lost
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert not out.streams.audio


def test_until_it_is_whole_nothing_looks_whole(predictor: Predictor, tmp_path: Path, make: Make) -> None:
    """What a kill at any moment would leave."""
    out, seen = tmp_path / "results" / "out.mp4", []

    def look(done: int, expected: int) -> None:
        seen.extend(file.name for file in out.parent.iterdir())

    annotate_video(predictor, make(20), out, progress=look)
    assert len(seen) >= 3
    assert all(name.startswith(".partial-") for name in seen)
    assert not any(file.name.startswith(".") for file in out.parent.iterdir())


def test_a_failure_half_way_leaves_what_was_there(predictor: Predictor, tmp_path: Path, make: Make) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "out.mp4").write_bytes(b"before")

    def fail(done: int, expected: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        annotate_video(predictor, make(60), tmp_path / "results" / "out.mp4", progress=fail)
    assert [file.read_bytes() for file in (tmp_path / "results").iterdir()] == [b"before"]


LEFT, RIGHT = Box(10, 10, 60, 60), Box(10, 200, 250, 60)
HAPPY, SAD = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def moved(box: Box, by: int) -> Box:
    return box._replace(left=box.left + by, right=box.right + by)


def numbers(tracker: Tracker, boxes: list[Box], time: float) -> list[int]:
    return [track.number for track in tracker.step(boxes, np.tile(HAPPY, (len(boxes), 1)), time)]


def test_faces_keep_their_numbers_in_whatever_order_they_come() -> None:
    tracker = Tracker()
    assert numbers(tracker, [LEFT, RIGHT], 0.0) == [1, 2]
    assert numbers(tracker, [moved(RIGHT, 10), moved(LEFT, 10)], 0.1) == [2, 1]
    assert tracker.seen == 2


def test_the_sum_of_overlaps_decides_where_two_claim_one() -> None:
    """Nearest first would leave the second face without a track."""
    tracker = Tracker()
    numbers(tracker, [Box(0, 0, 100, 100), Box(0, 60, 160, 100)], 0.0)
    assert numbers(tracker, [Box(0, 28, 128, 100), Box(0, 95, 195, 100)], 0.1) == [1, 2]


def test_a_face_that_was_away_is_the_same_for_half_a_second_only() -> None:
    tracker = Tracker()
    assert numbers(tracker, [LEFT], 0.0) == [1]
    assert numbers(tracker, [], 0.2) == []
    assert numbers(tracker, [LEFT], 0.4) == [1]
    assert numbers(tracker, [], 0.6) == []
    assert numbers(tracker, [LEFT], 1.0) == [2]
    assert numbers(tracker, [moved(LEFT, 45)], 1.1) == [3]


@pytest.mark.parametrize("rate", [5, 25, 60])
def test_after_the_time_constant_an_old_answer_counts_for_one_in_e_at_any_frame_rate(rate: int) -> None:
    tracker = Tracker(smoothing=0.4)
    tracker.step([LEFT], HAPPY[None], 0.0)
    for frame in range(1, int(0.4 * rate) + 1):
        (track,) = tracker.step([LEFT], SAD[None], frame / rate)
    assert track.probabilities[0] == pytest.approx(math.exp(-1))
    assert track.probabilities.sum() == pytest.approx(1)
    unsmoothed = Tracker(smoothing=0)
    unsmoothed.step([LEFT], HAPPY[None], 0.0)
    np.testing.assert_array_equal(unsmoothed.step([LEFT], SAD[None], 1 / rate)[0].probabilities, SAD)


def test_overlap() -> None:
    assert overlap(LEFT, LEFT) == 1
    assert overlap(LEFT, RIGHT) == 0
    assert overlap(Box(0, 0, 10, 10), Box(0, 5, 15, 10)) == pytest.approx(1 / 3)


def _share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=-1) <= 2).mean())


YELLOW = (0xF0, 0xE4, 0x42)


@pytest.mark.parametrize("side", [48, 300, 1200, 4000])
def test_box_and_tag_are_drawn_on_a_picture_of_any_size(side: int) -> None:
    picture = np.full((side, side, 3), 128, np.uint8)
    box = Box(side // 3, side // 3, side * 2 // 3, side * 2 // 3)
    drawn = draw_faces(picture, [(box, "1  happy 90%", "happy")])
    assert (picture == 128).all()
    assert min(drawn.shape[:2]) >= min(max(side, READABLE), side * 10)
    by = drawn.shape[0] // side
    tag = drawn[: box.top * by, box.left * by : box.right * by]
    assert _share(tag, YELLOW) > 0.02
    assert (tag == 0).any()  # letters
    rows = drawn[(box.top + side // 9) * by : (box.bottom - side // 9) * by]
    inside = rows[:, (box.left + side // 9) * by :][:, : side // 9]
    assert _share(inside, (128, 128, 128)) == 1


@pytest.mark.parametrize("box", [(0, 0, 60, 60), (40, 40, 100, 100), (0, 0, 100, 100), (90, 90, 100, 100)])
def test_a_tag_at_the_edge_stays_in_the_picture_and_a_pixel_can_be_drawn_on(box: tuple[int, ...]) -> None:
    assert draw_faces(np.zeros((1, 1, 3), np.uint8), [(Box(0, 0, 1, 1), "1  happy 90%", "happy")]).shape[2] == 3
    drawn = draw_faces(np.zeros((100, 100, 3), np.uint8), [(Box(*box), "12  unsure: surprise 100%", "surprise")])
    assert _share(drawn, (0xE6, 0x9F, 0x00)) > 0.005


def test_tags_of_neighbours_do_not_hide_each_other() -> None:
    """The first one's tag has no place but below, where the second one's would stand above."""
    picture = np.full((600, 600, 3), 128, np.uint8)
    faces = [(Box(0, 200, 300, 300), "1  happy 90%", "happy"), (Box(330, 210, 450, 310), "2", "sad")]
    one, both = draw_faces(picture, faces[:1]), draw_faces(picture, faces)
    assert _share(both, YELLOW) == pytest.approx(_share(one, YELLOW), rel=0.02)


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


def test_a_file_that_breaks_off_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 120, 160, 3), np.uint8)
    file = write_video(tmp_path / "a.mp4", noise, options={"movflags": "+faststart"})
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    with open_video(file) as video:
        n = len(list(video.frames()))
        assert 10 < n < 40
        assert video.problem == f"{file}: is damaged or breaks off: {n} of 40 frames could be read."


def refused(file: Path, says: str) -> None:
    with pytest.raises(UserError, match=says), open_video(file) as video:
        list(video.frames())


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 100, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "no.mp4"
    file.write_bytes(content)
    refused(file, r"no\.mp4: is not a readable video")


def test_other_odd_files_are_refused_too_and_a_playlist_reads_no_other_file(make: Make, tmp_path: Path) -> None:
    make(3, "secret.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    refused(tmp_path / "list.mp4", "is not a readable video")
    refused(tmp_path / "gone.mp4", r"gone\.mp4: there is no such file\.")
    refused(tmp_path, "there is no such file")
    whole = make(3).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # its index stood at the end
    refused(tmp_path / "half.mp4", r"half\.mp4: is not a readable video")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000, layout="mono"), 1.0)
    refused(tmp_path / "song.mp4", r"song\.mp4: has no pictures, only sound\.")


def test_no_frame_at_all_is_said(make: Make, tmp_path: Path) -> None:
    """The index promises frames, and the file ends before the first."""
    data = write_video(tmp_path / "b.mp4", [scene()] * 3, options={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "b.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    refused(tmp_path / "b.mp4", r"b\.mp4: (no frame of this video can be decoded|is not a readable video)")


def test_classes_of_other_names_have_colours_that_differ_as_long_as_there_are_any() -> None:
    assert class_colours(WITH_CONTEMPT) == {**COLOURS, "contempt": OTHER} and len(set(COLOURS.values())) == 7
    assert len(set(class_colours([f"c{k}" for k in range(8)]).values())) == 8
    mixed = class_colours(["bored", "sad", *(f"c{k}" for k in range(28))])
    assert len(mixed) == 30 and mixed["sad"] == COLOURS["sad"] and list(mixed.values()).count(COLOURS["sad"]) == 1
