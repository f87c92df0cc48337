"""Who computes, waits or is sent away, and the folder of uploads: nothing else is read, and nothing stays in it."""

import os
import threading
import time
from pathlib import Path

import pytest

from mien.app.turns import Refused, Turns
from mien.app.uploads import GRADIO_FOLDER, Uploads, upload_folder


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.txt", "inside/../../outside.txt", "link"])
def test_no_other_file_is_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "uploads/inside").mkdir(parents=True)
    (tmp_path / "uploads/link").symlink_to(tmp_path / "outside.txt")
    with pytest.raises(Refused, match=r"^There is no such upload\.$"):
        Uploads(tmp_path / "uploads", 60).read({"path": str(tmp_path / "uploads" / path)})


@pytest.mark.parametrize("given", [None, {}, {"path": None}, {"path": ""}, {"path": 3}])
def test_an_upload_is_read_if_there_is_one(tmp_path: Path, given: dict[str, object] | None) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    assert Uploads(tmp_path, 60).read({"path": str(tmp_path / "a.jpg")}) == b"photo"
    with pytest.raises(Refused, match="There is no file"):
        Uploads(tmp_path, 60).read(given)
    with pytest.raises(Refused, match="gone; please send it again"):
        Uploads(tmp_path, 60).read({"path": str(tmp_path / "gone.jpg")})


def test_old_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    for name in ("old/a.jpg", "young/b.jpg", "half-sent"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    for name in ("old/a.jpg", "half-sent"):
        os.utime(tmp_path / name, (time.time() - 100,) * 2)
    uploads = Uploads(tmp_path, 60)
    assert uploads.bytes_on_disk() == 15
    uploads.sweep()
    assert [str(file.relative_to(tmp_path)) for file in sorted(tmp_path.rglob("*"))] == ["young", "young/b.jpg"]


def test_the_folder_is_swept_by_itself_and_goes_at_the_end() -> None:
    before = os.environ.get(GRADIO_FOLDER)
    with upload_folder(0.1) as uploads:
        assert os.environ[GRADIO_FOLDER] == str(uploads.folder)
        file = uploads.folder / "a.jpg"
        file.write_bytes(b"photo")
        until = time.monotonic() + 10
        while file.exists() and time.monotonic() < until:
            time.sleep(0.02)
        assert not file.exists()
    assert not uploads.folder.exists()
    assert os.environ.get(GRADIO_FOLDER) == before


def test_one_more_than_compute_and_wait_is_refused_at_once() -> None:
    turns = Turns(at_once=1, queue=1, seconds=20)
    inside, go, done = threading.Event(), threading.Event(), []

    def take() -> None:
        with turns.turn():
            inside.set()
            go.wait()
            done.append(1)

    both = [threading.Thread(target=take) for _ in range(2)]
    both[0].start()
    assert inside.wait(5)
    both[1].start()
    while turns.inside < 2:
        pass
    with pytest.raises(Refused, match="Too many photos at once; please try again") as refused, turns.turn():
        pass
    assert refused.value.status == 503
    go.set()
    for thread in both:
        thread.join()
    assert done == [1, 1]
    with turns.turn():  # places are free again
        assert turns.inside == 1


def test_a_wait_that_is_too_long_ends_and_who_fails_leaves_its_place() -> None:
    turns = Turns(at_once=1, queue=1, seconds=0.05)
    with turns.turn():
        with pytest.raises(Refused, match="Too many photos"), turns.turn():
            pass
        assert turns.inside == 1
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError
    assert turns.inside == 0
