"""`mien predict`: standard input, csv, annotated pictures, videos, and the options over conf/predict.yaml."""

import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from tests.cli.conftest import Command
from tests.inference.conftest import jpeg, portrait
from tests.inference.videos import scene, write_video


def test_a_photo_from_standard_input(model: Path, photo_file: Path, tmp_path: Path) -> None:
    mien = str(Path(sys.executable).with_name("mien"))
    command = [mien, "predict", "-", "--json", "--model", str(model), "--annotate", "out"]
    done = subprocess.run(command, input=photo_file.read_bytes(), capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)[0]["file"] == "-"
    assert (tmp_path / "out/stdin.jpg").exists()


def test_csv_says_what_json_says(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    told = json.loads(mien("predict", photo_file, "--json", "--csv", "faces.csv", "--model", model).out)
    piped = mien("predict", photo_file, "--csv", "-", "--model", model)
    assert piped.code == 0
    assert piped.out == (tmp_path / "faces.csv").read_text()
    (row,) = pd.read_csv(io.StringIO(piped.out)).to_dict("records")
    face = told[0]
    assert [row[edge] for edge in ("top", "left", "right", "bottom")] == face["box"]
    assert [row[name] for name in EXPRESSIONS] == pytest.approx(list(face["probabilities"].values()))
    assert (row["file"], row["label"], row["unsure"]) == (face["file"], face["label"], face["unsure"])
    both = mien("predict", photo_file, "--json", "--csv", "-", "--model", model)
    assert (both.code, both.out) == (2, "")
    assert "--json and --csv - both want stdout" in both.err


def test_annotated_pictures_overwrite_none(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    """Neither each other, nor what an earlier run wrote, nor the photo where it is written beside it."""
    other = tmp_path / "other" / photo_file.name
    other.parent.mkdir()
    other.write_bytes(jpeg(np.concatenate([portrait()[0]] * 2, axis=1)))
    assert mien("predict", photo_file, other, "--model", model, "--annotate", tmp_path / "out").code == 0
    first = {file.name: cv2.imread(str(file)).shape for file in (tmp_path / "out").iterdir()}
    assert set(first) == {"portrait.jpg", "portrait-2.jpg"}
    assert first["portrait-2.jpg"][1] != first["portrait.jpg"][1]
    before = photo_file.read_bytes()
    assert mien("predict", photo_file, "--model", model, "--annotate", photo_file.parent).code == 0
    assert photo_file.read_bytes() == before
    assert (photo_file.parent / "portrait-2.jpg").exists()


def test_a_video_gives_rows_by_the_time_of_its_frames(mien: Command, model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [scene(i) for i in range(15)])
    done = mien("predict", "clip.mp4", "--json", "--every", "0.5", "--model", model, "--annotate", "out")
    assert done.code == 0
    assert [face["time"] for face in json.loads(done.out)] == pytest.approx([0.0, 0.5, 1.0])
    assert sorted(file.name for file in (tmp_path / "out").iterdir())[1] == "clip-00000.50s.jpg"
    table = mien("predict", "clip.mp4", "--model", model).out
    assert "clip.mp4 at 1.00 s" in table
    assert "2 faces in 2 pictures" in table


def test_videos_that_fail_say_why_beside_those_that_do_not(mien: Command, model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4", [scene()] * 3)
    write_video(tmp_path / "empty.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 3)
    (tmp_path / "no.avi").write_bytes(b"hello")
    done = mien("predict", "no.avi", "empty.mp4", "good.mp4", "--json", "--model", model)
    assert done.code == 1
    assert {face["file"] for face in json.loads(done.out)} == {"good.mp4"}
    assert sorted(line.split(" (")[0] for line in done.err.splitlines()) == [
        "empty.mp4: no face found in 1 frame, one in 1 s.",
        "no.avi: is no video that can be read",
    ]


def test_options_win_over_the_configuration(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        done = mien("predict", photo_file, "--model", model, *options)
        return done.code, done.err

    (tmp_path / "params.yaml").write_text("data: sample\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/predict.yaml").write_text("min_face: 3000\n")
    code, said = run()
    assert code == 1
    assert "at least 3000 x 3000 pixels" in said
    assert run("--min-face", "40") == (0, "")
    assert run("--min-face", "4") == (2, "mien: --min-face must be at least 20, not 4.\n")
    assert run("--min-score", "2") == (2, "mien: --min-score must be at most 1, not 2.0.\n")
    code, said = run("--detector", "dlib")
    assert (code, said) == (2, "mien: --detector must be 'haar' or 'yunet', not 'dlib'.\n")
    (tmp_path / "conf/predict.yaml").write_text("min_fase: 30\n")
    code, said = run()
    assert code == 2
    assert "conf/predict.yaml: there is no key 'min_fase'" in said


def test_too_many_faces_are_counted(mien: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "two.jpg").write_bytes(jpeg(np.concatenate([portrait()[0]] * 2, axis=1)))
    (tmp_path / "params.yaml").write_text("data: sample\n")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/predict.yaml").write_text("max_faces: 1\n")
    done = mien("predict", "two.jpg", "--json", "--model", model)
    assert (done.code, len(json.loads(done.out))) == (0, 1)
    assert done.err == "two.jpg: 1 face beyond max_faces (conf/predict.yaml) left out, the smallest.\n"


def test_an_unsure_answer_says_so(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: sample\n")
    (tmp_path / "conf").mkdir()
    for threshold, unsure in (("1.0", True), ("0.0", False)):
        (tmp_path / "conf/predict.yaml").write_text(f"unsure_below: {threshold}\n")
        out = mien("predict", photo_file, "--model", model).out
        assert ("?: unsure" in out) == unsure
        assert json.loads(mien("predict", photo_file, "--json", "--model", model).out)[0]["unsure"] == unsure


def test_every_must_be_a_time(mien: Command, photo_file: Path) -> None:
    done = mien("predict", photo_file, "--every", "0")
    assert (done.code, done.err) == (2, "mien: --every is a time in seconds above 0, not 0.\n")
