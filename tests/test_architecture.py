"""docs/concepts/architecture.md and the packages: sizes, names, and the files on the path of a photo."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/mien"
STAGES = ("ingest", "crop", "split", "tune", "train", "evaluate", "report", "register")
# The web page has a limit of its own.
MODULES = [f for f in PACKAGE.rglob("*.py") if f.stat().st_size and "app" not in f.relative_to(PACKAGE).parts]


def lines(*files: Path) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def test_the_path_of_a_photo_names_files_that_exist_and_is_short() -> None:
    section = (ROOT / "docs/concepts/architecture.md").read_text().split("## The path of a photo")[1].split("\n## ")[0]
    way = re.findall(r"`((?:pipelines|[a-z]+)/\w+\.py)`", section)
    assert len(way) == len(set(way)) <= 35
    assert [file for file in way if not ((PACKAGE / file).exists() or (ROOT / file).exists())] == []


def test_no_two_modules_have_one_name() -> None:
    names = Counter(file.name for file in PACKAGE.rglob("*.py") if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_page(stage: str) -> None:
    assert lines(ROOT / f"pipelines/{stage}.py") <= 60


def test_the_packages_keep_to_their_size() -> None:
    assert len(MODULES) <= 90
    assert lines(*(PACKAGE / "app").glob("*.py")) <= 965
    assert lines(*MODULES) <= 15_780
    assert lines(*(PACKAGE / "runtime").glob("*.py")) <= 450  # copied into every registered version
    assert lines(*(ROOT / "pipelines").glob("*.py")) <= 680
    assert lines(*(ROOT / "tools").rglob("*.py")) <= 1_540
    assert lines(*(ROOT / "tests").rglob("*.py")) <= 18_035
