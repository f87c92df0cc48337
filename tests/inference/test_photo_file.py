"""What is given as a photo and is no file, or too much of one."""

import os
import socket
from pathlib import Path

import pytest

from mien.inference.predictor import read_photo
from mien.runtime.decode import UnreadablePhoto


def test_a_file_comes_whole(tmp_path: Path) -> None:
    file = tmp_path / "photo\nwith\x1b[31m a name.jpg"
    file.write_bytes(b"x" * 1000)
    assert read_photo(file, 0.001) == b"x" * 1000


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(b"x" * 1001)
    os.truncate(file, 10**12)  # a terabyte, of which the disk holds a kilobyte
    with pytest.raises(UnreadablePhoto, match=r"its file has more than 0\.001 megabytes") as caught:
        read_photo(file, 0.001)
    assert caught.value.reason == "too_large"


def test_a_file_that_says_it_is_empty_is_read_to_the_limit() -> None:
    endless = Path("/proc/self/maps")
    if not endless.exists() or endless.stat().st_size:
        pytest.skip("no such file here")
    with pytest.raises(UnreadablePhoto, match="more than 1e-05 megabytes"):
        read_photo(endless, 1e-5)


def test_folders_pipes_and_devices_are_named_and_nothing_waits(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for file, kind in (
        (tmp_path / "folder.jpg", "a folder"),
        (tmp_path / "pipe.jpg", "a pipe"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(UnreadablePhoto, match=f"it is {kind}, not a file") as caught:
            read_photo(file, 50)
        assert caught.value.reason == "not_a_file"


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "again")
    (tmp_path / "again").symlink_to(tmp_path / "round")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for name in ("round", "gone.jpg", "s", "x" * 300):
            with pytest.raises(OSError):
                read_photo(tmp_path / name, 50)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").touch(mode=0o000)
    with pytest.raises(PermissionError):
        read_photo(tmp_path / "secret.jpg", 50)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePhoto, match="no file can have this name"):
        read_photo(tmp_path / "a\0b.jpg", 50)
