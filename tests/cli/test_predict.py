"""`mien predict`: every input and output, as a process where exit codes and streams matter."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.cli.predict import print_table
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, PhotoPrediction, Quality
from mien.runtime.cut import Box
from tests.cli.conftest import Command, refused
from tests.inference.conftest import jpeg, portrait, write_model
from tests.inference.videos import scene, write_video

WARNING = "WARNING: this model learnt from drawings"


def configure(folder: Path, predict: str) -> None:
    (folder / "params.yaml").write_text("data: sample\n")
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf/predict.yaml").write_text(predict)


def test_json_is_all_that_stands_on_stdout(process: Command, tmp_path: Path, photo_file: Path) -> None:
    model = write_model(tmp_path / "drawn", drawn=True)
    done = process("predict", photo_file, "--json", "--model", model)
    assert done.code == 0
    ((face),) = json.loads(done.out)
    assert list(face) == [
        *("file", "time", "face", "box", "score", "label", "unsure", "quality", "probabilities", "model", "version")
    ]
    assert (face["file"], face["face"], face["version"]) == (str(photo_file), 1, None)
    assert (face["time"], 0.7 <= face["score"] <= 1) == (None, True)
    assert face["unsure"] == (max(face["probabilities"].values()) < 0.5)
    top, left, right, bottom = face["box"]
    assert 0 <= top < bottom and 0 <= left < right
    assert list(face["probabilities"]) == list(EXPRESSIONS)
    assert sum(face["probabilities"].values()) == pytest.approx(1)
    assert face["label"] == max(face["probabilities"], key=face["probabilities"].get)
    assert WARNING in done.err
    assert done.err.count("\n") == 1


def test_some_photos_fail_and_each_says_why(process: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain.png", tmp_path / "broken.jpg"
    cv2.imwrite(str(plain), np.full((200, 200), 90, np.uint8))
    broken.write_bytes(photo_file.read_bytes()[:900])
    done = process("predict", plain, photo_file, broken, "gone.jpg", "--model", model)
    assert done.code == 1
    assert "portrait.jpg" in done.out.replace("\n", "")  # a long path is folded
    assert "1 face in 1 photo" in done.out
    problems = [line.split(" (")[0].split(": ", 1) for line in done.err.splitlines()]
    assert sorted((Path(file).name, problem) for file, problem in problems) == [
        ("broken.jpg", "cannot be used: the JPEG file is truncated"),
        ("gone.jpg", "there is no such file."),
        ("plain.png", "no face found"),
    ]
    assert "Traceback" not in done.err


def test_libjpeg_says_nothing_on_stderr(process: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    """Bytes too many before the end mark do no harm, and libjpeg remarks on them."""
    whole = photo_file.read_bytes()
    (tmp_path / "odd.jpg").write_bytes(whole[:-2] + bytes(9) + whole[-2:])
    done = process("predict", "odd.jpg", "--model", model, "--cropped")
    assert (done.code, done.err) == (0, "")


def test_without_a_champion_the_package_answers_unless_one_was_named(
    process: Command, photo_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text("data: sample\n")
    done = process("predict", photo_file)
    assert (done.code, done.err, "1 face in 1 photo, by packaged (FER2013)" in done.out) == (0, "", True)
    done = process("predict", photo_file, "--data", "sample")
    refused(done, "there is no models:/mien-sample@champion yet", 2)
    assert "make repro" in done.err
    assert not (tmp_path / "mlruns").exists()


def test_the_champion_of_the_data_set_that_params_choose(
    process: Command, two_champions: Path, photo_file: Path
) -> None:
    done = process("predict", photo_file, "--json", cwd=two_champions)
    ((face),) = json.loads(done.out)
    assert (done.code, face["model"], face["version"]) == (0, "mien-tiny", 2)
    advice = "on a photograph its answers mean nothing; --model packaged is for those."
    assert done.err == f"mien: {WARNING} (bars); {advice}\n"


def test_a_model_by_its_version_and_by_another_data_set(mien: Command, two_champions: Path, photo_file: Path) -> None:
    done = mien("predict", photo_file, "--json", "--model", "models:/mien-tiny/1")
    assert json.loads(done.out)[0]["version"] == 1
    refused(mien("predict", photo_file, "--data", "other"), "models:/mien-other@champion", 2)
    (two_champions / "conf/data").mkdir(parents=True)
    (two_champions / "conf/data/half.yaml").write_text("name: tiny\nsource: expw\n")
    assert json.loads(mien("predict", photo_file, "--json", "--data", "half").out)[0]["model"] == "mien-tiny"


def test_folders_and_globs(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "album" / "inner"
    folder.mkdir(parents=True)
    for name in ("b.jpg", "a.JPG", "c.jfif", "d.jpe", "e.MPO", ".hidden.jpg", "notes.txt"):
        shutil.copy(photo_file, folder / name)
    (tmp_path / "nothing").mkdir()
    arguments = ["predict", tmp_path / "album", folder / "b.*", tmp_path / "nothing", "*.none", "--json"]
    done = mien(*arguments, "--model", model)
    assert [Path(face["file"]).name for face in json.loads(done.out)] == ["a.JPG", "b.jpg", "c.jfif", "d.jpe", "e.MPO"]
    assert done.code == 1
    assert f"{tmp_path / 'nothing'}: no photo in this folder" in done.err
    assert "*.none: no file matches." in done.err
    assert f"{tmp_path / 'album'}: skipped 1 file other than photos; name a video to use it.\n" in done.err


def test_the_table_fits_80_columns_and_shows_what_json_says(mien: Command, model: Path, photo_file: Path) -> None:
    face = json.loads(mien("predict", photo_file, "--json", "--model", model).out)[0]
    out = mien("predict", photo_file, "--model", model).out
    lines = out.splitlines()
    assert max(len(line) for line in lines if str(photo_file) not in line) <= 80
    assert "\x1b" not in out
    (row,) = [line for line in lines if face["label"] in line]
    assert f"{face['probabilities'][face['label']]:.0%}" in row
    assert row.split()[-4:] == [str(edge) for edge in face["box"]]


def test_without_a_temperature_it_says_that_it_is_not_calibrated(
    mien: Command, photo_file: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "raw", temperature=None)
    done = mien("predict", photo_file, "--model", model)
    assert done.code == 0
    assert "not calibrated" in done.err


NAMES = {
    b"\xff\xfe.jpg": r"\xff\xfe.jpg",
    b"\x1b[31mred.jpg": r"\x1b[31mred.jpg",
    b"a\nmien: all is well.jpg": r"a\nmien: all is well.jpg",
    "größe.jpg".encode(): "größe.jpg",
    b"[bold]x.jpg": "[bold]x.jpg",
}


@pytest.fixture
def album(tmp_path: Path, photo_file: Path) -> Path:
    """Photos of these names, and files that are none."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(photo_file.read_bytes())
    (folder / "\x1b[2Jbroken.jpg").write_bytes(b"<html>")
    return folder


def test_names_are_shown_escaped_and_given_to_programs_whole(process: Command, album: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "build")
    shown = process("predict", "--cropped", album, "--model", model)
    assert shown.code == 1 and "\x1b" not in shown.out + shown.err
    unfolded = "".join(shown.out.split())  # the table is 80 columns wide
    assert all(f"{album}/{name}".replace(" ", "") in unfolded for name in NAMES.values())
    assert (
        shown.err
        == rf"{album}/\x1b[2Jbroken.jpg: cannot be used: the file is no image of a known format (6 bytes)." + "\n"
    )
    done = process("predict", "--cropped", album, "--model", model, "--json", "--csv", "faces.csv")
    files = {Path(face["file"]).name for face in json.loads(done.out)}
    expected = {os.fsencode(name).decode("utf-8", "backslashreplace") for name in map(os.fsdecode, NAMES)}
    assert files == expected
    rows = csv.DictReader((tmp_path / "faces.csv").read_text(encoding="utf-8").splitlines(keepends=True))
    assert {Path(row["file"]).name for row in rows} == expected


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
    refused(both, "--json and --csv - both write to stdout", 2)


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
        "no.avi: is not a readable video",
    ]


def test_options_win_over_the_configuration(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    def run(*options: str) -> tuple[int, str]:
        done = mien("predict", photo_file, "--model", model, *options)
        return done.code, done.err

    configure(tmp_path, "min_face: 3000\n")
    code, said = run()
    assert code == 1
    assert "at least 3000 x 3000 pixels" in said
    assert run("--min-face", "40") == (0, "")
    assert run("--min-face", "4") == (2, "mien: --min-face must be greater than or equal to 20, not 4.\n")
    assert run("--every", "0") == (2, "mien: --every must be a number of seconds above 0, not 0.\n")
    assert run("--min-score", "2") == (2, "mien: --min-score must be less than or equal to 1, not 2.0.\n")
    assert run("--detector", "dlib") == (2, "mien: --detector must be 'yunet' or 'haar', not 'dlib'.\n")
    configure(tmp_path, "min_fase: 30\n")
    code, said = run()
    assert code == 2
    assert "conf/predict.yaml: there is no key 'min_fase'" in said


def test_too_many_faces_are_counted(mien: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "two.jpg").write_bytes(jpeg(np.concatenate([portrait()[0]] * 2, axis=1)))
    configure(tmp_path, "max_faces: 1\n")
    done = mien("predict", "two.jpg", "--json", "--model", model)
    assert (done.code, len(json.loads(done.out))) == (0, 1)
    assert done.err == "two.jpg: 1 face beyond max_faces (conf/predict.yaml) left out, the smallest.\n"


def test_an_unsure_answer_says_so(mien: Command, model: Path, photo_file: Path, tmp_path: Path) -> None:
    for threshold, unsure in (("1.0", True), ("0.0", False)):
        configure(tmp_path, f"unsure_below: {threshold}\n")
        out = mien("predict", photo_file, "--model", model).out
        assert ("?: unsure" in out) == unsure
        assert json.loads(mien("predict", photo_file, "--json", "--model", model).out)[0]["unsure"] == unsure


def test_a_face_that_is_blurred_too_small_or_turned_away_says_so(
    mien: Command, model: Path, photo_file: Path, tmp_path: Path
) -> None:
    photo = cv2.imread(str(photo_file))
    cv2.imwrite(str(tmp_path / "blurred.png"), cv2.GaussianBlur(photo, (0, 0), max(photo.shape) / 40))
    cv2.imwrite(str(tmp_path / "small.png"), cv2.resize(photo, (20, 20), interpolation=cv2.INTER_AREA))
    for file, options, reason in (
        (photo_file, [], ""),
        ("blurred.png", [], "blurred"),
        ("small.png", ["--cropped"], "too small"),
    ):
        command = ["predict", file, *options, "--model", model]
        (face,) = json.loads(mien(*command, "--json").out)
        assert face["quality"]["reasons"] == ([reason] if reason else [])
        assert face["quality"]["size"] == min(face["box"][2] - face["box"][1], face["box"][3] - face["box"][0])
        out = mien(*command).out
        assert (f"    1  {reason}\n" in out, "are right less often" in out) == (bool(reason), bool(reason))
        assert f",{reason}," in mien(*command, "--csv", "-").out
    assert Quality(20, 0.01, 0.6).reasons == ["too small", "blurred", "turned away"]
    assert Quality(200, None, None).reasons == []  # neither measured, nor against it


def test_a_long_class_name_is_folded_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("engaged_with_the_other_person", "bored_by_whatever_they_are_being_told")
    shares = dict(zip(names, (0.6, 0.4), strict=True))
    face = FacePrediction(Box(1, 2, 33, 34), None, names[0], True, shares, Quality(32, None, None))
    print_table([PhotoPrediction(Picture(Path("a.jpg")), [face])], ("mien-own", 1))
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("?")]
    assert f"{names[0]}?" in "".join(line[7:19].strip() for line in lines[2:-1])
    assert names[1] in "".join(line[37:53].strip() for line in lines[2:-1])
