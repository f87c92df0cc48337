"""Figures: training curves, search, confusion, reliability, slices."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib.axes import Axes
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from mien.evaluation.calibration import Reliability, reliability
from mien.evaluation.checks import Floats
from mien.evaluation.intervals import Interval
from mien.evaluation.measures import CLASS_MEASURES, confusion_counts
from mien.evaluation.scoring import Evaluation
from mien.evaluation.slices import Slice
from mien.reporting.style import LIGHT, Theme, drawing, headline, png

mpl.use("Agg")


def draw_curves(history: list[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Write losses and validation scores by epoch, with the chosen epoch marked, as a PNG."""
    from matplotlib import pyplot as plt

    epochs = [row["epoch"] + 1 for row in history]
    figure, (loss, score) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, label, style in (("train_loss", "training", "--"), ("val_loss", "validation", "-")):
        loss.plot(epochs, [row[name] for row in history], style, label=label, color="#0072B2", linewidth=2)
    scores = (("val_accuracy", "accuracy", "#0072B2"), ("val_macro_f1", "macro F1", "#D55E00"))
    for name, label, colour in scores:
        score.plot(epochs, [row[name] for row in history], label=label, color=colour, linewidth=2)
    loss.set_title("Loss (training loss: smoothed labels, augmented faces)", fontsize=11, loc="left")
    score.set_title("Validation scores", fontsize=11, loc="left")
    score.set_ylim(0, 1)
    for axes in (loss, score):
        axes.axvline(best_epoch + 1, color="#999999", linewidth=1, linestyle=":")
        axes.set_xlabel(f"epoch (dotted: epoch {best_epoch + 1}, whose weights are kept)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


mpl.use("Agg")


def draw_search(trials: list[FrozenTrial], folder: Path) -> None:
    """Write `history.png`, `importance.png` and `parallel.png`; an importance needs two complete trials."""
    from matplotlib import pyplot as plt

    study = optuna.create_study()
    study.add_trials([_loose(trial) for trial in trials])
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    module = optuna.visualization.matplotlib
    plots: dict[str, tuple[Callable[..., object], str]] = {
        "history": (module.plot_optimization_history, f"Search: the best of {len(trials)} trials, one after the other"),
        "parallel": (
            module.plot_parallel_coordinate,
            f"Search: what the {len(complete)} complete trials had in common",
        ),
    }
    if len(complete) > 1:
        plots["importance"] = (module.plot_param_importances, "Search: what the validation loss depended on")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna marks its matplotlib plots as experimental
        for name, (plot, title) in plots.items():
            plot(study, target_name="validation loss")
            figure = plt.gcf()
            for axes in figure.axes:
                axes.set_title("")
            figure.axes[0].set_title(title, loc="left", fontsize=13)
            figure.set_size_inches(10, 5.5)
            figure.savefig(folder / f"{name}.png", dpi=100, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)


def _loose(trial: FrozenTrial) -> FrozenTrial:
    """A trial as this study takes it: the numbers start from 0 again."""
    distributions: dict[str, BaseDistribution] = trial.distributions
    return optuna.trial.create_trial(
        state=trial.state,
        value=trial.value,
        params=trial.params,
        distributions=distributions,
        intermediate_values=trial.intermediate_values,
    )


def _cells(axes: Axes, shades: Floats, texts: list[list[str]], names: tuple[str, ...], theme: Theme) -> None:
    """A matrix of shaded cells (0 to 1) with a text in each; the empty ones recede."""
    axes.imshow(shades, cmap=theme.ramp, vmin=0, vmax=1, aspect="equal")
    for row, column in np.ndindex(shades.shape):
        text, shade = texts[row][column], float(shades[row, column])
        colour = theme.muted if text in ("0", "0 %", "–") else theme.on(shade)
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def confusion_counts_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: how many faces of each class (rows) were predicted as each class (columns)."""
    counts = confusion_counts(evaluation.labels, evaluation.predicted, len(evaluation.classes))
    with drawing(theme, 6.4, 6.3) as figure:
        axes = figure.add_subplot()
        _cells(
            axes, counts / max(1, counts.max()), [[str(n) for n in row] for row in counts], evaluation.classes, theme
        )
        headline(axes, "Confusion matrix", f"faces, {counts.sum():,} in all")
        return png(figure)


def confusion_shares_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: the shares of each class (rows) that were predicted as each class; rows sum to 100 %."""
    counts = confusion_counts(evaluation.labels, evaluation.predicted, len(evaluation.classes))
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(support > 0, support, 1)
    texts = [
        [f"{share:.0%}".replace("%", " %") if n else "–" for share in row]
        for row, n in zip(shares, support, strict=True)
    ]
    with drawing(theme, 6.4, 6.3) as figure:
        axes = figure.add_subplot()
        _cells(axes, shares, texts, evaluation.classes, theme)
        headline(axes, "Confusion matrix, by true class", "share of each row; the diagonal is the recall")
        return png(figure)


def _curve(axes: Axes, table: Reliability, colour: str, marker: str, label: str, style: str) -> None:
    """A bin's marker is the larger the more faces it holds, so that the noise of small bins recedes."""
    filled = table.faces > 0
    x, y = table.confidence[filled], table.accuracy[filled]
    areas = 14 + 140 * table.faces[filled] / table.faces.max()
    axes.plot(x, y, linestyle=style, color=colour, linewidth=1.8, label=label, marker=marker, markersize=0)
    axes.scatter(x, y, s=areas, color=colour, marker=marker, clip_on=False, zorder=3)


def reliability_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: accuracy against confidence, before and after temperature scaling, over their histogram."""
    bins = evaluation.config.bins
    before = reliability(evaluation.labels, evaluation.uncalibrated, bins)
    after = reliability(evaluation.labels, evaluation.probabilities, bins)
    ece = evaluation.whole.intervals.overall["ece"].value
    with drawing(theme, 6.4, 6.9) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        top.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.4, linestyle=(0, (2, 3)), label="calibrated")
        _curve(top, before, theme.second, "s", f"before: ECE {evaluation.before['ece']:.3f}", "--")
        _curve(top, after, theme.first, "o", f"after: ECE {ece:.3f}", "-")
        top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        top.grid(visible=True)
        # A model that is too sure of itself, the usual case, runs below the diagonal, so this corner stays free.
        top.legend(loc="upper left", handlelength=2.6)
        value = evaluation.temperature.value
        headline(top, "Reliability", f"temperature {value:.3g}; the larger the mark, the more faces")
        width = 1 / bins
        bottom.bar(after.low, after.faces, width, align="edge", color=theme.first, alpha=0.85)
        bottom.stairs(before.faces, np.append(before.low, 1), color=theme.second, linewidth=2, linestyle="--")
        bottom.set(xlabel="confidence: probability of the predicted class", ylabel="faces")
        return png(figure)


def _whiskers(intervals: list[Interval]) -> Floats:
    """Distances of the ends from the values, (2, n); none where an interval is unknown."""
    ends = [(i.value - i.low, i.high - i.value) if i.known else (0.0, 0.0) for i in intervals]
    return np.array(ends).T.clip(min=0)


def per_class_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: precision, recall and F1 of each class with their intervals."""
    per_class, scores = evaluation.whole.intervals.per_class, evaluation.whole.scores
    places = np.arange(len(evaluation.classes))
    with drawing(theme, 10, 5.6) as figure:
        axes = figure.add_subplot()
        colours = (theme.first, theme.second, theme.third)
        for k, (name, colour) in enumerate(zip(CLASS_MEASURES, colours, strict=True)):
            intervals = [per_class[expression][name] for expression in evaluation.classes]
            heights = np.nan_to_num([i.value for i in intervals])
            place = places + (k - 1) * 0.27
            axes.bar(place, heights, 0.24, color=colour, label="F1" if name == "f1" else name)
            axes.errorbar(place, heights, _whiskers(intervals), fmt="none", ecolor=theme.ink, elinewidth=1.4, capsize=3)
        axes.set_xticks(places, [f"{name}\nn = {scores[name].support}" for name in evaluation.classes])
        axes.set(ylim=(0, 1.02), ylabel="score")
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=True, axis="y")
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
        headline(axes, "Precision, recall and F1", "with 95 % intervals")
        return png(figure)


def _row(axes: Axes, y: float, part: Slice, theme: Theme) -> None:
    colour = theme.muted if part.too_few else theme.first
    axes.errorbar(
        [part.accuracy.value],
        [y],
        xerr=_whiskers([part.accuracy]),
        fmt="o",
        color=colour,
        markersize=8,
        markerfacecolor=theme.paper if part.too_few else colour,
        elinewidth=2.2,
        capsize=4,
    )
    note = f"n = {part.faces}, too few" if part.too_few else f"n = {part.faces:,}"
    axes.annotate(
        note,
        (1, y),
        xytext=(10, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        color=theme.muted,
    )


def slices_figure(evaluation: Evaluation, theme: Theme = LIGHT) -> bytes:
    """PNG: accuracy on each slice with its interval, beside that on the whole test set."""
    slices, accuracy = evaluation.slices.slices, evaluation.whole.intervals.overall["accuracy"]
    groups = [part.group for part in slices]
    breaks = np.cumsum([0] + [1.9 if a != b else 1.0 for a, b in pairwise(groups)])
    with drawing(theme, 8.6, 1.9 + 0.42 * (breaks[-1] + 1)) as figure:
        axes = figure.add_subplot()
        if accuracy.known:
            axes.axvspan(accuracy.low, accuracy.high, color=theme.grid, linewidth=0)
        axes.axvline(accuracy.value, color=theme.muted, linewidth=1.4, linestyle=(0, (2, 3)))
        for y, part, above in zip(breaks, slices, ["", *groups], strict=False):
            _row(axes, float(y), part, theme)
            if part.group != above:
                axes.annotate(
                    part.group,
                    (0, y),
                    xytext=(-10, 16),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    ha="right",
                    color=theme.muted,
                    style="italic",
                )
        axes.set_yticks(breaks, [part.name for part in slices])
        axes.set(xlim=(0, 1.02), ylim=(breaks[-1] + 0.7, -1), xlabel="accuracy")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x")
        headline(axes, "Accuracy by slice", f"with 95 % intervals; dotted: whole test set, {accuracy.value:.3f}")
        return png(figure)
