import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mien.base.errors import UserError
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.sources.fer2013 import Fer2013
from mien.sources.photos import PhotoMissing
from mien.sources.source import DataConfig, get_source
from tests.fer_csv import HEADER, face, row, text, unpacked_fer2013, write_csv
from tests.photosets import refused

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")
ROWS = [row(i, label=i, usage=usage) for i, usage in enumerate(USAGES)]


def tar(data: bytes, name: str = "fer2013/fer2013.csv") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member, content in {"fer2013/README": b"read me", name: data}.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def targz(data: bytes, name: str = "fer2013/fer2013.csv") -> bytes:
    return gzip.compress(tar(data, name))


def zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "read me")
        archive.writestr("fer2013/fer2013.csv", data)
    return packed.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "fer2013.csv": bytes,
    "fer2013.csv.gz": gzip.compress,
    "fer2013.csv.xz": lzma.compress,
    "fer2013.tar.gz": targz,
    "fer2013.tar": tar,
    "fer2013": tar,  # as some tools unpack the tar.gz
    "fer2013.zip": zipped,
}


def pack(folder: Path, name: str, packer: Callable[[bytes], bytes] | None = None) -> Path:
    """The csv of ROWS, packed as the file's name says, or otherwise."""
    plain = write_csv(folder, ROWS, name="plain")
    (folder / name).write_bytes((packer or PACKERS[name])(plain.read_bytes()))
    return folder / name


@pytest.mark.parametrize(
    ("name", "packer"),
    [*PACKERS.items(), *product(["fer2013.csv", "fer2013.csv.gz", "fer2013.tar.gz"], PACKERS.values())],
)
def test_first_bytes_and_not_the_name_say_how_a_file_is_packed(
    name: str, packer: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    pack(tmp_path, name, packer)
    source = get_source(DataConfig("fer2013", "fer2013", "data/fer2013"))
    ingested = source.ingest(tmp_path)
    faces = ingested.faces
    assert faces["face_id"].tolist() == ["row-00000", "row-00001", "row-00002", "row-00003"]
    assert faces["label"].tolist() == [0, 1, 2, 3]
    assert faces["source_split"].tolist() == ["train", "train", "val", "test"]
    assert (faces[["top", "left", "right", "bottom"]] == -1).all(axis=None)
    assert ingested.problems.empty
    photos = source.photos(tmp_path, tmp_path / "unpacked")
    assert photos.read("row-00002").endswith(face(2).tobytes())


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_cut_face_has_the_pixels_of_the_csv_bit_for_bit(colour: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "data", ROWS)
    faces = Fer2013().ingest(tmp_path / "data").faces
    photos = Fer2013().photos(tmp_path / "data", tmp_path / "unpacked")
    crop_faces(faces, photos, CropConfig(size=48, colour=colour), tmp_path, progress=False)
    packed = open_faces(tmp_path)
    expected = np.stack([face(i) for i in range(4)])[..., None]
    np.testing.assert_array_equal(packed.pixels, np.broadcast_to(expected, packed.pixels.shape))
    assert packed.index["source_split"].tolist() == ["train", "train", "val", "test"]


def test_the_second_edition_with_blanks_in_its_header_is_read(tmp_path: Path) -> None:
    rows = [f"{i},{usage},{text(face(i))}" for i, usage in enumerate(USAGES)]
    write_csv(tmp_path, rows, header="emotion, Usage, pixels", name="icml_face_data.csv")
    assert Fer2013().ingest(tmp_path).faces["label"].tolist() == [0, 1, 2, 3]
    assert Fer2013().photos(tmp_path, tmp_path / "u").read("row-00003").endswith(face(3).tobytes())


def test_byte_order_mark_line_ends_quotes_and_blank_lines_are_tolerated(tmp_path: Path) -> None:
    quoted = [",".join(f'"{part}"' for part in line.split(",")) for line in ROWS]
    content = "\r\n".join([HEADER, *quoted[:2], "", *quoted[2:]])  # and no line end after the last row
    (tmp_path / "fer2013.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    ingested = Fer2013().ingest(tmp_path)
    assert ingested.problems.empty
    assert ingested.faces["face_id"].tolist() == [f"row-0000{i}" for i in range(4)]
    assert Fer2013().photos(tmp_path, tmp_path / "u").read("row-00001").endswith(face(1).tobytes())


def test_unplain_numbers_are_read_as_what_they_are(tmp_path: Path) -> None:
    write_csv(tmp_path, [f"3,  {text(face(5)).replace(' ', '  ')} ,Training", ROWS[1].replace(" 9 ", " 009 ")])
    assert Fer2013().ingest(tmp_path).problems.empty
    photos = Fer2013().photos(tmp_path, tmp_path / "u")
    assert photos.read("row-00000").endswith(face(5).tobytes())
    assert photos.read("row-00001").endswith(face(1).tobytes())


FIRST, REST = text(face(0)).split(" ", 1)
BAD = {
    f"0,{REST},Training": ("wrong_pixel_count", "2,303 pixel values where 48 x 48 = 2,304"),
    f"0,{FIRST} {REST} 7,Training": ("wrong_pixel_count", "2,305 pixel values"),
    f"0,256 {REST},Training": ("bad_pixel", "pixel 1 is '256'"),
    f"0,65537 {REST},Training": ("bad_pixel", "pixel 1 is '65537'"),
    f"0,4294967297 {REST},Training": ("bad_pixel", "pixel 1 is '4294967297'"),
    f"0,{'9' * 30} {REST},Training": ("bad_pixel", "pixel 1 is '99999999999999999999'"),
    f"0,-1 {REST},Training": ("bad_pixel", "pixel 1 is '-1'"),
    f"0,1.5 {REST},Training": ("bad_pixel", "pixel 1 is '1.5'"),
    f"0,{REST} nan,Training": ("bad_pixel", "pixel 2304 is 'nan'"),
    "0,,Training": ("wrong_pixel_count", "0 pixel values"),
    f"0,{FIRST} {REST},Testing": ("unknown_usage", "Usage 'Testing' is none of Training, PublicTest, PrivateTest"),
    f"7,{FIRST} {REST},Training": ("unknown_label", "emotion '7' is not one of 0 to 6"),
    f"-1,{FIRST} {REST},Training": ("unknown_label", "emotion '-1'"),
    f"0,{FIRST} {REST}": ("malformed_row", "the row has 2 fields instead of 3"),
    f'0,"{FIRST} {REST},Training': ("malformed_row", "the quotes do not match"),
}


def test_bad_rows_side_by_side_keep_their_lines_and_leave_the_others_alone(tmp_path: Path) -> None:
    write_csv(tmp_path, [ROWS[0], *BAD, ROWS[3]])
    ingested = Fer2013().ingest(tmp_path)
    assert ingested.faces["face_id"].tolist() == ["row-00000", f"row-{len(BAD) + 1:05d}"]
    problems = ingested.problems
    assert problems["where"].tolist() == [f"fer2013.csv:{line}" for line in range(3, 3 + len(BAD))]
    assert problems["face_id"].tolist() == [f"row-{number:05d}" for number in range(1, 1 + len(BAD))]
    for (reason, says), found in zip(BAD.values(), problems.to_dict("records"), strict=True):
        assert (reason, says in found["detail"]) == (found["reason"], True), found
    photos = Fer2013().photos(tmp_path, tmp_path / "u")
    assert photos.read(f"row-{len(BAD) + 1:05d}").endswith(face(3).tobytes())
    with pytest.raises(PhotoMissing, match="row-00001 is not a usable row"):
        photos.read("row-00001")


@pytest.mark.parametrize("name", [n for n in PACKERS if n.endswith(("gz", "xz", "zip"))])
@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file_is_refused_in_a_sentence(name: str, damage: str, tmp_path: Path) -> None:
    file = pack(tmp_path, name)
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    file.write_bytes(data)
    for read in (Fer2013().ingest, lambda folder: Fer2013().photos(folder, tmp_path / "u")):
        with pytest.raises(UserError, match=rf"{name} is damaged or breaks off \(.*\); download it again"):
            read(tmp_path)
    assert not [path for path in (tmp_path / "u").iterdir() if path.suffix != ".lock"]


def test_a_csv_that_breaks_off_loses_its_last_row_with_a_reason(tmp_path: Path) -> None:
    file = write_csv(tmp_path, ROWS)
    file.write_bytes(file.read_bytes()[:-3000])
    ingested = Fer2013().ingest(tmp_path)
    assert len(ingested.faces) == 3
    assert ingested.problems[["where", "reason"]].to_numpy().tolist() == [["fer2013.csv:5", "malformed_row"]]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("emotion,pixels", "it must name usage once"),
        ("label,pixels,Usage", "'label,pixels,Usage'; it must name emotion once"),
        ("emotion,emotion,pixels,Usage", "it must name emotion once"),
        ("", "it must name emotion, pixels, usage once"),
    ],
)
def test_a_header_that_lacks_a_column_is_refused(header: str, says: str, tmp_path: Path) -> None:
    write_csv(tmp_path, ROWS, header=header)
    refused(Fer2013(), tmp_path, says)


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    refused(Fer2013(), tmp_path / "gone", r"there is no folder .*gone")
    refused(Fer2013(), tmp_path, r"holds no FER2013 file; expected is one of fer2013.csv, fer2013.csv.gz")
    for rows, says in (
        ([], r"has no usable row"),
        (["0,1 2 3,Training"], r"no usable row \(1 were set aside; the first: fer2013.csv:2: 3 pixel values"),
        (["0" * 5_000_000], r"line 2 is longer than 65,536 bytes"),
    ):
        write_csv(tmp_path, rows)
        refused(Fer2013(), tmp_path, says)
    pack(tmp_path, "fer2013.csv.gz")
    refused(Fer2013(), tmp_path, r"holds fer2013.csv and fer2013.csv.gz; keep only the one")
    for file in tmp_path.glob("fer2013.csv*"):
        file.unlink()
    (tmp_path / "fer2013.csv").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99))
    refused(Fer2013(), tmp_path, r"fer2013.csv: the first line is .* must name emotion")
    (tmp_path / "fer2013.csv").unlink()
    (tmp_path / "fer2013.tar.gz").write_bytes(targz(b"", name="fer2013/other.csv"))
    refused(Fer2013(), tmp_path, r"fer2013.tar.gz holds no fer2013.csv")


def test_the_pixels_are_kept_once_per_file_and_appear_whole(tmp_path: Path) -> None:
    kept = tmp_path / "u"
    write_csv(tmp_path, ROWS)
    Fer2013().photos(tmp_path, kept)
    (first,) = kept.glob("*/pixels.npy")
    written = first.stat().st_mtime_ns
    Fer2013().photos(tmp_path, kept)
    assert first.stat().st_mtime_ns == written
    write_csv(tmp_path, ROWS[::-1])
    other = Fer2013().photos(tmp_path, kept)
    assert len([*kept.glob("*/pixels.npy")]) == 2
    assert other.read("row-00000").endswith(face(3).tobytes())
    assert not list(kept.glob(".partial*"))


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_real_fer2013(tmp_path: Path) -> None:
    folder = tmp_path / "fer2013"
    pixels, labels = unpacked_fer2013(folder)
    ingested = Fer2013().ingest(folder)
    counts = ingested.faces["source_split"].value_counts().to_dict()
    assert counts == {"train": 28709, "val": 3589, "test": 3589}
    assert ingested.problems.empty
    np.testing.assert_array_equal(ingested.faces["label"], labels)
    photos = Fer2013().photos(folder, tmp_path / "unpacked")
    assert all(photos.read(f"row-{i:05d}").endswith(face.tobytes()) for i, face in enumerate(pixels))
