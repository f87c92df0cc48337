"""`mien sample`."""

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from mien.sources import sample
from mien.sources.expw import ExpW
from tests.cli.conftest import Command


@pytest.fixture(autouse=True)
def a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty photos by one process, instead of hundreds by all cores."""
    small = functools.partial(sample.draw_sample, photos=sample.LEAST_PHOTOS, workers=1)
    monkeypatch.setattr(sample, "draw_sample", small)


def test_it_draws_where_it_is_missing_and_only_there(
    mien: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/sample").mkdir(parents=True)  # empty is missing
    assert mien("sample").code == 0
    assert len(ExpW().ingest(tmp_path / "data/sample").faces) > 30
    (tmp_path / "data/sample/mine.txt").write_text("kept")
    assert "nothing was drawn" in mien("sample", "data/sample").out
    assert (tmp_path / "data/sample/mine.txt").exists()


def test_a_place_that_cannot_be_written_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", "from mien.cli.main import main; main()", "sample", str(tmp_path / "file/sample")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
