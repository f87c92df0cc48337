"""docs/ONNX.md: its program runs as it stands and answers as mien does."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mien.inference.classifier import OnnxMetadata
from tests.inference.conftest import jpeg, portrait
from tests.inference.test_without_torch import predict
from tests.inference.tiny import Export

PAGE = (Path(__file__).parents[2] / "docs/ONNX.md").read_text()


def test_the_program_in_the_page_answers_as_mien_does(exported: Export, tmp_path: Path) -> None:
    photo, box = portrait()
    (tmp_path / "face.jpg").write_bytes(jpeg(photo[box.top : box.bottom, box.left : box.right]))
    shutil.copy(exported.float32.file, tmp_path / "model.onnx")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = {name: float(share) for name, share in (line.split() for line in done.stdout.splitlines())}
    model, face = tmp_path / "model.onnx", tmp_path / "face.jpg"
    (row,) = json.loads(predict("predict", face, "--model", model, "--cropped", "--json").stdout)
    assert printed == pytest.approx(row["probabilities"], abs=1e-3)
    assert max(printed.values()) > 0.2


def test_the_page_names_every_key_of_the_metadata() -> None:
    keys = {"spec", *(field.name for field in dataclasses.fields(OnnxMetadata))}
    section = PAGE.partition("## What is in the file")[2].partition("## In another program")[0]
    assert keys <= set(re.findall(r"`([a-z_]+)`", section))
