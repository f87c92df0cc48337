"""One picture has one answer, whoever asks: in training, on the command line, over REST, in a file, on the page."""

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from mien.app.answers import Answerer
from mien.app.limits import AppConfig
from mien.app.turns import Refused
from mien.base.classes import EXPRESSIONS
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.evaluation.other_data import MeasuredModel
from mien.inference.address import CurrentModel, load_model_of
from mien.inference.export import export_onnx, generated_faces
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, Predictor, predict_pictures
from mien.runtime.spec import SPEC_FILE, Spec
from mien.sources.photos import FolderPhotos
from mien.sources.source import faces_table
from tests.inference.conftest import portrait, write_model
from tests.inference.test_without_torch import PAGE
from tests.photosets import awkward, picture

SIZE: Final = 48
SHARP: Final = 0.05  # temperature: a pixel that differs shows in the answer
KINDS: Final = awkward(picture())
REFUSED: Final = {name for name, (_, shown, _) in KINDS.items() if isinstance(shown, str)}
LOSSLESS: Final = ("turned.png", "turned late.png", "turned animation.png", "turned.tiff", "plain.bmp", "plain.ppm")
# `cv2.imread` turns no animation, fails on a TIFF that is to be turned, drops transparency, and reads a PNM's greys
# as if there were 256.
BEYOND_IMREAD: Final = {
    *("turned animation.png", "turned animation.webp", "turned.tiff", "sixteen greys.pgm"),
    *("ten bits.pgm", "ten bits.ppm", "no frame first.png"),
    *(name for name in KINDS if "transparent" in name),
}


def written(folder: Path, photo: np.ndarray) -> list[Path]:
    """That photo's files, and the real photos where they are here."""
    folder.mkdir()
    for name, (data, *_) in awkward(photo).items():
        (folder / name).write_bytes(data)
    if real := os.environ.get("MIEN_REAL_DATA"):
        for file in Path(real, "photos").glob("*.jpg"):
            (folder / file.name).symlink_to(file.resolve())
    return sorted(folder.iterdir())


Answers = dict[str, list[list[float]]]  # by file: of each face its probabilities, and its box in a whole photo


def assert_same(ways: dict[str, Answers]) -> None:
    """The same files are refused, the same faces found and the same probabilities given in every way."""
    first, expected = next(iter(ways.items()))
    for way, answers in ways.items():
        assert not any(answers[name] for name in REFUSED & set(answers)), way
        for name, faces in answers.items():
            np.testing.assert_allclose(faces, expected[name], rtol=0, atol=1e-5, err_msg=f"{name}: {way} and {first}")
    assert sum(map(bool, expected.values())) >= 40
    for name in LOSSLESS:
        np.testing.assert_allclose(expected[name], expected["plain.png"], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_cut_face_has_one_answer(colour: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training, `mien predict --cropped`, by the exported file, the program of docs/howto/export.md, over REST."""
    photo, box = portrait()
    files = written(tmp_path / "faces", photo[box.top : box.bottom, box.left : box.right])
    names = [file.name for file in files]
    train = write_model(tmp_path / "build", colour=colour, temperature=SHARP)
    predictor = Predictor(load_model_of(str(train)))
    measured, cut = MeasuredModel(predictor.model, {"digest": "of no training"}), predictor.model.spec.cut
    exported = export_onnx(measured, generated_faces(cut), tmp_path / "model.onnx").file
    version = tmp_path / "version"
    shutil.copytree(saved, version)
    shutil.copy(train / "model.onnx", version / "artifacts/model")
    Spec(EXPRESSIONS, cut, SHARP).save(version / "artifacts/model" / SPEC_FILE)
    served = mlflow.pyfunc.load_model(str(version), suppress_warnings=True)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)

    def cropped(predictor: Predictor) -> Answers:
        found = predict_pictures(predictor, map(Picture, files), cropped=True)
        return {answer.picture.file.name: [[*face.probabilities.values()] for face in answer.faces] for answer in found}

    def over_rest(file: Path) -> list[list[float]]:
        try:
            return list(served.predict(pd.DataFrame({"image": [file.read_bytes()]}))[list(EXPRESSIONS)].to_numpy())
        except MlflowException:
            return []

    def by_the_program(file: Path) -> list[list[float]]:
        shutil.copy(file, "face.jpg")
        variables: dict[str, Any] = {}
        exec(program, variables)
        return list(variables["probabilities"])

    (tmp_path / "crop").mkdir()
    faces = faces_table({"face_id": names, "image": names, "label": [0] * len(names)})
    crop_faces(faces, FolderPhotos(tmp_path / "faces"), CropConfig(SIZE, colour), tmp_path / "crop", progress=False)
    packed = open_faces(tmp_path / "crop")
    learnt = zip(packed.index["image"], predictor.model.probabilities(packed.pixels), strict=True)
    assert_same(
        {
            "mien predict": cropped(predictor),
            "the exported file": cropped(Predictor(load_model_of(str(exported)))),
            "REST": {file.name: over_rest(file) for file in files},
            "training": {name: [] for name in names} | {name: [row] for name, row in learnt},
            "the program": {f.name: by_the_program(f) for f in files if f.name not in REFUSED | BEYOND_IMREAD},
        }
    )


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_whole_photo_has_one_answer(colour: str, tmp_path: Path) -> None:
    """On the command line, on the page, from Python with OpenCV's pixels, and as a still of a video."""
    files = written(tmp_path / "photos", portrait()[0])
    train = str(write_model(tmp_path / "build", colour=colour, temperature=SHARP))
    predictor = Predictor(load_model_of(train))
    answerer = Answerer(CurrentModel(train), predictor.detector, predictor.settings, AppConfig())

    def on_the_page(file: Path) -> list[FacePrediction]:
        try:
            return answerer.answer(file.read_bytes()).faces
        except Refused:
            return []

    readable = [file for file in files if file.name not in REFUSED | BEYOND_IMREAD]
    pixels = {file.name: cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) for file in readable}
    stills = [Picture(Path(name), frame=photo, time=0.0) for name, photo in pixels.items()]
    ways = {
        "mien predict": {
            found.picture.file.name: found.faces for found in predict_pictures(predictor, map(Picture, files))
        },
        "the page": {file.name: on_the_page(file) for file in files},
        "Python": {name: predictor.predict(photo) for name, photo in pixels.items()},
        "a video": {found.picture.file.name: found.faces for found in predict_pictures(predictor, stills)},
    }
    assert_same(
        {
            way: {name: [[*face.box, *face.probabilities.values()] for face in faces] for name, faces in found.items()}
            for way, found in ways.items()
        }
    )
