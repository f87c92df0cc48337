import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError, WrongSettings
from mien.base.settings import read_yaml
from mien.sources.fingerprints import fingerprint
from mien.sources.source import DataConfig, Ingested, get_source
from tests.photosets import encode, picture
from tests.pipelines.workspace import ROOT


def ingest(folder: Path, options: dict[str, object] | None = None) -> Ingested:
    return get_source(DataConfig("listed", "table", str(folder), options=options or {})).ingest(folder)


def write(folder: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def test_every_optional_column_is_read_and_further_ones_are_kept(tmp_path: Path) -> None:
    text = (
        "image,label,left,top,right,bottom,confidence,split,person,votes,camera\n"
        "a.jpg,contempt,10,20,90,101,0.9,training,S1,0 0 0 1 0 0 0 3,front\n"
        "a.jpg,happy,100,20,190,101,,test,,,back\n"
    )
    found = ingest(write(tmp_path, text))
    first, second = found.faces.to_dict("records")
    assert [first[key] for key in ("left", "top", "right", "bottom")] == [10, 20, 90, 101]
    assert (first["source_split"], first["person"], first["camera"]) == ("train", "S1", "front")
    assert first["confidence"] == np.float32(0.9) and list(first["votes"]) == [0, 0, 0, 1, 0, 0, 0, 3]
    assert math.isnan(second["confidence"]) and second["votes"] is None and second["source_split"] == "test"
    assert first["face_id"] != second["face_id"] and found.classes == WITH_CONTEMPT


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ("a.jpg,bored,,,,", "unknown_label", "'bored' is no known expression"),
        ("a.jpg,3,,,,", "unknown_label", "'3' is no known expression"),
        (",happy,,,,", "malformed_name", "'' names no photo"),
        ("../a.jpg,happy,,,,", "malformed_name", "'../a.jpg' names no photo"),
        ("a.jpg,happy,10,10,10,20", "malformed_row", "the box 10 10 10 20 has no area"),
        ("a.jpg,happy,10,x,20,20", "malformed_row", "top 'x' is not a number"),
        ("a.jpg,happy,,,,,x,", "malformed_row", "'x' is more than there are columns; a value with a separator"),
        ("good.jpg,sad,,,,", "duplicate_row", "an earlier row, which is used, names the same face"),
    ],
)
def test_a_row_that_cannot_be_used_names_line_and_reason(tmp_path: Path, row: str, reason: str, detail: str) -> None:
    found = ingest(write(tmp_path, f"image,label,left,top,right,bottom\ngood.jpg,happy,,,,\n{row}\n"))
    assert found.faces["image"].tolist() == ["good.jpg"]
    (problem,) = found.problems.to_dict("records")
    assert (problem["where"], problem["reason"]) == ("labels.csv:3", reason)
    assert detail in problem["detail"]


AS_WRITTEN = {  # what programs make of a table with the photo `a.jpg`, and of one with the photo in the second place
    "plain": ("image,label\na.jpg,happy\n", "utf-8"),
    "Windows": ("\ufeffimage,label\r\na.jpg,happy\r\n", "utf-8"),
    "old Macs": ("image,label\ra.jpg,happy\r", "utf-8"),
    "no last line end": ("image,label\na.jpg,happy", "utf-8"),
    "UTF-16": ("image\tlabel\r\na.jpg\thappy\r\n", "utf-16"),
    "UTF-16, big end first": ("\ufeffimage\tlabel\na.jpg\thappy\n", "utf-16-be"),
    "semicolons": ("image;label\na.jpg;happy\n", "utf-8"),
    "tabs": ("image\tlabel\na.jpg\thappy\n", "utf-8"),
    "blanks": (" image , label \n a.jpg , Happy \n", "utf-8"),
    "quotes": ('"image","label"\n"a.jpg","happy"\n', "utf-8"),
    "empty rows": ("\nimage,label\n\n,\na.jpg,happy\n,,\n\n", "utf-8"),
    "surplus separators": ("image,label,,\na.jpg,happy,,\n", "utf-8"),
    "short rows": ("image,label,person\na.jpg,happy\n", "utf-8"),
    "a folder of Windows": ("image,label\n.\\a.jpg,happy\n", "utf-8"),
    "its own label column": ("image,label,expression\na.jpg,17,happy\n", "utf-8"),
}


@pytest.mark.parametrize("program", AS_WRITTEN)
def test_tables_as_programs_write_them(tmp_path: Path, program: str) -> None:
    text, encoding = AS_WRITTEN[program]
    write(tmp_path, "not the table", "._labels.csv")  # beside each file on a Mac's stick
    options = {"columns": {"label": "expression"}} if "expression" in text else {}
    found = ingest(write(tmp_path, text, encoding=encoding), options)
    assert found.faces[["image", "label"]].to_numpy().tolist() == [["a.jpg", 3]]
    assert (found.faces[["top", "left", "right", "bottom"]] == -1).all(axis=None) and found.classes == EXPRESSIONS
    assert found.problems.empty and "\0" not in found.faces and "" not in found.faces


@pytest.mark.parametrize(
    "name",
    ["a b.jpg", "ärger.jpg", "100%20.JPG", "#1?.jpg", "one,two;three.jpg", "two\nlines.jpg", "no ending", "'q\"."],
)
def test_a_photo_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encode(picture(), "PNG"))
    pd.DataFrame({"image": [name], "label": ["happy"]}).to_csv(tmp_path / "labels.csv", index=False)
    (face,) = (found := ingest(tmp_path)).faces.to_dict("records")
    photos = get_source(DataConfig("listed", "table", str(tmp_path))).photos(tmp_path, tmp_path)
    fingerprinted = fingerprint(found.faces, photos, tmp_path / "thumbnails.npy", progress=False)
    assert face["image"] == name and fingerprinted["photo_height"].tolist() == [80]


def test_the_list_of_rafdb(tmp_path: Path) -> None:
    write(tmp_path, "train_00001.jpg 5\ntest_0002.jpg 7\n", "list_patition_label.txt")
    faces = ingest(tmp_path, shipped("rafdb")).faces
    assert faces["image"].tolist() == ["aligned/train_00001_aligned.jpg", "aligned/test_0002_aligned.jpg"]
    assert [EXPRESSIONS[label] for label in faces["label"]] == ["sad", "neutral"]
    assert faces["source_split"].tolist() == ["train", "test"]


def test_the_list_of_affectnet(tmp_path: Path) -> None:
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    rows = "689/a.jpg,134,134,899,890,1;2,1,0.7,0.1\n392/b.jpg,10,5,20,30,1;2,9,-2,-2\n"
    write(tmp_path, head + rows, "training.csv")
    found = ingest(tmp_path, shipped("affectnet"))
    (face,) = found.faces.to_dict("records")
    assert [face[key] for key in ("left", "top", "right", "bottom")] == [134, 134, 1033, 1024]
    assert (face["image"], EXPRESSIONS[face["label"]], face["valence"]) == ("689/a.jpg", "happy", "0.7")
    assert found.problems["reason"].tolist() == ["unknown_label"]


def shipped(name: str) -> dict[str, object]:
    options: dict[str, object] = read_yaml(ROOT / f"conf/data/{name}.yaml")["options"]
    return options


def test_parquet_and_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "label": [3, 5], "votes": [[0, 0, 0, 2.0, 0, 0, 1], None]})
    table.to_parquet(tmp_path / "labels.parquet")
    faces = ingest(tmp_path, {"numbering": "fer2013"}).faces
    assert faces["label"].tolist() == [3, 5] and list(faces["votes"][0]) == [0, 0, 0, 2, 0, 0, 1]


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({}, {}, "must hold one table .*, and holds none"),
        ({"a.csv": "image,label\n", "b.csv": "x"}, {}, r"holds a.csv, b.csv; name it by file"),
        ({"a.csv": "image,label\n"}, {"file": "c.csv"}, r"c.csv is missing; options: file names the table"),
        ({"a.csv": "photo,label\na,happy\n"}, {}, r"has no column image; its columns are photo, label.*columns: {"),
        ({"a.csv": "image,label\n"}, {}, "has no usable row"),
        ({"a.csv": 'image,label\n"a.jpg,happy\n'}, {}, "cannot be read"),
        ({"a.csv": "image,label,label\na,happy,sad\n"}, {}, "has two columns label; rename or remove one"),
        ({"a.csv": "image;label;\n"}, {"separator": ","}, "has no column image; its columns are image;label;. Say"),
        ({"a.csv": "image,label\na\xfc,happy\n"}, {}, r"utf-8.*byte 0xfc.*; save it as csv in UTF-8, or as Parquet"),
        ({"a.parquet": "no parquet"}, {}, "cannot be read"),
        ({"a.csv": "image,label\na,tired\nb,awake\n"}, {}, r"classes that are no .*class_names: \[awake, tired\]"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, files: dict[str, str], options: dict[str, object], says: str
) -> None:
    for name, text in files.items():
        write(tmp_path, text, name, "latin-1")
    with pytest.raises(UserError, match=says):
        ingest(tmp_path, options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": {"emotion": "label"}}, "columns: emotion is not a column; the columns are image, label"),
        ({"photo": "{name}.jpg"}, "may hold {image}, {stem} and {suffix} alone"),
        ({"split": "("}, "is not a valid regular expression"),
        ({"split": "train"}, "must have one group"),
        ({"separator": ", "}, "separator must be one character, not ', '"),
    ],
)
def test_options_that_make_no_sense_are_refused_all_at_once(
    tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(WrongSettings, match=says) as caught:
        ingest(
            write(tmp_path, "image,label\na.jpg,happy\n"), options | {"numbering": "rafdb", "class_names": ["a", "b"]}
        )
    assert len(caught.value.mistakes) == 2
    assert caught.value.mistakes[0].endswith("so does a list of class_names; keep one of them.")


def test_a_table_names_classes_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path, "image,label,votes\na.jpg,Tired,1 2 0\nb.jpg,0,\nc.jpg,happy,\nd.jpg,bored,1 2\n")
    found = ingest(file, {"class_names": ["awake", "tired", "bored"]})
    assert found.classes == ("awake", "tired", "bored") and found.faces["label"].tolist() == [1, 0]
    assert list(found.faces["votes"][0]) == [1, 2, 0]
    problems = found.problems[["label", "reason"]].to_numpy().tolist()
    assert problems == [["", "unknown_label"], ["bored", "malformed_row"]]
    assert "'happy' is none of awake, tired, bored" in found.problems["detail"][0]
