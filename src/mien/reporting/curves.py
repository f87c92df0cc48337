"""Curves of trainings and searches: losses and scores by epoch, trials, importances."""

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from mien.reporting.style import DOTTED, LIGHT, Theme, drawing, headline, png

Trial = Mapping[str, Any]  # a row of the search's report
Epochs = Sequence[tuple[int, Mapping[str, float]]]  # rows of history.csv: (epoch, values)

COLUMNS: Final = 3  # of the searched values


def training_figure(epochs: Epochs, best_epoch: int, theme: Theme = LIGHT) -> bytes:
    """PNG: losses and validation scores by epoch, with the epoch whose weights were chosen marked."""
    with drawing(theme, 11, 4.8) as figure:
        loss, score = figure.subplots(1, 2)
        _line(loss, epochs, "train_loss", "--", theme.second, "training")
        _line(loss, epochs, "val_loss", "-", theme.first, "validation")
        _line(score, epochs, "val_accuracy", "-", theme.first, "accuracy")
        _line(score, epochs, "val_macro_f1", "--", theme.second, "macro F1")
        score.set_ylim(0, 1)
        for axes in (loss, score):
            axes.axvline(best_epoch + 1, color=theme.muted, **DOTTED)
        _finish(loss, "Loss", "training loss: of augmented faces and smoothed labels")
        _finish(score, "Validation scores", f"dotted: epoch {best_epoch + 1}, whose weights were chosen")
        return png(figure)


def comparison_figure(a: Epochs, b: Epochs, theme: Theme = LIGHT) -> bytes | None:
    """PNG: losses and validation accuracy by epoch, A and B in one colour each; None where neither has any."""
    if not a and not b:
        return None
    with drawing(theme, 11, 4.8) as figure:
        loss, score = figure.subplots(1, 2)
        for epochs, name, colour in ((a, "A", theme.first), (b, "B", theme.second)):
            _line(loss, epochs, "val_loss", "-", colour, name)
            _line(loss, epochs, "train_loss", "--", colour, "")
            _line(score, epochs, "val_accuracy", "-", colour, name)
        _finish(loss, "Loss", "solid: validation, dashed: training")
        _finish(score, "Validation accuracy", "of the weights after each epoch")
        return png(figure)


def _line(axes: Axes, epochs: Epochs, key: str, style: str, colour: str, label: str) -> None:
    points = [(epoch + 1, values[key]) for epoch, values in epochs if key in values]
    if points:
        marker = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, linewidth=2, label=label or None)


def _finish(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_xlabel("epoch")
    axes.grid(visible=True)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    headline(axes, title, subtitle)


def draw_search(report: Mapping[str, Any]) -> dict[str, bytes]:
    """The search of `reports/tune.json` as PNG by name; nothing without trials, no importance without two complete."""
    complete = [row for row in report["trials"] if row["state"] == "COMPLETE"]
    if not complete:
        return {}
    drawn = {
        "history": trials_figure(report["trials"], complete, report["objective"]),
        "values": values_figure(complete, report["space"], report["objective"]),
    }
    if len(complete) > 1:
        drawn["importance"] = importance_figure(complete, report["space"])
    return drawn


def trials_figure(trials: Sequence[Trial], complete: Sequence[Trial], objective: str) -> bytes:
    """PNG: the objective of each complete trial, and the best one so far."""
    numbers, losses = [row["number"] for row in complete], [row["value"] for row in complete]
    with drawing(LIGHT, 8.6, 4.6) as figure:
        axes = figure.add_subplot()
        best = list(accumulate(losses, min))
        axes.step(numbers, best, where="post", color=LIGHT.second, linewidth=2, label="best so far")
        axes.scatter(numbers, losses, color=LIGHT.first, s=50, zorder=3, label="trial")
        axes.set(xlabel="trial", ylabel=_words(objective))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True)
        axes.legend()
        stopped = len(trials) - len(complete)
        hidden = f", {stopped} stopped early and not shown" if stopped else ""
        headline(axes, "Search", f"{len(trials)} trials{hidden}")
        return png(figure)


def values_figure(complete: Sequence[Trial], space: Mapping[str, Any], objective: str) -> bytes:
    """PNG: the objective of each complete trial against each searched value, the best trial marked."""
    best = min(complete, key=lambda row: row["value"])
    lines = -(-len(space) // COLUMNS)
    with drawing(LIGHT, 11, 1.1 + 2.9 * lines) as figure:
        title = f"Search: {_words(objective)} by value, the best trial in orange"
        figure.suptitle(title, x=0.014, ha="left", fontsize=16, fontweight="bold")
        for place, (key, distribution) in enumerate(space.items(), start=1):
            axes = figure.add_subplot(lines, COLUMNS, place)
            values = [row["params"][key] for row in (*complete, best)]
            if distribution["name"] == "CategoricalDistribution":
                values = [str(value) for value in values]
            axes.scatter(values[:-1], [row["value"] for row in complete], color=LIGHT.first, s=40)
            axes.scatter(values[-1:], [best["value"]], color=LIGHT.second, s=70, zorder=3)
            attributes = distribution["attributes"]
            if attributes.get("log"):
                axes.set_xscale("log")
                axes.set_xlim(0.8 * attributes["low"], 1.25 * attributes["high"])
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel=key, ylabel=_words(objective) if place % COLUMNS == 1 else "")
            axes.grid(visible=True)
        return png(figure)


def _words(objective: str) -> str:
    """`val_loss` as `validation loss`."""
    return objective.replace("val_", "validation ").replace("_", " ")


def importance_figure(complete: Sequence[Trial], space: Mapping[str, Any]) -> bytes:
    """PNG: the share of the objective's variance that each searched value explains (fANOVA: Hutter et al., 2014)."""
    import optuna  # 1 s, for a search alone
    from optuna.distributions import json_to_distribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {key: json_to_distribution(json.dumps(entry)) for key, entry in space.items()}
    for row in complete:
        trial = optuna.trial.create_trial(value=row["value"], params=row["params"], distributions=distributions)
        study.add_trial(trial)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = dict(reversed(optuna.importance.get_param_importances(study, evaluator=evaluator).items()))
    with drawing(LIGHT, 8.6, 1.7 + 0.5 * len(shares)) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(list(shares), list(shares.values()), 0.6, color=LIGHT.first)
        axes.bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=6)
        axes.set(xlim=(0, 1.1 * max(*shares.values(), 0.01)), xticks=[])
        axes.tick_params(axis="y", length=0)
        axes.spines["bottom"].set_visible(False)
        headline(axes, "Search: importance", f"share of its variance, estimated from {len(complete)} trials")
        return png(figure)
