from pathlib import Path

import py7zr
import pytest

from mien.base.errors import UserError
from mien.sources.archive import find_volumes, unpack
from tests.photosets import photo, write_archive

PHOTOS = {f"{i}.jpg": photo(seed=i) for i in range(4)}
VOLUME = 2000


def volumes_of(folder: Path) -> list[Path]:
    files = write_archive(folder, PHOTOS, VOLUME)
    assert len(files) >= 4
    return files


def volumes_in(folder: Path) -> list[Path]:
    found = find_volumes(folder / "origin.7z")
    assert found
    return found


def refused(folder: Path, says: str) -> None:
    with pytest.raises(UserError, match=says):
        unpack(volumes_in(folder), folder / "unpacked")


@pytest.mark.parametrize("number", [1, 2, 3, -1])
def test_a_missing_volume_is_named(tmp_path: Path, number: int) -> None:
    files = volumes_of(tmp_path)
    files[number - 1 if number > 0 else -1].unlink()
    last = rf"the volumes from origin\.7z\.00{len(files)} on are missing"
    refused(tmp_path, rf"origin\.7z\.00{number} is missing" if number > 0 else last)


@pytest.mark.parametrize("which", [1, -1])
def test_a_truncated_volume_is_named_with_its_size(tmp_path: Path, which: int) -> None:
    file = volumes_of(tmp_path)[which]
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-100])
    refused(tmp_path, rf"{file.name} has {size - 100:,} bytes where .*{size:,}")


def test_a_single_volume_that_is_cut_short_is_not_taken_for_the_first_of_hundreds(tmp_path: Path) -> None:
    (file,) = write_archive(tmp_path, PHOTOS, 1_000_000)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:100])
    says = rf"{file.name} has 100 bytes where .* {size:,}: it is damaged, or the volumes from origin\.7z\.002 on"
    refused(tmp_path, says)


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "origin.7z.001").write_bytes(b"<html>404 not found</html>" * 4)
    refused(tmp_path, r"origin\.7z\.001 does not start as a 7z archive")


@pytest.mark.parametrize("name", ["../outside.jpg", "/tmp/outside.jpg", "origin/../../outside.jpg", "C:/outside.jpg"])
def test_a_member_outside_its_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with py7zr.SevenZipFile(tmp_path / "origin.7z", "w") as archive:
        archive._writestr(b"x", name)  # `writestr` would refuse the name
    refused(tmp_path, r"outside.jpg' leads out of its folder")
    assert not (tmp_path / "outside.jpg").exists()


def test_a_link_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(tmp_path / "origin.7z", "w") as archive:
        archive.write(tmp_path / "link.jpg", "origin/link.jpg")
    refused(tmp_path, r"'origin/link\.jpg' .*is a link")


def test_a_damaged_photo_is_named_and_nothing_half_is_left(tmp_path: Path) -> None:
    whole = tmp_path / "origin.7z"
    with py7zr.SevenZipFile(whole, "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
        for name, data in PHOTOS.items():
            archive.writestr(data, f"origin/{name}")
    content = bytearray(whole.read_bytes())
    content[100] ^= 0xFF
    whole.write_bytes(content)
    refused(tmp_path, r"member 'origin/0\.jpg' is damaged")
    assert not [path for path in (tmp_path / "unpacked").iterdir() if path.suffix != ".lock"]


def test_a_damaged_file_list_is_one_sentence(tmp_path: Path) -> None:
    (whole,) = write_archive(tmp_path, PHOTOS)
    content = bytearray(whole.read_bytes())
    content[-3] ^= 0xFF
    whole.write_bytes(content)
    refused(tmp_path, r"origin.7z in .* is damaged")


def test_an_encrypted_archive_is_said_to_be_so(tmp_path: Path) -> None:
    with py7zr.SevenZipFile(tmp_path / "origin.7z", "w", password="secret") as archive:
        archive.writestr(b"x", "origin/a.jpg")
    refused(tmp_path, r"encrypted")


def test_unpacking_happens_once_and_again_for_another_archive(tmp_path: Path) -> None:
    volumes_of(tmp_path / "one")
    first = volumes_in(tmp_path / "one")
    folder = unpack(first, tmp_path / "unpacked")
    (folder / "seen").touch()
    assert (unpack(first, tmp_path / "unpacked") / "seen").exists()
    write_archive(tmp_path / "two", {**PHOTOS, "0.jpg": photo(seed=9)}, VOLUME)
    other = unpack(volumes_in(tmp_path / "two"), tmp_path / "unpacked")
    assert other != folder
    assert (other / "origin" / "0.jpg").read_bytes() == photo(seed=9)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    volumes_of(tmp_path)
    volumes = volumes_in(tmp_path)
    folder = unpack(volumes, tmp_path / "unpacked")
    left = folder.with_name(f".partial-{folder.name}")
    left.mkdir()
    folder.rename(left / folder.name)
    assert unpack(volumes, tmp_path / "unpacked") == folder
    assert not left.exists()


def test_an_archive_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    volumes_of(tmp_path)
    refused(tmp_path, r"10 free")
