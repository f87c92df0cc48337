"""`import mien`: photos of every kind, the model that answers, frames, and the code of docs/reference/python.md."""

import contextlib
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mien
from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.inference.address import ModelAddress
from mien.inference.default_model import load_default
from mien.inference.interface import _loaded
from tests.cli.conftest import Command, process
from tests.inference.conftest import write_model
from tests.inference.videos import scene, write_video

__all__ = ["process"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, photo_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of any checkout, with a photo of one face."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_file, tmp_path / "photo.jpg")
    _loaded.cache_clear()
    return tmp_path


def test_photos_of_every_kind_get_the_answer_of_the_command_line(here: Path, process: Command) -> None:
    file = here / "photo.jpg"
    rgb = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    kinds = [str(file), file, file.read_bytes(), Image.open(file), rgb, opaque, Image.fromarray(opaque)]
    (said,) = json.loads(process("predict", file, "--json", cwd=here).out)
    assert (said["model"], said["version"]) == ("packaged (FER2013)", None)
    for faces in mien.predict(kinds):
        (face,) = faces
        assert face.to_dict() == {
            key: said[key] for key in ("box", "score", "label", "unsure", "quality", "probabilities")
        }
        assert faces.model == said["model"]


def test_grey_turned_and_transparent_photos_are_seen_as_their_files(here: Path) -> None:
    rgb = cv2.imread("photo.jpg", cv2.IMREAD_COLOR_RGB)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    turned = Image.fromarray(np.rot90(rgb))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    half = np.dstack([rgb, np.full(rgb.shape[:2], 90, np.uint8)])
    pale = (rgb * (90 / 255) + 255 * (165 / 255)).round().astype(np.uint8)
    a, b = mien.predict([grey, grey[..., None]])
    assert a == b and len(a) == 1
    assert mien.predict(Image.open(stream)).photo.shape == rgb.shape
    assert mien.predict(Image.open(stream)) == mien.predict(rgb)
    assert np.abs(mien.predict(half).photo.astype(int) - pale).max() <= 1
    wide = Image.fromarray(grey.astype(np.uint16) * 256)
    assert mien.predict(wide) == a and mien.predict(wide.convert("I").convert("I;16B")) == a
    large = Image.fromarray(rgb).resize((6000, 3000))  # 54 MB of pixels, which no file needs
    assert mien.predict(large).photo.shape == (3000, 6000, 3)


def test_an_answer_keeps_the_pixels_that_it_was_given_for(here: Path) -> None:
    mine = cv2.imread("photo.jpg", cv2.IMREAD_COLOR_RGB)
    faces = mien.predict(mine)
    mine[:] = 0
    assert faces.photo.any() and np.asarray(faces[0].plot()).mean() > 20


def test_a_pil_image_that_cannot_be_read_is_named(here: Path) -> None:
    whole = (here / "photo.jpg").read_bytes()
    (here / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.jpg: cannot be used: image file is truncated"):
        mien.predict(Image.open(b"half.jpg"))
    with pytest.raises(UserError, match="photo: cannot be used: it has no pixels"):
        mien.predict(Image.new("RGB", (0, 3)))


def test_a_model_is_loaded_once_for_threads_and_anew_in_another_folder(here: Path) -> None:
    (here / "params.yaml").write_text("data: sample\n")
    with ThreadPoolExecutor(4) as threads:
        assert len({tuple(face.label for face in faces) for faces in threads.map(mien.predict, ["photo.jpg"] * 8)}) == 1
    assert _loaded.cache_info().misses == 1
    for name in ("packaged", "packaged-compact"):
        (here / name).mkdir()
        shutil.copy(ModelAddress.parse(name).path, here / name / "x.onnx")
    answers = []
    for name in ("packaged", "packaged-compact"):
        with contextlib.chdir(here / name):
            answers.append(mien.predict("../photo.jpg", model="x.onnx"))
    assert answers[0] != answers[1]


def test_answers_can_be_written_and_drawn(here: Path) -> None:
    faces = mien.predict("photo.jpg")
    assert json.loads(json.dumps(faces.to_dict()))["faces"][0]["label"] == faces[0].label
    plain = Image.fromarray(faces.photo)
    drawn, alone = faces.plot(), faces[0].plot()
    assert min(drawn.size) >= min(plain.size) and drawn == alone
    by = drawn.width // plain.width
    assert np.any(np.asarray(drawn) != np.asarray(plain.resize(drawn.size, Image.Resampling.NEAREST))) and by >= 1
    empty = mien.predict(np.full((200, 300, 3), 90, np.uint8))
    assert (list(empty), empty.plot().width >= 300) == ([], True)


@pytest.mark.parametrize(
    ("photo", "kind", "says"),
    [
        ("gone.jpg", UserError, "gone.jpg: cannot be read: No such file or directory."),
        (b"no photo", UserError, "photo: cannot be used: the file is no image"),
        (np.zeros((9, 9, 3)), ValueError, r"of uint8; this is \(9, 9, 3\) float64"),
        (np.zeros((9, 9, 2), np.uint8), ValueError, r"this is \(9, 9, 2\) uint8"),
        (np.zeros((0, 9), np.uint8), ValueError, r"this is \(0, 9\) uint8"),
        (7, TypeError, "a photo is a path, bytes, a NumPy array or a PIL image, not int"),
    ],
)
def test_what_is_no_photo_is_refused(here: Path, photo: object, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        mien.predict(photo)  # type: ignore[call-overload]


def test_a_champion_takes_over_and_a_version_without_an_alias_is_named(
    two_champions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two_champions)
    assert mien.load().model.says == "mien-tiny version 2"
    from mien.tracking.store import connect

    connect().delete_registered_model_alias("mien-tiny", "champion")
    told: list[str] = []
    assert load_default(tell=told.append).name == "packaged (FER2013)"
    assert "its versions are 1, 2; `mien rollback`" in told[0] and "the model in the package answers" in told[0]
    with pytest.raises(UserError, match="its versions are 1, 2"):
        mien.load("models:/mien-tiny@champion")


def test_the_packaged_files_are_the_measured_ones_and_answer_the_readme(here: Path, process: Command) -> None:
    measured = json.loads((ROOT / "benchmarks/results/packaged.json").read_text())
    for address, most in (("packaged", 5e6), ("packaged-compact", 1e6)):
        content = ModelAddress.parse(address).path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content) <= most) == (measured[address]["sha256"], True)
        model = mien.load(address).model
        assert (model.spec.classes, model.drawn, "FER2013" in model.card) == (EXPRESSIONS, False, True)
    readme = (ROOT / "README.md").read_text()
    answer = re.search(r"\$ mien predict (docs/img/\S+)\n(.*?)```", readme, re.S)
    assert answer
    shutil.copytree(ROOT / "docs/img", here / "docs/img")
    done = process("predict", answer[1], cwd=here)
    numbers = [re.findall(r"\d+", text) for text in (done.out, answer[2])]
    assert done.out.split()[:9] == answer[2].split()[:9] and len(numbers[0]) == len(numbers[1])
    assert all(abs(int(a) - int(b)) <= 1 for a, b in zip(*numbers, strict=True))  # processors round differently


def test_in_a_checkout_where_nothing_is_registered_the_package_answers(here: Path) -> None:
    (here / "params.yaml").write_text("data: sample\n")
    assert [mien.load(name).model.name for name in (None, "packaged-compact")] == [
        "packaged (FER2013)",
        "packaged-compact (FER2013)",
    ]
    assert not (here / "mlruns").exists()
    assert mien.load().detector.name == "YuNet"


def test_a_stream_gives_what_the_annotated_video_shows(here: Path, process: Command) -> None:
    import pandas as pd

    write_video(here / "clip.mp4", [scene(left, two=left > 4) for left in range(11)])
    assert process("video", "clip.mp4", "out.mp4", cwd=here).code == 0
    table = pd.read_csv(here / "out.timeline.csv")
    rows = [
        [frame, number, face.label, *face.box]
        for frame, shot in enumerate(mien.stream("clip.mp4"))
        for number, face in zip(shot.tracks, shot.faces, strict=True)
    ]
    assert rows == table[["frame", "track", "label", "top", "left", "right", "bottom"]].to_numpy().tolist()
    for number in (97, -1):
        with pytest.raises(UserError, match=f"there is no camera {number}"):
            next(iter(mien.stream(number)))
    with pytest.raises(ValueError, match="smoothing must be a number of seconds, 0 or more, not -1"):
        next(iter(mien.stream("clip.mp4", smoothing=-1)))


def test_what_is_doubtful_is_warned_of(here: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 120, 160, 3), np.uint8)
    write_video(here / "clip.mp4", noise, options={"movflags": "faststart"})
    clip = (here / "clip.mp4").read_bytes()
    (here / "half.mp4").write_bytes(clip[: len(clip) * 2 // 3])
    with pytest.warns(UserWarning, match=r"half\.mp4: is damaged or breaks off"):
        assert 0 < len(list(mien.stream("half.mp4"))) < 20
    with pytest.warns(UserWarning, match="learnt from drawings"):
        mien.load(write_model(here / "build", drawn=True))


def test_importing_mien_imports_nothing_heavy() -> None:
    code = "import mien, sys; print(*{'numpy', 'cv2', 'torch', 'mlflow', 'pydantic'} & set(sys.modules)); dir(mien)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
    assert {"predict", "load", "stream", "Faces"} <= set(dir(mien))
    with pytest.raises(AttributeError, match="no attribute 'predicts'"):
        mien.predicts  # type: ignore[attr-defined] # noqa: B018


def test_the_code_of_the_docs_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(here / "clip.mp4", [scene(left, two=left > 4) for left in range(11)])
    write_model(here / "build")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/reference/python.md").read_text(), re.S):
        exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\w+ \d+% Box\(top=.*\)", printed[0]) and "packaged-compact (FER2013)" in printed
    assert (here / "annotated.png").exists()
