"""The registry asked by a process of its own: the same model, the same sentences."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.base.errors import UserError
from mien.inference import current as ahead
from mien.inference.address import NoSuchModel, load_registered
from mien.inference.current import load_registered_ahead

CHAMPION = "models:/mien-tiny@champion"


def test_it_is_the_model_that_this_process_would_load(two_champions: Path) -> None:
    found, expected = load_registered_ahead(CHAMPION), load_registered(CHAMPION)
    faces = np.random.default_rng(0).integers(
        0, 256, (3, expected.spec.size, expected.spec.size, expected.spec.channels), np.uint8
    )
    np.testing.assert_array_equal(found.probabilities(faces), expected.probabilities(faces))
    assert (found.says, found.card, found.temperature) == (expected.says, expected.card, expected.temperature)


def test_no_such_alias_is_told_as_there(two_champions: Path) -> None:
    with pytest.raises(NoSuchModel, match="there is no models:/mien-tiny@nobody yet"):
        load_registered_ahead("models:/mien-tiny@nobody")


def test_another_form_is_refused_at_once(no_store: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UserError, match="names no model"):
        load_registered_ahead("runs:/abc/model")


def test_where_no_other_process_can_run_this_one_does_it(two_champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert load_registered_ahead(CHAMPION).says == load_registered(CHAMPION).says


def test_a_module_in_the_current_folder_is_not_run(
    two_champions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []
    real = subprocess.Popen
    monkeypatch.setattr(ahead.subprocess, "Popen", lambda *a, **k: asked.append(a) or real(*a, **k))
    load_registered_ahead(CHAMPION)
    assert len(asked) == 1
    assert not (tmp_path / "ran").exists()
