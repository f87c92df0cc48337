"""The scoring server's own code around the served model, in this process: what it takes, and what it refuses."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

from mien.base.classes import EXPRESSIONS

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
    "no image": (record(image="aGVsbG8="), "row 0: the image cannot be read: no image of a known format"),
    "half an image": (record(image=FILE[:800]), "row 0: the image cannot be read: the PNG file breaks off"),
    "a bomb": (record(image=BOMB), "8000 x 8000 pixels are more than 50 megapixels"),
    "no rows": (record(pixels=[1, 2, 3]), "Expected data to be list or numpy array, got int"),
    "text": (record(pixels="x"), "Failed to convert column pixels"),
    "another shape": (record(pixels=[[[1, 2]]]), "the shape is 1 x 1 x 2; it must be H x W, H x W x 1 or H x W x 3"),
    "rows of unequal length": (record(pixels=[[1, 2], [3]]), "the rows are not equally long"),
    "NaN": (record(pixels=[[float("nan")]]), "whole numbers from 0 to 255"),
    "below 0": (record(pixels=[[-1]]), "whole numbers from 0 to 255"),
    "above 255": (record(pixels=[[256]]), "whole numbers from 0 to 255"),
    "words": (record(pixels=[["a"]]), "no numbers"),
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
