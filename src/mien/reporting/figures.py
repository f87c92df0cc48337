"""Evaluation figures: confusion, reliability, classes, slices, errors, byte-identical on every run."""

from itertools import pairwise
from textwrap import fill
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binomtest

from mien.evaluation.intervals import Interval
from mien.evaluation.measures import CLASS_MEASURES, Floats, Reliability, confusion_counts
from mien.evaluation.scoring import Evaluation
from mien.reporting.images import Pixels, as_rgb
from mien.reporting.style import DOTTED, LIGHT, Theme, drawing, headline, png

FACE: Final = 1.0  # inches, of the errors
FACE_STEP: Final = 1.08
ROW_STEP: Final = 1.42
STEADY: Final = 5  # faces of a bin that the line of the reliability diagram goes through
LEFT: Final = 2.2
TOP: Final = 1.0


def draw_evaluation(evaluation: Evaluation, theme: Theme = LIGHT) -> dict[str, bytes]:
    """The figures without faces, PNG by name."""
    return {
        "confusion": confusion_figure(evaluation, theme, by_class=False),
        "confusion_by_class": confusion_figure(evaluation, theme, by_class=True),
        "reliability": reliability_figure(evaluation, theme),
        "per_class": per_class_figure(evaluation, theme),
        "slices": slices_figure(evaluation, theme),
    }


def confusion_figure(evaluation: Evaluation, theme: Theme, *, by_class: bool) -> bytes:
    """PNG: how many faces, or what share, of each class (rows) were predicted as each class; empty cells recede."""
    answers = evaluation.predictions
    classes = answers.classes
    counts = confusion_counts(answers.labels, answers.predicted, len(classes))
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(support > 0, support, 1)
    shades = shares if by_class else counts / max(1, counts.max())
    more = 0.5 * max(len(classes) - 8, 0) + 0.1 * max(max(map(len, classes)) - 10, 0)  # inches, of cells and names
    with drawing(theme, 6.4 + more, 6.3 + more) as figure:
        axes = figure.add_subplot()
        axes.imshow(shades, cmap=theme.ramp, vmin=0, vmax=1, aspect="equal")
        for row, column in np.ndindex(counts.shape):
            text = str(counts[row, column])
            if by_class:
                text = f"{100 * shares[row, column]:.0f} %" if support[row] else "–"
            colour = theme.muted if text in ("0", "0 %", "–") else theme.on(float(shades[row, column]))
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if by_class:
            headline(axes, "Confusion matrix, by true class", "share of each row; the diagonal is the recall")
        else:
            headline(axes, "Confusion matrix", f"faces, {counts.sum():,} in all")
        return png(figure)


def reliability_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: accuracy against confidence, before and after temperature scaling, over their histogram."""
    before, after = evaluation.reliability["before"], evaluation.reliability["after"]
    ece = evaluation.whole.intervals.overall["ece"].value
    with drawing(theme, 6.4, 6.9) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        top.plot([0, 1], [0, 1], color=theme.muted, label="calibrated", **DOTTED)
        _curve(top, before, theme.second, "s", f"before: ECE {evaluation.before['ece']:.3f}", "--")
        _curve(top, after, theme.first, "o", f"after: ECE {ece:.3f}", "-")
        top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        top.grid(visible=True)
        # A model that is too sure of itself, the usual case, runs below the diagonal, so this corner stays free.
        top.legend(loc="upper left", handlelength=2.6)
        value = evaluation.temperature.value
        headline(top, "Reliability", f"temperature {value:.3g}; 95 % intervals; larger marks hold more faces")
        bottom.bar(after.low, after.faces, after.high - after.low, align="edge", color=theme.first, alpha=0.85)
        bottom.stairs(before.faces, np.append(before.low, 1), color=theme.second, linewidth=2, linestyle="--")
        bottom.set(xlabel="confidence: probability of the predicted class", ylabel="faces")
        return png(figure)


def _curve(axes: Axes, table: Reliability, colour: str, marker: str, label: str, style: str) -> None:
    """Each bin with Wilson's 95 % interval, larger the more faces it holds; the line leaves out bins of few faces."""
    filled, steady = table.faces > 0, table.faces >= STEADY
    x, y, faces = table.confidence[filled], table.accuracy[filled], table.faces[filled]
    shares = [binomtest(round(share * n), n) for share, n in zip(y, faces.tolist(), strict=True)]
    ends = [share.proportion_ci(method="wilson") for share in shares]
    axes.vlines(x, [end.low for end in ends], [end.high for end in ends], color=colour, linewidth=1.4, alpha=0.5)
    axes.plot(table.confidence[steady], table.accuracy[steady], style, color=colour, linewidth=1.8)
    axes.scatter(x, y, s=14 + 140 * faces / faces.max(), color=colour, marker=marker, clip_on=False, zorder=3)
    axes.plot([], [], style, color=colour, linewidth=1.8, marker=marker, label=label)


def per_class_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: precision, recall and F1 of each class with their intervals."""
    per_class, support = evaluation.whole.intervals.per_class, evaluation.whole.support
    places = np.arange(len(per_class))
    with drawing(theme, 10 + 1.2 * max(len(per_class) - 8, 0), 5.6) as figure:
        axes = figure.add_subplot()
        colours = (theme.first, theme.second, theme.third)
        for k, (name, colour) in enumerate(zip(CLASS_MEASURES, colours, strict=True)):
            intervals = [scores[name] for scores in per_class.values()]
            heights = np.nan_to_num([i.value for i in intervals])
            place = places + (k - 1) * 0.27
            axes.bar(place, heights, 0.24, color=colour, label="F1" if name == "f1" else name)
            axes.errorbar(place, heights, _whiskers(intervals), fmt="none", ecolor=theme.ink, elinewidth=1.4, capsize=3)
        axes.set_xticks(places, [f"{fill(name, 12)}\nn = {faces}" for name, faces in support.items()])
        axes.set(ylim=(0, 1.02), ylabel="score")
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=True, axis="y")
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        headline(axes, "Precision, recall and F1", "with 95 % intervals")
        return png(figure)


def _whiskers(intervals: list[Interval]) -> Floats:
    """Distances of the ends from the values, (2, n); none where an interval is unknown."""
    ends = [(i.value - i.low, i.high - i.value) if i.known else (np.nan, np.nan) for i in intervals]
    return np.array(ends).T.clip(min=0)


def slices_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: accuracy on each slice with its interval, beside that on the whole test set."""
    slices, accuracy = evaluation.slices.slices, evaluation.whole.intervals.overall["accuracy"]
    groups = [part.group for part in slices]
    breaks = np.cumsum([0] + [1.9 if a != b else 1.0 for a, b in pairwise(groups)])
    with drawing(theme, 8.6, 1.9 + 0.42 * (breaks[-1] + 1)) as figure:
        axes = figure.add_subplot()
        if accuracy.known:
            axes.axvspan(accuracy.low, accuracy.high, color=theme.grid, linewidth=0)
        axes.axvline(accuracy.value, color=theme.muted, **DOTTED)
        beside: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "textcoords": "offset points",
            "color": theme.muted,
            "parse_math": False,  # "$" in text from the data begins no formula
        }
        for y, part, above in zip(breaks, slices, ["", *groups], strict=False):
            colour = theme.muted if part.too_few else theme.first
            face = theme.paper if part.too_few else colour
            marker: dict[str, Any] = {"fmt": "o", "color": colour, "markersize": 8, "markerfacecolor": face}
            whiskers = _whiskers([part.accuracy])
            axes.errorbar([part.accuracy.value], [y], xerr=whiskers, elinewidth=2.2, capsize=4, **marker)
            note = f"n = {part.faces}, too few" if part.too_few else f"n = {part.faces:,}"
            axes.annotate(note, (1, y), xytext=(10, 0), va="center", **beside)
            if part.group != above:
                axes.annotate(part.group, (0, y), xytext=(-10, 16), ha="right", style="italic", **beside)
        axes.set_yticks(breaks, [part.name for part in slices], parse_math=False)
        axes.set(xlim=(0, 1.02), ylim=(breaks[-1] + 0.7, -1), xlabel="accuracy")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x")
        headline(axes, "Accuracy by slice", f"with 95 % intervals; dotted: whole test set, {accuracy.value:.3f}")
        return png(figure)


def errors_figure(evaluation: Evaluation, faces: Pixels) -> bytes:
    """PNG: the surest mistakes of the most confused pairs; `faces` (N, H, W, C) uint8 are those of the predictions."""
    pairs = evaluation.confused
    columns = max([len(pair.rows) for pair in pairs], default=4)
    left = LEFT + 0.12 * max([len(name) - 15 for pair in pairs for name in (pair.true, pair.predicted)] + [0])
    width, height = left + FACE_STEP * max(columns, 5) + 0.2, TOP + ROW_STEP * max(len(pairs), 1)
    with drawing(LIGHT, width, height) as figure:
        figure.set_layout_engine("none")
        figure.text(0.2 / width, 1 - 0.42 / height, "Most confused", fontsize=16, fontweight="bold")
        subtitle = "the most confident mistakes of each pair, with the wrong answer's probability"
        figure.text(0.2 / width, 1 - 0.72 / height, subtitle, fontsize=12, color=LIGHT.muted)
        if not pairs:
            figure.text(0.2 / width, 0.4, "No test face is predicted wrong.", fontsize=14)
        for k, pair in enumerate(pairs):
            y = height - TOP - ROW_STEP * k - FACE  # inches, of the lower edge of the faces
            share = f"{pair.faces} of {round(pair.faces / pair.share)} ({100 * pair.share:.0f} %)"
            figure.text(0.2 / width, (y + 0.66) / height, pair.true, fontsize=14, fontweight="bold")
            figure.text(0.2 / width, (y + 0.38) / height, f"→ {pair.predicted}", fontsize=14, color=LIGHT.second)
            figure.text(0.2 / width, (y + 0.1) / height, share, fontsize=12, color=LIGHT.muted)
            for column, (row, probability) in enumerate(zip(pair.rows, pair.probabilities, strict=True)):
                x = left + FACE_STEP * column
                axes = figure.add_axes((x / width, y / height, FACE / width, FACE / height))
                axes.imshow(as_rgb(faces[row]), interpolation="bilinear", vmin=0, vmax=255)
                axes.set_axis_off()
                caption = ((x + FACE / 2) / width, (y - 0.19) / height)
                figure.text(*caption, f"{probability:.2f}", ha="center", fontsize=12, color=LIGHT.ink)
        return png(figure)
