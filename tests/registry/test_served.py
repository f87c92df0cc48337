"""The served model: alike in process, after loading and over REST."""

import ast
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

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.registry.candidate import PACKAGE, SERVING
from mien.registry.version import REQUIRES, example_images
from tests.registry.workspace import photos_of

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "mlflow"}  # MLflow brings PyYAML


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
    with pytest.raises(UserError, match=r"64 x 64 pixels are more than 0\.001 megapixels"):
        small.predict(images)
    light = mlflow.pyfunc.load_model(str(saved), suppress_warnings=True, model_config={"max_megabytes": 0.0001})
    with pytest.raises(UserError, match=r"row 0: the image cannot be read: more than 0\.0001 megabytes"):
        light.predict(images)
    with pytest.raises(UserError, match="max_megabytes must be a number above 0, not 'much'"):
        mlflow.pyfunc.load_model(str(saved), suppress_warnings=True, model_config={"max_megabytes": "much"})


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_an_unreadable_image_is_named_by_its_row(served: Any, bad: bytes) -> None:
    images = example_images()
    images.loc[1, "image"] = bad
    with pytest.raises(UserError, match="row 1: the image cannot be read"):
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


def test_no_pickle_is_in_it(saved: Path) -> None:
    assert not list(saved.rglob("*.pkl"))
    assert "python_model" not in yaml.safe_load((saved / "MLmodel").read_text())["flavors"]["python_function"]
    assert (saved / "artifacts/model/model.safetensors").exists()


def test_identity_and_requirements_cover_the_serving_code(saved: Path, tmp_path: Path) -> None:
    """Loaded in a process of its own, it runs on its own copy of mien, and on no file that its identity forgets."""
    script = tmp_path / "load.py"
    script.write_text(
        "import sys, mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'mien'))\n"
    )
    out = subprocess.run(
        [sys.executable, str(script), str(saved)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    files = [
        Path(line).resolve().relative_to((saved / "code/mien").resolve()).as_posix() for line in out.stdout.split()
    ]
    without_arithmetic = {"errors.py", "records.py", "sources/table.py"}
    forgotten = [f for f in files if not f.endswith("__init__.py") and not f.startswith(SERVING)]
    assert set(forgotten) <= without_arithmetic
    imported = {name for file in files for name in _third_party(PACKAGE / file)}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= set(REQUIRES)


def _third_party(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"mien", ""}
