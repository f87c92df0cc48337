"""All figures of an evaluation, by the names that their files have."""

from typing import Any, Final

import numpy.typing as npt

from mien.evaluation import figures
from mien.evaluation.evaluate import Evaluation
from mien.evaluation.mosaic import confused_figure
from mien.evaluation.style import LIGHT, Theme

_FIGURES: Final = {
    "confusion": figures.confusion_counts_figure,
    "confusion_by_class": figures.confusion_shares_figure,
    "reliability": figures.reliability_figure,
    "per_class": figures.per_class_figure,
    "slices": figures.slices_figure,
}


def draw_figures(evaluation: Evaluation, theme: Theme = LIGHT) -> dict[str, bytes]:
    """The figures without faces, PNG by name."""
    return {name: draw(evaluation, theme) for name, draw in _FIGURES.items()}


def draw_confused(evaluation: Evaluation, pixels: npt.NDArray[Any]) -> dict[str, bytes]:
    """The most confused pairs with their faces, PNG by name; `pixels` are the test faces (N, H, W, C) uint8."""
    return {"confused": confused_figure(evaluation, pixels)}
