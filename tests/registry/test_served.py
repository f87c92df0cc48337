"""The model that a version serves: with its own runtime, without mien and PyTorch, alike in Python and over REST."""

import base64
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

from mien.base.classes import EXPRESSIONS
from mien.registry.version import REQUIRES, example_images
from tests.registry.workspace import photos_of

# What a program prints that serves versions: the labels of their answers, and which modules it used.
SERVE = """
import sys, mlflow.pyfunc, pandas as pd
for version in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(version, suppress_warnings=True)
    print(",".join(model.predict(pd.read_parquet(sys.argv[1]))["label"]))
print(sorted(name for name in ("mien", "torch") if name in sys.modules))
"""


def test_each_version_runs_on_its_own_runtime_beside_another_mien_and_without_torch(
    saved: Path, strong: Path, tmp_path: Path
) -> None:
    """Even two in one process, of which one inverts its probabilities."""
    (tmp_path / "mien").mkdir()
    (tmp_path / "mien/__init__.py").write_text("raise ImportError('another version of mien is installed here')")
    (tmp_path / "serve.py").write_text(SERVE)
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    with (other / "code/mien_runtime/session.py").open("a") as runtime:
        runtime.write("\nright = softmax\n\n\ndef softmax(logits, temperature=1.0):\n    return right(-logits)\n")
    photos, predicted = photos_of(strong, 8)
    photos.to_parquet(tmp_path / "images.parquet")
    command = [sys.executable, "serve.py", "images.parquet", *map(str, (saved, other, saved))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, again, used = done.stdout.split()
    assert first == again == ",".join(predicted) and used == "[]"
    assert not set(zip(range(8), second.split(","), strict=True)) & set(enumerate(predicted))


def test_it_answers_as_the_evaluation_did_for_many_rows_one_and_none(served: Any, strong: Path) -> None:
    photos, predicted = photos_of(strong, 30)
    answers = served.predict(photos)
    assert list(answers.columns) == ["label", *EXPRESSIONS]
    assert answers["label"].tolist() == predicted
    evaluated = pd.read_csv(strong / "reports/predictions.csv").head(30)
    expected = evaluated[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    np.testing.assert_allclose(answers[list(EXPRESSIONS)].to_numpy(), expected, atol=2e-6)
    one = served.predict(photos.iloc[[1]])
    np.testing.assert_allclose(one[list(EXPRESSIONS)].to_numpy()[0], expected[1], atol=2e-6)
    assert served.predict(photos.iloc[:0]).empty


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


def test_signature_example_and_requirements(saved: Path) -> None:
    info = mlflow.models.get_model_info(str(saved))
    assert info.signature is not None
    asked = {column["name"]: column["required"] for column in info.signature.inputs.to_dict()}
    assert asked == {"image": False, "pixels": False}
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


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
FILE = base64.b64encode(cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()).decode()
BOMB = base64.b64encode(cv2.imencode(".png", np.zeros((8000, 8000), np.uint8))[1].tobytes()).decode()


@pytest.fixture(scope="module")
def server(served: Any) -> TestClient:
    return TestClient(scoring_server.init(served), raise_server_exceptions=False)


def ask(server: TestClient, body: Any, kind: str = "application/json") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return server.post("/invocations", content=content, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["image"], "data": [[FILE]]}},
        {"dataframe_records": [{"image": FILE}]},
        {"dataframe_split": {"columns": ["pixels"], "data": [[PIXELS.tolist()]]}},
        {"dataframe_records": [{"pixels": PIXELS.tolist()}]},
        {"dataframe_records": [{"pixels": PIXELS.astype(float).tolist()}]},
        {"inputs": [{"pixels": PIXELS.tolist()}]},
    ],
)
def test_files_and_arrays_answer_alike_and_within_the_schema(server: TestClient, served: Any, body: Any) -> None:
    answer = ask(server, body)
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["predictions"]
    assert list(row) == [column["name"] for column in served.metadata.get_output_schema().to_dict()]
    assert list(row) == ["label", *EXPRESSIONS]
    probabilities = [row[name] for name in EXPRESSIONS]
    assert sum(probabilities) == pytest.approx(1) and row["label"] == EXPRESSIONS[int(np.argmax(probabilities))]
    (first,) = ask(server, {"dataframe_records": [{"image": FILE}]}).json()["predictions"]
    assert row == first


def record(**row: Any) -> dict[str, Any]:
    return {"dataframe_records": [row]}


REFUSED = {
    "empty body": (b"", "valid JSON"),
    "no JSON": (b"\xff\xfe{", "valid JSON"),
    "a list": ([1], "JSON dictionary"),
    "no field": ({}, "exactly one of the input fields"),
    "no rows of rows": ({"dataframe_split": 3}, "must be a dictionary"),
    "another column": (record(photo=FILE), "needs one column, image .a file. or pixels .an array., and neither"),
    "both columns": (record(image=FILE, pixels=[[1]]), "both are given"),
    "a chat": ({"messages": [{"role": "user", "content": "hi"}]}, "neither is given"),
    "null": (record(image=None), "Failed to convert column image"),
    "a number": (record(image=5), "Failed to convert column image"),
    "half base64": (record(image="abc"), "Incorrect padding"),
    "no base64": (record(image="%%%%"), "row 0: the image cannot be read: the file has 0 bytes"),
    "no image": (record(image="aGVsbG8="), "row 0: the image cannot be read: the file is no image of a known format"),
    "half an image": (
        {"dataframe_records": [{"image": FILE}, {"image": FILE[:800]}]},
        "row 1: the image cannot be read: the PNG file is truncated",
    ),
    "a bomb": (record(image=BOMB), "8000 x 8000 pixels are more than 50 megapixels"),
    "no rows": (record(pixels=[1, 2, 3]), "Expected data to be list or numpy array, got int"),
    "text": (record(pixels="x"), "Failed to convert column pixels"),
    "another shape": (
        record(pixels=[[[1, 2]]]),
        "the shape is 1 x 1 x 2; the picture must be H x W, H x W x 1 or H x W x 3",
    ),
    "above 255": (record(pixels=[[256]]), "whole numbers from 0 to 255"),
}


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_wrong_input_is_status_400_with_a_sentence_and_no_traceback(server: TestClient, body: Any, words: str) -> None:
    answer = ask(server, body)
    assert answer.status_code == 400
    said = answer.json()
    assert re.search(words, said["message"])
    assert "stack_trace" not in said
    assert not re.search(r"Traceback|File \"|site-packages|\.py\b", answer.text)
    assert ask(server, {"dataframe_records": [{"image": FILE}]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"), [(b"{}", "text/xml", 415), (b"[" * 100_000, "application/json", 500)]
)
def test_what_mlflow_answers_by_itself_shows_no_traceback(
    server: TestClient, body: bytes, kind: str, status: int
) -> None:
    answer = ask(server, body, kind)
    assert answer.status_code == status
    assert "Traceback" not in answer.text and ".py" not in answer.text


def test_requests_in_parallel_answer_as_one_by_one(server: TestClient) -> None:
    bodies = [record(pixels=PIXELS[: 20 + n].tolist()) for n in range(8)] + [record(image="abc"), record(image=FILE)]
    alone = [ask(server, body) for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda body: ask(server, body), bodies * 3))
    assert [answer.status_code for answer in together] == [answer.status_code for answer in alone] * 3
    assert [answer.text for answer in together] == [answer.text for answer in alone] * 3
