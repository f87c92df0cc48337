"""The model that a version serves: with its own runtime, without mien and PyTorch, alike in Python and over REST."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException

from mien.base.classes import EXPRESSIONS
from mien.registry.version import REQUIRES, example_images
from tests.registry.workspace import photos_of

# What a program prints that serves a version: the labels of its answers, and which modules it used.
SERVE = """
import sys, mlflow.pyfunc, pandas as pd
for version in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(version, suppress_warnings=True)
    print(",".join(model.predict(pd.read_parquet(sys.argv[1]))["label"]))
print(sorted(name for name in ("mien", "torch") if name in sys.modules))
"""


def serve(folder: Path, images: pd.DataFrame, *versions: Path) -> list[str]:
    """What SERVE prints in a folder where every import of an installed mien fails."""
    (folder / "mien").mkdir()
    (folder / "mien/__init__.py").write_text("raise ImportError('another version of mien is installed here')")
    (folder / "serve.py").write_text(SERVE)
    images.to_parquet(folder / "images.parquet")
    command = [sys.executable, "serve.py", "images.parquet", *map(str, versions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_is_served_beside_another_mien_and_without_torch(saved: Path, strong: Path, tmp_path: Path) -> None:
    photos, predicted = photos_of(strong, 8)
    assert serve(tmp_path, photos, saved) == [",".join(predicted), "[]"]


def test_each_version_runs_on_its_own_runtime(saved: Path, strong: Path, tmp_path: Path) -> None:
    """Even two in one process, of which one inverts its probabilities."""
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    with (other / "code/mien_runtime/session.py").open("a") as runtime:
        runtime.write("\nright = softmax\n\n\ndef softmax(logits, temperature=1.0):\n    return right(-logits)\n")
    photos, predicted = photos_of(strong, 8)
    first, second, again, _ = serve(tmp_path, photos, saved, other, saved)
    assert first == again == ",".join(predicted)
    assert not set(zip(range(8), second.split(","), strict=True)) & set(enumerate(predicted))


def test_it_answers_as_the_evaluation_did(served: Any, strong: Path) -> None:
    photos, predicted = photos_of(strong, 30)
    answers = served.predict(photos)
    assert list(answers.columns) == ["label", *EXPRESSIONS]
    assert answers["label"].tolist() == predicted
    evaluated = pd.read_csv(strong / "reports/predictions.csv").head(30)
    expected = evaluated[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    np.testing.assert_allclose(answers[list(EXPRESSIONS)].to_numpy(), expected, atol=2e-6)


def test_one_row_many_rows_and_none(served: Any, strong: Path) -> None:
    photos, _ = photos_of(strong, 3)
    many = served.predict(photos)
    one = served.predict(photos.iloc[[1]])
    np.testing.assert_allclose(one[list(EXPRESSIONS)].to_numpy()[0], many[list(EXPRESSIONS)].to_numpy()[1], atol=1e-6)
    assert served.predict(photos.iloc[:0]).empty


def test_jpeg_grey_and_larger_photos_are_taken(served: Any) -> None:
    grey = np.full((90, 60), 120, np.uint8)
    files = [cv2.imencode(kind, grey)[1].tobytes() for kind in (".jpg", ".png", ".bmp")]
    answers = served.predict(pd.DataFrame({"image": files}))
    np.testing.assert_allclose(answers[list(EXPRESSIONS)].sum(axis=1), 1)


def test_an_array_answers_as_its_file_does(served: Any) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for pixels in (colour, colour[..., 0], colour[..., :1]):
        file = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()
        expected = served.predict(pd.DataFrame({"image": [file]}))
        for given in (pixels, pixels.tolist()):
            pd.testing.assert_frame_equal(served.predict(pd.DataFrame({"pixels": [given]})), expected)


def test_who_serves_it_sets_how_large_an_image_may_be(saved: Path) -> None:
    images = example_images()
    small = mlflow.pyfunc.load_model(str(saved), suppress_warnings=True, model_config={"max_megapixels": 0.001})
    with pytest.raises(MlflowException, match=r"64 x 64 pixels are more than 0\.001 megapixels"):
        small.predict(images)
    light = mlflow.pyfunc.load_model(str(saved), suppress_warnings=True, model_config={"max_megabytes": 0.0001})
    with pytest.raises(MlflowException, match=r"row 0: the image cannot be read: more than 0\.0001 megabytes"):
        light.predict(images)
    with pytest.raises(MlflowException, match="max_megabytes must be a number above 0, not 'much'"):
        mlflow.pyfunc.load_model(str(saved), suppress_warnings=True, model_config={"max_megabytes": "much"})


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_an_unreadable_image_is_named_by_its_row(served: Any, bad: bytes) -> None:
    images = example_images()
    images.loc[1, "image"] = bad
    with pytest.raises(MlflowException, match="row 1: the image cannot be read"):
        served.predict(images)


def test_signature_example_and_requirements(saved: Path) -> None:
    info = mlflow.models.get_model_info(str(saved))
    assert info.signature is not None
    assert [(column["name"], column["required"]) for column in info.signature.inputs.to_dict()] == [
        ("image", False),
        ("pixels", False),
    ]
    assert [column["name"] for column in info.signature.outputs.to_dict()] == ["label", *EXPRESSIONS]
    assert len(mlflow.models.Model.load(str(saved)).load_input_example(str(saved))) >= 2
    pins = (saved / "requirements.txt").read_text().split()
    assert [pin.split("==")[0] for pin in pins] == list(REQUIRES)
    assert all("+" not in pin for pin in pins)


def test_it_holds_graph_weights_and_descriptions_and_no_pickle(saved: Path) -> None:
    assert sorted(file.name for file in (saved / "artifacts/model").iterdir()) == [
        *("card.md", "lineage.json", "model.json", "model.onnx", "model.safetensors"),
        *("spec.json", "training_faces.parquet"),
    ]
    assert not list(saved.rglob("*.pkl"))
    assert "python_model" not in yaml.safe_load((saved / "MLmodel").read_text())["flavors"]["python_function"]
