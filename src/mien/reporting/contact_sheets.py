"""Contact sheets: mosaics of faces by class and by error."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from mien.crop.packed import PackedFaces
from mien.evaluation.measures import ConfusedPair
from mien.evaluation.scoring import Evaluation
from mien.reporting import figures
from mien.reporting.style import LIGHT, Theme, drawing, png

COLUMNS: Final = 10
MOST: Final = 60
GAP: Final = 4
TITLE: Final = 40  # pixels above the faces
INK: Final = (30, 30, 30)
PAPER: Final = (255, 255, 255)


def write_contact_sheets(packed: PackedFaces, folder: Path) -> list[Path]:
    """One PNG per class, `contact_CLASS.png`, with up to 60 faces at their size, spread over the whole data set.

    Every class has its picture; that of a class without faces says so.
    """
    labels = packed.index["label"].to_numpy()
    written = []
    for label, name in enumerate(packed.classes):
        rows = np.flatnonzero(labels == label)
        path = folder / f"contact_{name}.png"
        contact_sheet(packed.pixels, rows, name).save(path)
        written.append(path)
    return written


def contact_sheet(pixels: np.ndarray, rows: np.ndarray, name: str) -> Image.Image:
    """Up to 60 faces of `rows`, evenly spread, in lines of 10 under a title.

    Args:
        pixels: (N, H, W, C) uint8, RGB or grey.
        rows: rows of `pixels` that belong to the class.
        name: of the class.
    """
    shown = rows[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)]
    size = pixels.shape[1]
    step = size + GAP
    lines = max(-(-len(shown) // COLUMNS), 1)
    sheet = Image.new("RGB", (COLUMNS * step + GAP, TITLE + lines * step + GAP), PAPER)
    ImageDraw.Draw(sheet).text((GAP, GAP), _title(name, shown, rows), INK, ImageFont.load_default(20))
    for place, row in enumerate(shown):
        face = np.broadcast_to(pixels[row], (size, size, 3))
        at = (GAP + place % COLUMNS * step, TITLE + place // COLUMNS * step)
        sheet.paste(Image.fromarray(np.ascontiguousarray(face)), at)
    return sheet


def _title(name: str, shown: np.ndarray, rows: np.ndarray) -> str:
    return f"{name}: {len(shown)} of {len(rows):,} faces" if len(rows) else f"{name}: no faces"


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
