"""Records of another version, or damaged, end in one sentence that names file and key and says what would be right."""

from pathlib import Path

import pytest

from mien.base.errors import UserError
from mien.base.records import read_record

KEYS = {"n": int, "share": float, "name": str, "parts": dict, "any": object}
RIGHT = '{"n": 1, "share": 2, "name": "x", "parts": {}, "any": null}'


def test_what_is_right_is_read(tmp_path: Path) -> None:
    for name in ("a.json", "a.yaml"):
        (tmp_path / name).write_text(RIGHT)
        assert read_record(tmp_path / name, KEYS, "", closed=True)["share"] == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged"),
        (RIGHT[:20].encode(), "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[1]", "must hold a mapping, and holds [1]"),
        (b"null", "must hold a mapping, and holds null"),
        (b'{"n": 1}', "lacks share, as another version of mien or a person wrote it"),
        (RIGHT.replace('"n": 1', '"n": true').encode(), "n must be a whole number, not true"),
        (RIGHT.replace("{}", "[]").encode(), "parts must be a mapping, not []"),
        (RIGHT.replace('"n"', '"m": 0, "n"').encode(), "has m, which this version of mien does not know"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "about.json"
    file.write_bytes(content)
    with pytest.raises(UserError) as told:
        read_record(file, KEYS, "`dvc repro` writes it again", closed=True)
    sentence = str(told.value)
    assert sentence.startswith(str(file)) and says in sentence and "\n" not in sentence
    assert sentence.endswith("`dvc repro` writes it again.")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"about.json is missing; `dvc repro` writes it again\."):
        read_record(tmp_path / "about.json", KEYS, "`dvc repro` writes it again")


def test_broken_yaml_is_damaged_too(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("values: [1,\n")
    with pytest.raises(UserError, match=r"best.yaml is damaged"):
        read_record(tmp_path / "best.yaml", {}, "x")
