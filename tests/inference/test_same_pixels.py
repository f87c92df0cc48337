"""One picture has one answer, whoever asks: in training, on the command line, over REST, in a file, on the page."""

import io
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
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mien.app.answers import Answerer
from mien.app.limits import AppConfig
from mien.app.turns import Refused
from mien.base.classes import EXPRESSIONS
from mien.crop.cropping import crop_faces
from mien.crop.packed import open_faces
from mien.crop.selection import CropConfig
from mien.inference.address import MeasuredModel
from mien.inference.current import CurrentModel
from mien.inference.export import export_onnx, generated_faces
from mien.inference.predictor import FacePrediction, Picture, Predictor, predict_pictures
from mien.runtime.decode import ORIENTATION
from mien.runtime.spec import SPEC_FILE, Spec
from mien.sources.faces import faces_table
from mien.sources.photos import FolderPhotos
from tests.inference.conftest import portrait, write_model
from tests.inference.test_without_torch import PAGE

SIZE: Final = 48
SHARP: Final = 0.05  # temperature: a pixel that differs shows in the answer
STORED: Final = {  # by EXIF orientation: how a camera that was held so stores an upright photo
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
LOSSLESS: Final = ("turned.png", "turned late.png", "turned animation.png", "turned.tiff", "plain.bmp", "plain.ppm")
# `cv2.imread` turns no animation, and fails on a TIFF that is to be turned; `cv2.imdecode` does not.
BEYOND_IMREAD: Final = {"turned animation.png", "turned animation.webp", "turned.tiff"}
REFUSED: Final = {"floats.tif", "half.jpg", "half.png", "empty.jpg", "page.jpg"}


def encoded(photo: np.ndarray, form: str, mode: str = "", orientation: int = 0, **options: Any) -> bytes:
    """A photo in a mode of Pillow's; with an orientation, as a camera that was held so stores it."""
    image, file = Image.fromarray(photo), io.BytesIO()
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
        image = image.transpose(STORED[orientation]) if orientation in STORED else image
    image = image.convert(mode) if mode else image
    if options.pop("animated", False):
        options |= {"save_all": True, "append_images": [image.point(lambda value: 255 - value)]}
    image.save(file, form, **options)
    return file.getvalue()


def late_exif(png: bytes) -> bytes:
    """A PNG with its EXIF moved behind its pixels."""
    at = png.index(b"eXIf") - 4
    after = at + 12 + int.from_bytes(png[at : at + 4], "big")
    end = png.rindex(b"IEND") - 4
    return png[:at] + png[after:end] + png[at:after] + png[end:]


def awkward(photo: np.ndarray) -> dict[str, bytes]:
    """A photo (H, W, 3) RGB in the forms that people have, and files that are none; by names of files."""
    bgr, grey = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    xmp = '<rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF>'  # Pillow heeds it, viewers do not
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    whole = encoded(photo, "JPEG", quality=90)
    return {
        **{f"orientation {n}.jpg": encoded(photo, "JPEG", orientation=n) for n in range(1, 10)},
        **{f"turned.{form.lower()}": encoded(photo, form, orientation=6) for form in ("PNG", "WEBP", "TIFF", "MPO")},
        "turned late.png": late_exif(encoded(photo, "PNG", orientation=8)),
        "turned animation.png": encoded(photo, "PNG", orientation=6, animated=True),
        "turned animation.webp": encoded(photo, "WEBP", orientation=6, animated=True),
        "xmp.jpg": encoded(photo, "JPEG", xmp=xmp.encode()),
        "xmp.png": encoded(photo, "PNG", pnginfo=info),
        "plain.jpg": whole,
        "coarse.jpg": encoded(photo, "JPEG", quality=20),
        "fine.jpg": encoded(photo, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": encoded(photo, "JPEG", progressive=True),
        "tail.jpg": whole + b"bytes after the end",
        **{f"{mode}.jpg": encoded(photo, "JPEG", mode) for mode in ("L", "CMYK")},
        "plain.png": encoded(photo, "PNG"),
        **{f"{mode}.png": encoded(photo, "PNG", mode) for mode in ("L", "P", "1", "LA", "RGBA")},
        "transparent.png": encoded(photo, "PNG", "P", transparency=3),
        "sixteen.png": cv2.imencode(".png", bgr.astype(np.uint16) * 257)[1].tobytes(),
        "grey sixteen.png": cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes(),
        **{f"animation.{form.lower()}": encoded(photo, form, animated=True) for form in ("PNG", "GIF", "WEBP", "TIFF")},
        "palette.gif": encoded(photo, "GIF", "P"),
        "lossy.webp": encoded(photo, "WEBP", quality=80),
        "transparent.webp": encoded(photo, "WEBP", "RGBA", lossless=True),
        "plain.bmp": encoded(photo, "BMP"),
        "palette.bmp": encoded(photo, "BMP", "P"),
        "packed.tif": encoded(photo, "TIFF", compression="tiff_lzw"),
        "cmyk.tif": encoded(photo, "TIFF", "CMYK"),
        "sixteen.tif": cv2.imencode(".tif", bgr.astype(np.uint16) * 257)[1].tobytes(),
        "plain.ppm": encoded(photo, "PPM"),
        "grey.pgm": encoded(grey, "PPM"),
        "floats.tif": encoded(grey.astype(np.float32), "TIFF"),
        "half.jpg": whole[: len(whole) // 2],
        "half.png": encoded(photo, "PNG")[:900],
        "empty.jpg": b"",
        "page.jpg": b"<html>404</html>" * 9,
    }


def written(folder: Path, photo: np.ndarray) -> list[Path]:
    """That photo's files, and the real photos where they are here."""
    folder.mkdir()
    for name, data in awkward(photo).items():
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
    """In training, `mien predict --cropped`, by the exported file, by the program of docs/ONNX.md, and over REST."""
    photo, box = portrait()
    files = written(tmp_path / "faces", photo[box.top : box.bottom, box.left : box.right])
    names = [file.name for file in files]
    train = write_model(tmp_path / "build", size=SIZE, colour=colour, temperature=SHARP)
    predictor = Predictor.load(str(train))
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
            "the exported file": cropped(Predictor.load(str(exported))),
            "REST": {file.name: over_rest(file) for file in files},
            "training": {name: [] for name in names} | {name: [row] for name, row in learnt},
            "the program": {f.name: by_the_program(f) for f in files if f.name not in REFUSED | BEYOND_IMREAD},
        }
    )


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_whole_photo_has_one_answer(colour: str, tmp_path: Path) -> None:
    """On the command line, on the page, from Python with OpenCV's pixels, and as a still of a video."""
    files = written(tmp_path / "photos", portrait()[0])
    train = str(write_model(tmp_path / "build", size=SIZE, colour=colour, temperature=SHARP))
    predictor = Predictor.load(train)
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
