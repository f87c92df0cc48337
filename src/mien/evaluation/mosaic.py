"""The most confused pairs of classes with their faces, as one picture."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from mien.evaluation.confused import ConfusedPair
from mien.evaluation.evaluate import Evaluation
from mien.evaluation.style import LIGHT, Theme, drawing, png

Pixels = npt.NDArray[np.uint8]

_FACE: Final = 1.0  # inches
_STEP: Final = 1.08
_ROW: Final = 1.42
_LEFT: Final = 2.2
_TOP: Final = 1.0


def displayed(face: Pixels) -> Pixels:
    """A face (H, W, 1 or 3) as (H, W, 3) RGB."""
    return np.repeat(face, 3, axis=2) if face.shape[2] == 1 else face


def confused_figure(evaluation: Evaluation, pixels: npt.NDArray[Any], theme: Theme = LIGHT) -> bytes:
    """PNG: each pair's most confident mistakes, with the probability of the wrong answer.

    `pixels` are the test faces, (N, H, W, C) uint8, in the order of the evaluation's index.
    """
    pairs = evaluation.confused
    columns = max([len(pair.rows) for pair in pairs], default=4)
    width, height = _LEFT + _STEP * max(columns, 5) + 0.2, _TOP + _ROW * max(len(pairs), 1)
    with drawing(theme, width, height) as figure:
        figure.set_layout_engine("none")
        figure.text(0.2 / width, 1 - 0.42 / height, "Most confused", fontsize=16, fontweight="bold")
        subtitle = "the most confident mistakes of each pair, with the wrong answer's probability"
        figure.text(0.2 / width, 1 - 0.72 / height, subtitle, fontsize=12, color=theme.muted)
        if not pairs:
            figure.text(0.2 / width, 0.4, "No test face is predicted wrong.", fontsize=14)
        for k, pair in enumerate(pairs):
            _row(figure, k, pair, pixels, theme)
        return png(figure)


def _row(figure: Figure, k: int, pair: ConfusedPair, pixels: npt.NDArray[Any], theme: Theme) -> None:
    width, height = figure.get_size_inches()
    y = height - _TOP - _ROW * k - _FACE
    figure.text(0.2 / width, (y + 0.66) / height, pair.true, fontsize=14, fontweight="bold")
    figure.text(0.2 / width, (y + 0.38) / height, f"→ {pair.predicted}", fontsize=14, color=theme.second)
    share = f"{pair.faces} of {round(pair.faces / pair.share)} ({100 * pair.share:.0f} %)"
    figure.text(0.2 / width, (y + 0.1) / height, share, fontsize=12, color=theme.muted)
    for column, (row, probability) in enumerate(zip(pair.rows, pair.probabilities, strict=True)):
        x = _LEFT + _STEP * column
        axes = figure.add_axes((x / width, y / height, _FACE / width, _FACE / height))
        axes.imshow(displayed(pixels[row]), interpolation="bilinear", vmin=0, vmax=255)
        axes.set_axis_off()
        figure.text(
            (x + _FACE / 2) / width,
            (y - 0.19) / height,
            f"{probability:.2f}",
            ha="center",
            fontsize=12,
            color=theme.ink,
        )
