import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.sources.expw import ExpW, parse_row
from mien.sources.photos import PhotoMissing
from mien.sources.source import BadRow
from tests.photosets import photo, refused, write_archive, write_labels, write_photos

ROW = "a.jpg 0 10 20 60 70 55.5 3"
PHOTOS = {"a.jpg": photo(seed=1), "b.jpg": photo(seed=2), "c.jpg": photo(seed=3)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_labels(tmp_path, [ROW, "b.jpg 0 0 0 30 30 20 6", "b.jpg 1 5 5 40 40 99 0"])
    return tmp_path


@pytest.mark.parametrize("volume", [None, 0, 1500])
def test_a_folder_an_archive_and_volumes_give_the_same(folder: Path, tmp_path: Path, volume: int | None) -> None:
    if volume is None:
        write_photos(folder, PHOTOS)
    else:
        volumes = write_archive(folder, PHOTOS, volume)
        assert (len(volumes) > 2) == bool(volume)
        (folder / "origin.7z.001.md5").write_text("a stray file that is no volume")
    ingested = ExpW().ingest(folder)
    assert ingested.faces["face_id"].tolist() == ["a.jpg:0", "b.jpg:0", "b.jpg:1"]
    assert ingested.faces[["top", "left", "right", "bottom", "label"]].iloc[0].tolist() == [10, 20, 60, 70, 3]
    assert ingested.faces["confidence"].tolist() == [55.5, 20, 99]
    assert ingested.problems.empty
    assert ingested.unlabelled_photos == 1
    photos = ExpW().photos(folder, tmp_path / "unpacked")
    assert {name: photos.read(name) for name in PHOTOS} == PHOTOS
    with pytest.raises(PhotoMissing, match=r"z.jpg"):
        photos.read("z.jpg")
    with pytest.raises(PhotoMissing, match=r"leads out"):
        photos.read("../label.lst")


def test_the_publishers_own_folders_are_found(tmp_path: Path) -> None:
    write_labels(tmp_path / "label", [ROW])
    write_archive(tmp_path / "image", PHOTOS, 2000)
    assert len(ExpW().ingest(tmp_path).faces) == 1


def test_problem_rows_keep_file_and_line(tmp_path: Path) -> None:
    rows = [ROW, "a.jpg 0", ROW, "a.jpg 0 11 20 60 70 55.5 3", "gone.jpg 0 1 2 30 40 50 5", "b.jpg 0 1 2 30 40 50 7"]
    write_labels(tmp_path, rows)
    write_photos(tmp_path, PHOTOS)
    problems = ExpW().ingest(tmp_path).problems
    found = dict(zip(problems["where"], problems["reason"], strict=True))
    assert found == {
        "label.lst:2": "malformed_row",
        "label.lst:3": "duplicate_row",
        "label.lst:4": "duplicate_face_id",
        "label.lst:5": "missing_photo",
        "label.lst:6": "unknown_label",
    }
    by_line = problems.set_index("where")
    assert by_line.loc["label.lst:5", ["face_id", "image", "label"]].tolist() == ["gone.jpg:0", "gone.jpg", "surprise"]
    assert "line 1" in by_line.loc["label.lst:3", "detail"]
    assert by_line.loc["label.lst:6", ["label", "detail"]].tolist() == ["", "label '7' is not one of 0 to 6"]
    assert [BadRow("x", "y", {"label": i}).problem("z")["label"] for i in (6, 7, 8)] == ["neutral", "contempt", ""]


def test_byte_order_mark_line_ends_and_blank_lines_are_tolerated(tmp_path: Path) -> None:
    write_photos(tmp_path, PHOTOS)
    latin = "\u00e9.jpg 0 1 2 30 40 50 0".encode("latin-1")
    (tmp_path / "label.lst").write_bytes(b"\xef\xbb\xbf" + ROW.encode() + b"\r\n\r\n  \n" + latin + b"\n")
    ingested = ExpW().ingest(tmp_path)
    assert ingested.faces["image"].tolist() == ["a.jpg"]
    assert ingested.problems["where"].tolist() == ["label.lst:4"]
    assert "UTF-8" in ingested.problems["detail"][0]


def test_what_is_no_data_set_says_what_belongs_there(tmp_path: Path) -> None:
    refused(ExpW(), tmp_path / "nowhere", r"there is no folder .*nowhere")
    refused(ExpW(), tmp_path, r"label.lst is missing")
    write_labels(tmp_path, [ROW])
    refused(ExpW(), tmp_path, r"neither origin/ nor origin.7z nor origin.7z.001")
    write_photos(tmp_path, PHOTOS)
    write_labels(tmp_path, [])
    refused(ExpW(), tmp_path, r"label.lst has no usable row")
    write_labels(tmp_path, ["a.jpg 0 1 2"])
    refused(ExpW(), tmp_path, r"no usable row \(1 were set aside; .*label.lst:1: the row has 4 fields")


@pytest.mark.skipif("MIEN_REAL_DATA" not in os.environ, reason="MIEN_REAL_DATA does not name the real data sets")
def test_the_real_part_of_expw() -> None:
    ingested = ExpW().ingest(Path(os.environ["MIEN_REAL_DATA"]) / "expw")
    assert (len(ingested.faces), ingested.faces["image"].nunique()) == (2754, 2641)
    assert (ingested.faces["confidence"] > 30).sum() == 2282
    assert ingested.problems.empty and ingested.unlabelled_photos == 0


GOOD = "a.jpg 2 28 113 226 141 22.9362 0"


def test_the_order_is_top_left_right_bottom() -> None:
    row = parse_row(GOOD)
    assert (row["top"], row["left"], row["right"], row["bottom"]) == (28, 113, 226, 141)
    assert (row["face_id"], row["image"], row["confidence"], row["label"]) == ("a.jpg:2", "a.jpg", 22.9362, 0)


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ("a.jpg 0 1 2 3", "malformed_row", "5 fields instead of 8"),
        ("a b.jpg 0 1 2 30 40 50 0", "malformed_row", "9 fields instead of 8"),
        ("a.jpg x 1 2 30 40 50 0", "malformed_row", "face_id_in_image 'x'"),
        ("a.jpg 0 1.5 2 30 40 50 0", "malformed_row", "top '1.5'"),
        ("a.jpg 0 1 2 99999999999 40 50 0", "malformed_row", "right '99999999999'"),
        ("a.jpg 0 1 2 30 40 high 0", "malformed_row", "confidence 'high'"),
        ("a.jpg 0 1 2 30 40 nan 0", "malformed_row", "finite"),
        ("../a.jpg 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("/etc/passwd 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("C:\\a.jpg 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("a\ufffd.jpg 0 1 2 30 40 50 0", "malformed_row", "UTF-8"),
        ("a.jpg 0 1 2 30 40 50 7", "unknown_label", "label '7' is not one of 0 to 6"),
        ("a.jpg 0 1 2 30 40 50 happy", "unknown_label", "'happy'"),
        ("a.jpg 0 1 2 30 40 50 -1", "unknown_label", "'-1'"),
        ("a.jpg 0 1 30 2 40 50 0", "swapped_box", "right 2 is less than left 30"),
        ("a.jpg 0 40 2 30 1 50 0", "swapped_box", "bottom 1 is less than top 40"),
        ("a.jpg 0 1 2 2 40 50 0", "empty_box", "both 2"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(line: str, reason: str, says: str) -> None:
    with pytest.raises(BadRow) as caught:
        parse_row(line)
    assert caught.value.reason == reason
    assert says in caught.value.detail


@given(st.text(alphabet=st.characters(blacklist_characters="\n"), max_size=60))
def test_any_text_is_a_row_or_a_bad_row(line: str) -> None:
    try:
        row = parse_row(line)
    except BadRow as bad:
        assert bad.reason and bad.detail
    else:
        assert row["top"] < row["bottom"] and row["left"] < row["right"] and 0 <= row["label"] <= 6
