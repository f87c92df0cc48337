"""docs/SOURCES.md: its example, written out of the page as it stands there, is a source."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.photosets import photo

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/SOURCES.md"


def files_on_the_page() -> dict[str, str]:
    """The code blocks whose first line is a comment that names a file."""
    blocks = re.findall(r"^```\w*\n# (\S+/\S+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project with the page's files, and four of the five photos."""
    for folder in ("src", "pipelines", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(re.sub("^data: .*", "data: listed", params, flags=re.MULTILINE))
    (tmp_path / "data/listed/photos").mkdir(parents=True)
    for name, text in files_on_the_page().items():
        assert not (tmp_path / name).exists(), "the page must add files, not change the project's"
        (tmp_path / name).write_text(text)
    for i in range(1, 5):
        (tmp_path / f"data/listed/photos/{i}.jpg").write_bytes(photo(seed=i))
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}", "COLUMNS": "200"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_one_file_and_one_config_make_a_source(checkout: Path) -> None:
    added = ["conf/data/listed.yaml", "data/listed/labels.csv", "src/mien/sources/listed.py"]
    assert sorted(files_on_the_page()) == added
    done = run(checkout, "pipelines", "ingest", "data=listed")
    assert done.returncode == 0, done.stderr
    faces = pd.read_parquet(checkout / "build/ingest/faces.parquet")
    labels = dict(zip(faces["image"], faces["label"].tolist(), strict=True))
    assert labels == {"photos/1.jpg": 3, "photos/2.jpg": 4, "photos/3.jpg": 5}
    problems = pd.read_csv(checkout / "build/ingest/problems.csv")
    assert problems[["where", "reason"]].to_numpy().tolist() == [
        ["labels.csv:5", "unknown_label"],
        ["labels.csv:6", "missing_photo"],
    ]
    done = run(checkout, "pipelines", "crop", "data=listed", "crop=grey48")
    assert done.returncode == 0, done.stderr
    assert json.loads((checkout / "reports/crop.json").read_text())["faces"] == 3
    listed = run(checkout, "mien.cli.main", "data").stdout
    assert "labels.csv with the columns file and expression" in listed
    assert re.search(r"\* +listed +listed +listed photos +yes", listed)


def test_its_mistakes_are_told_as_any_sources_are(checkout: Path) -> None:
    config = checkout / "conf/data/listed.yaml"
    for options, says in (
        ('{separator: ";;"}', "data set listed: options: separator must be one character, not ';;'."),
        ("{columns: 2}", "options: there is no key 'columns'; the keys are separator."),
        ('{separator: ","}', "labels.csv: the first line must name the columns file and expression."),
    ):
        config.write_text(re.sub("options: .*", f"options: {options}", config.read_text()))
        done = run(checkout, "pipelines", "ingest", "data=listed")
        assert (done.returncode, done.stdout) == (1, "")
        assert says in done.stderr
