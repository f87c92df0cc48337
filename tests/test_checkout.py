"""DVC's copies of the workspace lead back to the checkout that they were made from."""

from pathlib import Path

import pytest

from mien.base.state import main_checkout


@pytest.mark.parametrize(
    "copy", [".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpxyz", ".dvc/tmp/exps/tmpabc/src"]
)
def test_a_copy_leads_to_the_main_checkout(tmp_path: Path, copy: str) -> None:
    assert main_checkout(tmp_path / copy) == tmp_path


@pytest.mark.parametrize("place", [".", "src", ".dvc/tmp", "exps/tmp"])
def test_any_other_place_is_its_own(tmp_path: Path, place: str) -> None:
    assert main_checkout(tmp_path / place) == (tmp_path / place).resolve()
