"""Asking the page as its own script does: upload, join the queue, read the stream of its answers."""

import json
import secrets
from typing import Any

import requests

ENDS = ("process_completed", "process_streaming")


def upload(address: str, name: str, data: bytes) -> requests.Response:
    return requests.post(f"{address}/gradio_api/upload", files={"files": (name, data)}, timeout=20)


def event(address: str, of: str) -> int:
    """The number of the event of a component, by its id in the page."""
    config = requests.get(f"{address}/config", timeout=20).json()
    (component,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == of]
    (number,) = [one["id"] for one in config["dependencies"] if component in one["inputs"]]
    return int(number)


def ask(address: str, of: str, value: Any) -> tuple[int, dict[str, Any]]:
    """The status of an event's request, and what was answered at the end of its stream."""
    session = secrets.token_hex(6)
    body = {"data": [value], "fn_index": event(address, of), "session_hash": session}
    joined = requests.post(f"{address}/gradio_api/queue/join", json=body, timeout=20)
    if not joined.ok:
        return joined.status_code, joined.json()
    listen = requests.get(f"{address}/gradio_api/queue/data", params={"session_hash": session}, stream=True, timeout=20)
    with listen as stream:  # a camera's goes on until somebody leaves
        for line in stream.iter_lines():
            if line.startswith(b"data:") and (said := json.loads(line[5:]))["msg"] in ENDS:
                return joined.status_code, said
    raise AssertionError("the stream ended without an answer")


def file_data(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def shown(said: dict[str, Any]) -> str:
    """The HTML of an answer."""
    assert said["success"], said
    return str(said["output"]["data"][0])
