"""`mlflow models serve`, run and asked by the very commands of docs/REST.md."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.registry.gate import RegisterConfig
from tests.registry.workspace import photos_of, registered
from tests.servers import free_port

PAGE = (Path(__file__).resolve().parents[2] / "docs/REST.md").read_text()
START, READY, ASK_FILE, ASK_PIXELS, ASK_WRONGLY = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.slow
def test_the_commands_of_the_page_work(checkout: Path, strong: Path, rules: RegisterConfig) -> None:
    registered(strong, rules)
    photos, predicted = photos_of(strong, 1)
    (checkout / "face.png").write_bytes(photos["image"][0])
    expected = mlflow.pyfunc.load_model("models:/mien-tiny@champion").predict(photos)
    with served(checkout) as run:
        for command in (ASK_FILE, ASK_PIXELS):
            (row,) = json.loads(run(command))["predictions"]
            assert row["label"] == predicted[0]
            np.testing.assert_allclose([row[name] for name in EXPRESSIONS], expected[list(EXPRESSIONS)].loc[0])
        refused = run(ASK_WRONGLY)
        assert (
            "row 0: the image cannot be read: no image of a known format (5 bytes)." in json.loads(refused)["message"]
        )
        assert "Traceback" not in refused and ".py" not in refused
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(run, [ASK_FILE, ASK_WRONGLY, ASK_PIXELS] * 4))
        assert [("predictions" in json.loads(answer)) for answer in answers] == [True, False, True] * 4


@contextmanager
def served(checkout: Path) -> Iterator[Any]:
    """The page's server on a free port; what runs its other commands against it."""
    port = str(free_port())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell: dict[str, Any] = {"cwd": checkout, "env": {**os.environ, "PATH": path}}

    def told(command: str) -> list[str]:
        return ["bash", "-eo", "pipefail", "-c", command.replace("5011", port).replace("mien-sample", "mien-tiny")]

    def run(command: str) -> str:
        return subprocess.run(told(command), check=True, capture_output=True, text=True, timeout=60, **shell).stdout

    with (checkout / "server.log").open("w") as log:
        process = subprocess.Popen(told(START), stdout=log, stderr=log, start_new_session=True, **shell)
        try:
            end = time.monotonic() + 120
            while subprocess.run(told(READY), capture_output=True, check=False, **shell).returncode:
                assert process.poll() is None and time.monotonic() < end, (checkout / "server.log").read_text()
                time.sleep(0.5)
            yield run
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
