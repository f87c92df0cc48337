import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mien.base.errors import UserError
from mien.sources.detect import YUNET, as_annotated
from mien.sources.source import DataConfig, get_source, source_class, source_names
from tests.photosets import photo

ROOT = Path(__file__).resolve().parents[2]
CONF, PAGE = ROOT / "conf/data", ROOT / "docs/howto/sources.md"


def data_set(source: str, **options: object) -> DataConfig:
    return DataConfig(name="mine", source=source, path="data/mine", options=options)


def test_a_module_is_a_source_where_it_says_so() -> None:
    assert "expw" in source_names()
    assert not {"archive", "photos", "faces"} & set(source_names())


@pytest.mark.parametrize("name", source_names())
def test_every_source_says_what_it_expects_and_has_a_data_set(name: str) -> None:
    assert len(source_class(name).expects) > 20
    data_sets = [yaml.safe_load(file.read_text()) for file in CONF.glob("*.yaml")]
    assert name in {data["source"] for data in data_sets}


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_data_set_gets_its_source(file: Path) -> None:
    data = DataConfig(**yaml.safe_load(file.read_text()))
    assert isinstance(get_source(data), source_class(data.source))
    assert (data.name, data.path) == (file.stem, f"data/{file.stem}")


@pytest.mark.parametrize("name", ["imagenet", "archive", "", "expw.ExpW", "../expw"])
def test_an_unknown_source_names_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=rf"source '{name}' is unknown; the sources are .*expw"):
        get_source(data_set(name))


def test_an_option_that_the_source_lacks_is_refused() -> None:
    with pytest.raises(UserError, match=r"data set mine: options: there is no key 'votes'; it takes none"):
        get_source(data_set("expw", votes="soft"))


PUBLISHED = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"


def test_yunets_box_becomes_the_square_that_data_sets_draw() -> None:
    x, y, w, h = as_annotated(100.0, 50.0, 60.0, 80.0)
    assert (w, h, x + w / 2) == (80.0, 80.0, 130.0)
    assert y == pytest.approx(50 - 0.06 * 80)


def test_a_wheel_holds_every_file_and_the_network_as_it_was_published(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src/mien", tmp_path / "src/mien", ignore=shutil.ignore_patterns("__pycache__"))
    build = ["-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "."]
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("mien-*.whl")
    with zipfile.ZipFile(wheel) as content:
        files = {file.relative_to(tmp_path / "src").as_posix() for file in (tmp_path / "src/mien").rglob("*.*")}
        assert files <= set(content.namelist())
        network = content.read(f"mien/sources/{YUNET.name}")
        assert b"MIT License" in content.read("mien/sources/face_detection_yunet.LICENSE")
    assert hashlib.sha256(network).hexdigest() == PUBLISHED


def files_on_the_page() -> dict[str, str]:
    """The code blocks whose first line is a comment that names a file."""
    return dict(re.findall(r"^```\w*\n# (\S+/\S+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL))


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
    problems = pd.read_csv(checkout / "build/ingest/problems.csv").set_index("where")["reason"].to_dict()
    assert problems == {"labels.csv:5": "unknown_label", "labels.csv:6": "missing_photo"}
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
