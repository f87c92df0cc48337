"""A picture of where the network looked: each face as it saw it, the heat map over it, and what it answered."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from mien.evaluation.mosaic import displayed
from mien.evaluation.style import LIGHT, Theme, drawing, png
from mien.predict.heatmap import heat_maps
from mien.predict.predictor import FacePrediction, FoundFaces, Predictor

WIDTH: Final = 11.0  # inches
HEAD: Final = 1.15
ROW: Final = 3.15
FACE: Final = 2.5
FOOT: Final = 0.75


@dataclass(frozen=True)
class Explanation:
    """One face: (size, size, C) uint8 as the network saw it, and (size, size) float32 from 0 to 1, what spoke for
    the class that was asked for.
    """

    face: np.ndarray
    heat: np.ndarray
    asked: str
    prediction: FacePrediction


def explain_faces(predictor: Predictor, found: FoundFaces, asked: str | None = None) -> list[Explanation]:
    """An explanation of each face, of its own answer or of a class by name.

    Raises:
        UserError: the model is not in PyTorch, or captum is not installed.
    """
    names = predictor.model.spec.classes
    predictions = predictor.describe(found.detections, predictor.predict_faces(found.pixels))
    classes = [asked or prediction.label for prediction in predictions]
    maps = heat_maps(predictor.model, found.pixels, np.array([names.index(name) for name in classes], int))
    return [Explanation(*row) for row in zip(found.pixels, maps, classes, predictions, strict=True)]


def explanation_figure(explanations: list[Explanation], title: str, subtitle: str, theme: Theme = LIGHT) -> bytes:
    """PNG, a row for each face: what the network saw, where it looked, and its probabilities."""
    height = HEAD + ROW * len(explanations) + FOOT
    with drawing(theme, WIDTH, height) as figure:
        figure.set_layout_engine("none")
        figure.text(0.35 / WIDTH, 1 - 0.5 / height, title, fontsize=17, fontweight="bold")
        figure.text(0.35 / WIDTH, 1 - 0.83 / height, subtitle, fontsize=12, color=theme.muted)
        for number, explanation in enumerate(explanations, start=1):
            _row(figure, number, explanation, theme)
        _legend(figure, theme)
        return png(figure)


def _row(figure: Figure, number: int, explanation: Explanation, theme: Theme) -> None:
    height = figure.get_size_inches()[1]
    bottom = height - HEAD - ROW * number + 0.2
    seen = displayed(explanation.face)
    label = explanation.prediction.label
    looked = f"for {explanation.asked}" if explanation.heat.any() else f"nothing speaks for {explanation.asked}"
    for left, words in ((0.35, f"face {number}, as the network saw it"), (3.3, looked)):
        axes = figure.add_axes((left / WIDTH, bottom / height, FACE / WIDTH, FACE / height))
        axes.imshow(seen, interpolation="nearest")
        if left > 1:
            axes.imshow(explanation.heat, cmap=_glow(theme), vmin=0, vmax=1, interpolation="bilinear")
        axes.set_axis_off()
        figure.text(left / WIDTH, (bottom + FACE + 0.1) / height, words, fontsize=12, color=theme.muted)
    axes = figure.add_axes((7.3 / WIDTH, bottom / height, 2.9 / WIDTH, FACE / height))
    _bars(axes, explanation, theme)
    share = explanation.prediction.probabilities[label]
    says = f"{label} {share:.0%}" + (", unsure" if explanation.prediction.unsure else "")
    figure.text(7.3 / WIDTH, (bottom + FACE + 0.1) / height, says, fontsize=14, fontweight="bold")


def _bars(axes: Axes, explanation: Explanation, theme: Theme) -> None:
    """Every probability; the class that the map is about in the map's colour."""
    shares = explanation.prediction.probabilities
    colours = [theme.second if name == explanation.asked else theme.muted for name in shares]
    places = np.arange(len(shares))
    axes.barh(places, list(shares.values()), color=colours, height=0.62)
    axes.set_yticks(places, list(shares), fontsize=12)
    for place, share in enumerate(shares.values()):
        axes.text(share + 0.02, place, f"{share:.0%}", va="center", fontsize=12)
    axes.set_xlim(0, 1.15)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(figure: Figure, theme: Theme) -> None:
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((3.3 / WIDTH, 0.42 / height, FACE / WIDTH, 0.14 / height))
    axes.imshow(np.linspace(0, 1, 64)[None], cmap=_glow(theme), aspect="auto", vmin=0, vmax=1)
    axes.set_axis_off()
    for left, words, side in ((3.3, "nothing", "left"), (3.3 + FACE, "most of this face", "right")):
        figure.text(left / WIDTH, 0.2 / height, words, fontsize=11, color=theme.muted, ha=side)


def _glow(theme: Theme) -> Colormap:
    """From nothing over the face to the second series' colour: one hue, so that light and dark of the face stay."""
    return LinearSegmentedColormap.from_list("glow", [(*_rgb(theme.second), 0.0), (*_rgb(theme.second), 0.85)])


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
