"""The served model: alike in process, after loading and over REST."""

import ast
import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from mien.errors import UserError
from mien.expressions import EXPRESSIONS
from mien.registry.candidate import PACKAGE, SERVING
from mien.registry.log_model import REQUIRES, example_images, save_served
from mien.registry.settings import RegisterConfig
from tests.registry.test_register import registered
from tests.registry.workspace import candidate_of, photos_of

DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "mlflow"}  # MLflow brings PyYAML


@pytest.fixture(scope="module")
def saved(strong: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The strong model as MLflow serves it."""
    folder = tmp_path_factory.mktemp("served") / "model"
    save_served(candidate_of(strong), folder)
    return folder


@pytest.fixture(scope="module")
def served(saved: Path) -> Any:
    """The same, loaded."""
    return mlflow.pyfunc.load_model(str(saved))


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


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff\xe0 half a JPEG"])
def test_an_unreadable_image_is_named_by_its_row(served: Any, bad: bytes) -> None:
    images = example_images()
    images.loc[1, "image"] = bad
    with pytest.raises(UserError, match="row 1: the image cannot be read"):
        served.predict(images)


def test_signature_example_and_requirements(saved: Path) -> None:
    info = mlflow.models.get_model_info(str(saved))
    assert info.signature is not None
    assert info.signature.inputs.to_dict() == [{"type": "binary", "name": "image", "required": True}]
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


@pytest.mark.slow
def test_rest_and_python_answer_alike(checkout: Path, strong: Path, rules: RegisterConfig) -> None:
    """`mlflow models serve` of the champion, asked with base64 as a stranger would."""
    registered(strong, rules)
    photos, predicted = photos_of(strong, 8)
    python = mlflow.pyfunc.load_model("models:/mien-tiny@champion").predict(photos)
    with _server("models:/mien-tiny@champion") as url:
        rest = _ask(url, list(photos["image"]))
        with pytest.raises(urllib.error.HTTPError) as failure:
            _ask(url, [photos["image"][0], b"no image"])
    assert [row["label"] for row in rest] == predicted
    answers = pd.DataFrame(rest)[list(EXPRESSIONS)].to_numpy()
    np.testing.assert_allclose(answers, python[list(EXPRESSIONS)].to_numpy(), atol=1e-6)
    assert failure.value.code == 400
    assert "row 1: the image cannot be read" in json.load(failure.value)["message"]


@contextmanager
def _server(model: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        model,
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(command, env={**os.environ, "PATH": path}, start_new_session=True)
    try:
        _wait(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not come up")


def _ask(url: str, images: list[bytes]) -> list[dict[str, Any]]:
    rows = [[base64.b64encode(image).decode()] for image in images]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        predictions: list[dict[str, Any]] = json.load(answer)["predictions"]
    return predictions
