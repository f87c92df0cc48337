"""Outs and records, classes, pinned versions, and names on a terminal: what is wrong with one is one sentence."""

import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from mlflow.utils.validation import _validate_metric_name
from typer.testing import CliRunner

from mien.base.classes import EXPRESSIONS, RESERVED, checked_classes
from mien.base.errors import UserError, printable
from mien.base.files import Outs, read_record, replacing
from mien.base.settings import read_yaml
from mien.cli.check import VERSIONS, other_versions
from mien.cli.main import app
from mien.cli.predict import face_records
from mien.inference.annotation import COLUMNS
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, PhotoPrediction, Quality
from mien.runtime.cut import Box
from tests.photosets import write_labels

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
        (b"null", "must hold a mapping, and holds nothing"),
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


def test_a_missing_file_and_broken_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"about.json is missing; `dvc repro` writes it again\."):
        read_record(tmp_path / "about.json", KEYS, "`dvc repro` writes it again")
    (tmp_path / "best.yaml").write_text("values: [1,\n")
    with pytest.raises(UserError, match=r"best.yaml is damaged"):
        read_record(tmp_path / "best.yaml", {}, "x")


def test_any_names_that_files_columns_and_metrics_can_hold_are_classes() -> None:
    for names in (EXPRESSIONS, ["Müde", "0_wach", "n.a", "not sure-1", "表情", "None"]):
        assert checked_classes(names) == tuple(names)
        for name in names:
            _validate_metric_name(f"test/per_class/{name}/recall")


def test_no_class_has_the_name_of_a_column_beside_the_classes() -> None:
    face = FacePrediction(Box(0, 0, 1, 1), 0.5, "a", False, {"a": 1.0}, Quality(1, None, None))
    (row,) = face_records([PhotoPrediction(Picture(Path("a.jpg")), [face])], ("m", 1))
    assert {*COLUMNS, *row} - {"box", "probabilities"} <= {*RESERVED}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["bored"], r"needs 2 to 100 classes, not 1 \(bored\)"),
        (["bored", "and/or"], "'and/or' cannot be the name of a class: it takes up to 40 letters"),
        (["bored", " "], "' ' cannot be"),
        (["bored", ".."], "'..' cannot be"),
        (["bored", "x" * 41], "cannot be"),
        (["bored", "12"], "'12' cannot be"),
        (["bored", "bored_raw"], "'bored_raw' cannot be"),
        (["bored", "Left"], "'Left' cannot be the name of a class, because mien has a column of that name"),
        (["bored", "happy", "Bored"], r"the class bored is there twice \(bored, Bored\)"),
    ],
)
def test_what_cannot_be_a_class_is_refused(names: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked_classes(names)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größer 写真.jpg", "größer 写真.jpg"),
        ("a\nmien: all is well.jpg", r"a\nmien: all is well.jpg"),
        ("\x1b[2J\x07\r.jpg", r"\x1b[2J\x07\r.jpg"),
        ("\x9b31m.jpg", r"\x9b31m.jpg"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        (os.fsdecode(b"\xff\xfe.jpg"), r"\xff\xfe.jpg"),
        (Path("..") / "x", "../x"),
    ],
)
def test_nothing_acts_on_the_terminal(name: str | Path, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).encode("utf-8").decode() == shown


ROOT = Path(__file__).resolve().parents[2]


def test_they_are_those_of_the_constraints() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    listed = read_yaml(ROOT / VERSIONS)
    assert listed == {library: pinned[library] for library in listed}
    assert {"torch", "numpy", "onnxruntime"} <= set(listed)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, entered, in which `mien check` finds nothing wrong."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "src").symlink_to(ROOT / "src")
    for name in ("params.yaml", VERSIONS):
        shutil.copy(ROOT / name, tmp_path)
    write_labels(tmp_path / "data/sample", [])
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    return tmp_path


def test_check_refuses_other_versions_unless_they_are_allowed(project: Path) -> None:
    (project / VERSIONS).write_text('numpy: "1.26.0"\nno-such-library: "1.0"\n')
    assert [re.sub(r"numpy \S+", "numpy X", sentence) for sentence in other_versions(project)] == [
        "numpy X is installed, and versions.yaml requires 1.26.0.",
        "no-such-library is not installed, and versions.yaml requires 1.0.",
    ]
    refused, allowed = (CliRunner().invoke(app, ["check", *more]) for more in ([], ["--allow-other-versions"]))
    assert (refused.exit_code, allowed.exit_code) == (1, 0)
    assert "versions.yaml requires 1.26.0" in refused.output and "--allow-other-versions" in refused.output
    assert "versions.yaml requires 1.26.0" in allowed.output


def test_check_refuses_the_code_of_another_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "src").unlink()
    shutil.copytree(ROOT / "src", project / "src")
    refused = CliRunner().invoke(app, ["check"])
    assert refused.exit_code == 1
    edits = f"runs the code in {ROOT / 'src/mien'}, so edits of {project / 'src/mien'} have no effect: "
    assert f"{edits}`make install` makes .venv here" in refused.output
    (about := project / "installed/mien-0.1.0.dist-info").mkdir(parents=True)
    (about / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {}}))
    monkeypatch.syspath_prepend(about.parent)
    command = shlex.join([sys.executable, "-m", "pip", "install", "--no-deps", "-e", str(project)])
    mended = f"it is a copy, and `{command}` replaces it by a link."
    assert edits + mended in CliRunner().invoke(app, ["check"]).output


def test_outs_appear_when_the_block_ends_in_place_of_older_ones(tmp_path: Path) -> None:
    (tmp_path / "build/crop").mkdir(parents=True)
    (tmp_path / "build/crop/old").touch()
    with Outs("crop", tmp_path) as outs:
        outs.path("reports/crop.json").write_text("{}")
        (outs.folder("build/crop") / "faces.npy").write_text("faces")
        assert not (tmp_path / "reports/crop.json").exists()
    assert (tmp_path / "reports/crop.json").read_text() == "{}"
    assert [(f.name, f.read_text()) for f in (tmp_path / "build/crop").iterdir()] == [("faces.npy", "faces")]
    assert not (tmp_path / "build/.partial/crop").exists()


def test_an_error_leaves_nothing_new_and_keeps_the_old(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/crop.json").write_text("old")
    with pytest.raises(OSError, match="disk full"), Outs("crop", tmp_path) as outs:
        outs.path("reports/crop.json").write_text("half")
        outs.path("build/new").write_text("half")
        raise OSError("disk full")
    assert (tmp_path / "reports/crop.json").read_text() == "old"
    assert not (tmp_path / "build/new").exists()


def test_what_a_killed_run_left_is_forgotten(tmp_path: Path) -> None:
    Outs("crop", tmp_path).__enter__().path("build/crop").write_text("half")
    with Outs("crop", tmp_path) as outs:
        waiting = outs.path("build/crop")
        assert not waiting.exists()
        waiting.write_text("whole")
    assert (tmp_path / "build/crop").read_text() == "whole"


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path: Path) -> None:
    file = tmp_path / "a/report.json"
    for content in ("old", "new"):
        with replacing(file) as part:
            assert part.name == file.name
            part.write_text(content)
    assert file.read_text() == "new"
    with pytest.raises(OSError, match="disk full"), replacing(file) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert file.read_text() == "new"
    assert [path.name for path in file.parent.iterdir()] == ["report.json"]


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".partial-faces"
    left.mkdir()
    (left / "faces").write_text("half")
    with replacing(tmp_path / "faces") as part:
        assert not part.exists()
        part.mkdir()
        (part / "0.png").write_text("face")
    assert (tmp_path / "faces/0.png").read_text() == "face"
    assert not left.exists()
