"""Models, drawn photos and videos to predict on."""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

from mien.evaluation.other_data import MeasuredModel
from mien.inference.address import load_model_of, open_measured
from mien.inference.annotation import overlap
from mien.inference.classifier import LoadedModel
from mien.inference.export import Exported, ExportFaces, export_onnx, own_faces
from mien.inference.picture import Picture
from mien.inference.predictor import Predictor
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.weights import save_model
from mien.runtime.cut import Box
from mien.runtime.spec import CutSpec
from mien.sources.detect import CascadeDetector
from tests.stores import once
from tools.sample.photo import draw_photo


class Export(NamedTuple):
    """The workspace, what was exported from it, on which faces, and what came of it."""

    root: Path
    measured: MeasuredModel[LoadedModel]
    faces: ExportFaces
    float32: Exported
    int8: Exported


def write_model(folder: Path, *, drawn: bool = False, temperature: float | None = 2.0, **cut: Any) -> Path:
    """A small network with the weights that it is born with, in folders as the stages train and evaluate leave them."""
    train, evaluate = folder / "train", folder / "evaluate"
    spec = ModelSpec(
        dataclasses.asdict(ModelConfig("resnet", width=8)), CutSpec(**{"size": 48, "colour": "grey", **cut})
    )
    train.mkdir(parents=True)
    evaluate.mkdir()
    torch.manual_seed(0)
    network = spec.build()
    save_model(network, spec, train)
    # An export takes seconds, and how a face is cut is no matter of the graph but for the face's shape.
    exported = once(
        "-".join(map(str, ("graph", *spec.cut.shape))),
        lambda file: export_graph(network, spec, file, np.zeros((1, *spec.cut.shape), np.uint8)),
    )
    shutil.copy(exported, train / "model.onnx")
    (train / "lineage.json").write_text(json.dumps({"title": "drawn sample", "drawn": drawn}))
    if temperature is not None:
        (evaluate / "temperature.json").write_text(json.dumps({"temperature": temperature}))
    return train


def jpeg(photo: np.ndarray, quality: int = 95) -> bytes:
    """A photo (H, W, 3) RGB or (H, W) grey as a JPEG file."""
    pixels = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR) if photo.ndim == 3 else photo
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def pixels_of(predictor: Predictor, data: bytes) -> np.ndarray:
    """A photo's pixels as the predictor takes them."""
    return Picture(Path("photo"), data=data).pixels(predictor.settings)


@functools.cache
def portraits(n: int = 20) -> list[tuple[np.ndarray, Box]]:
    """Drawn photos (H, W, 3) RGB of one person each, and where the face was drawn."""
    drawn = [draw_photo(np.random.default_rng([3, number]), [number % 7]) for number in range(n)]
    return [(photo, Box(face.box[0], face.box[1], face.box[3], face.box[2])) for photo, (face,) in drawn]


@functools.cache
def portrait() -> tuple[np.ndarray, Box]:
    """The first drawn photo in which the cascade finds the one face that is there, and nothing else."""
    detector = CascadeDetector()
    for photo, box in portraits():
        found = detector.detect(photo)
        if len(found) == 1 and overlap(found[0].box, box) > 0.4:
            return photo, box
    pytest.fail("the cascade finds none of the drawn faces")


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    """A photo with a face that the cascade finds."""
    file = tmp_path / "portrait.jpg"
    file.write_bytes(jpeg(portrait()[0]))
    return file


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(load_model_of(str(write_model(tmp_path / "build"))))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video of so many frames in which the portrait moves to the right."""
    from tests.inference.videos import scene, write_video  # needs PyAV

    def video(n: int = 8, name: str = "clip.mp4", **options: Any) -> Path:
        return write_video(tmp_path / name, [scene(4 * (i % 40)) for i in range(n)], **options)

    return video


@pytest.fixture(scope="session")
def exported(strong: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The strong model, exported in float32 and int8; nobody changes it."""
    root = Path(shutil.copytree(strong, tmp_path_factory.mktemp("export") / "workspace"))
    (root / "conf/data").mkdir(parents=True)
    (root / "conf/data/tiny.yaml").write_text("title: bars\ndrawn: true\n")
    measured = open_measured(str(root / "build/train"))
    faces = own_faces(measured, root / "build/crop")
    assert faces is not None
    both = [export_onnx(measured, faces, root / f"{kind}.onnx", int8=kind == "int8") for kind in ("float32", "int8")]
    return Export(root, measured, faces, *both)
