"""The training curves of two runs on the same axes."""

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes

from mien.comparison.subject import Subject
from mien.evaluation.style import LIGHT, Theme, drawing, headline, png

PANELS: Final = (
    ("Loss", "solid: validation, dashed: training", (("val_loss", "-"), ("train_loss", "--"))),
    ("Validation accuracy", "", (("val_accuracy", "-"),)),
)


def curves_figure(a: Subject, b: Subject, theme: Theme = LIGHT) -> bytes | None:
    """PNG: losses and validation accuracy by epoch, A and B in one colour each; None where neither kept any."""
    if not a.epochs and not b.epochs:
        return None
    with drawing(theme, 11, 4.8) as figure:
        for axes, (title, subtitle, lines) in zip(figure.subplots(1, 2), PANELS, strict=True):
            for one, name, colour in ((a, "A", theme.first), (b, "B", theme.second)):
                for key, style in lines:
                    _line(axes, one.epochs, key, style, colour, name if style == "-" else "")
            axes.set_xlabel("epoch")
            axes.grid(visible=True)
            if axes.get_legend_handles_labels()[1]:
                axes.legend()
            headline(axes, title, subtitle or "of the weights after each epoch")
        return png(figure)


def _line(
    axes: Axes, epochs: Sequence[tuple[int, Mapping[str, float]]], key: str, style: str, colour: str, label: str
) -> None:
    points = [(epoch + 1, values[key]) for epoch, values in epochs if key in values]
    if points:
        marker = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, linewidth=2, label=label or None)
