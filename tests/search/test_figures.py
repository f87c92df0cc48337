"""The search as pictures: drawn, and drawn again to the same bytes."""

from pathlib import Path

import cv2

from mien.reporting.figures import draw_search
from mien.search.space import search_space
from mien.search.study import search
from tests.search.test_study import CONFIG, RECIPE, SPACE, valley


def test_a_search_is_drawn_the_same_twice(tmp_path: Path) -> None:
    space = search_space(SPACE, RECIPE)
    trials = search(valley, space, {key: RECIPE.value(key) for key in space}, CONFIG, tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw_search(trials, tmp_path / name)
    for plot in ("history", "importance", "parallel"):
        picture = tmp_path / "a" / f"{plot}.png"
        assert cv2.imread(str(picture)).std() > 5
        assert picture.read_bytes() == (tmp_path / "b" / f"{plot}.png").read_bytes()


def test_a_search_with_one_complete_trial_has_no_importance(tmp_path: Path) -> None:
    import dataclasses

    space = search_space(SPACE, RECIPE)
    one = dataclasses.replace(CONFIG, trials=1)
    trials = search(valley, space, {key: RECIPE.value(key) for key in space}, one, tmp_path)
    (tmp_path / "plots").mkdir()
    draw_search(trials, tmp_path / "plots")
    assert {p.name for p in (tmp_path / "plots").iterdir()} == {"history.png", "parallel.png"}
