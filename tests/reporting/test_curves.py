"""Curves of a training and of a search: drawn, and drawn again to the same bytes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import distribution_to_json
from PIL import Image

from mien.base.listener import Silent
from mien.reporting.curves import comparison_figure, draw_search, training_figure
from mien.search.space import search_space
from mien.search.study import search, trial_row
from tests.search.test_study import CONFIG, RECIPE, SPACE, valley

EPOCHS = [(k, {"train_loss": 2 / (k + 1), "val_loss": 2.2 / (k + 1), "val_accuracy": k / 9}) for k in range(8)]


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """What `reports/tune.json` holds of a search."""
    space = search_space(SPACE, RECIPE)
    trials = search(valley, space, {key: RECIPE.value(key) for key in space}, CONFIG, tmp_path, Silent())
    distributions = {key: json.loads(distribution_to_json(one)) for key, one in space.items()}
    return {"trials": [trial_row(i, trial) for i, trial in enumerate(trials)], "space": distributions}


def is_drawn(png: bytes) -> bool:
    return float(np.asarray(Image.open(io.BytesIO(png)).convert("L")).std()) > 5


def test_a_search_is_drawn_the_same_twice_from_its_report(report: dict[str, Any]) -> None:
    first = draw_search(json.loads(json.dumps(report)))
    assert set(first) == {"history", "importance", "values"}
    assert all(is_drawn(png) for png in first.values())
    assert draw_search(report) == first


def test_a_search_with_one_complete_trial_has_no_importance_and_without_trials_nothing(report: dict[str, Any]) -> None:
    assert set(draw_search({**report, "trials": report["trials"][:1]})) == {"history", "values"}
    assert draw_search({"trials": [], "space": {}}) == {}


def test_a_training_is_drawn_the_same_twice_and_its_best_epoch_is_marked() -> None:
    first = training_figure(EPOCHS, 3)
    assert is_drawn(first) and training_figure(EPOCHS, 3) == first
    assert training_figure(EPOCHS, 4) != first
    assert is_drawn(training_figure(EPOCHS[:1], 0))


def test_two_runs_are_drawn_where_one_of_them_has_epochs() -> None:
    assert comparison_figure([], []) is None
    both, alone = comparison_figure(EPOCHS, EPOCHS[:4]), comparison_figure(EPOCHS, [])
    assert both and alone and is_drawn(both) and both != alone
