"""Simulated visits to the web page over HTTP, by a program or by the page's own script."""

import json
import secrets
from collections.abc import Callable

import requests

SECONDS = 60


def ask_api(address: str) -> Callable[[requests.Session, bytes], None]:
    """A photo to /api/predict, and its JSON."""

    def ask(session: requests.Session, photo: bytes) -> None:
        answer = session.post(f"{address}/api/predict", data=photo, timeout=SECONDS)
        if answer.status_code != 200 or not answer.json()["faces"]:
            raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")

    return ask


def ask_page(address: str) -> Callable[[requests.Session, bytes], None]:
    """A photo dropped on the page, and the HTML of its answer."""
    config = requests.get(f"{address}/config", timeout=SECONDS).json()
    (place,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "mien-image"]
    (event,) = [one["id"] for one in config["dependencies"] if one["inputs"] == [place]]

    def ask(session: requests.Session, photo: bytes) -> None:
        sent = session.post(f"{address}/gradio_api/upload", files={"files": ("photo.jpg", photo)}, timeout=SECONDS)
        if not sent.ok:
            raise RuntimeError(f"{sent.status_code} {sent.text[:200]}")
        name = secrets.token_hex(8)
        value = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        body = {"data": [value], "fn_index": event, "session_hash": name}
        joined = session.post(f"{address}/gradio_api/queue/join", json=body, timeout=SECONDS)
        if not joined.ok:
            raise RuntimeError(f"{joined.status_code} {joined.text[:200]}")
        _read(session, address, name)

    return ask


def _read(session: requests.Session, address: str, name: str) -> None:
    where = f"{address}/gradio_api/queue/data"
    with session.get(where, params={"session_hash": name}, stream=True, timeout=SECONDS) as stream:
        for line in stream.iter_lines(chunk_size=65536):
            if line.startswith(b"data:") and b"process_completed" in line:
                said = json.loads(line[5:])
                if not said["success"] or "<article" not in str(said["output"]["data"][0]):
                    raise RuntimeError(str(said)[:200])
                return
    raise RuntimeError("the stream ended without an answer")
