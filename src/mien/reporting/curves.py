"""Curves of trainings and searches: losses and scores by epoch, trials, importances."""

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from mien.reporting.style import LIGHT, Theme, drawing, headline, png

Epochs = Sequence[tuple[int, Mapping[str, float]]]  # rows of history.csv: (epoch, values)

COMPARED: Final = (
    ("Loss", "solid: validation, dashed: training", (("val_loss", "-"), ("train_loss", "--"))),
    ("Validation accuracy", "of the weights after each epoch", (("val_accuracy", "-"),)),
)


def training_figure(epochs: Epochs, best_epoch: int, theme: Theme = LIGHT) -> bytes:
    """PNG: losses and validation scores by epoch, with the epoch whose weights were chosen marked."""
    with drawing(theme, 11, 4.8) as figure:
        loss, score = figure.subplots(1, 2)
        _line(loss, epochs, "train_loss", "--", theme.second, "training")
        _line(loss, epochs, "val_loss", "-", theme.first, "validation")
        _line(score, epochs, "val_accuracy", "-", theme.first, "accuracy")
        _line(score, epochs, "val_macro_f1", "--", theme.second, "macro F1")
        headline(loss, "Loss", "training loss: of augmented faces and smoothed labels")
        headline(score, "Validation scores", f"dotted: epoch {best_epoch + 1}, whose weights were chosen")
        score.set_ylim(0, 1)
        for axes in (loss, score):
            axes.axvline(best_epoch + 1, color=theme.muted, linewidth=1.4, linestyle=(0, (2, 3)))
            axes.set_xlabel("epoch")
            axes.grid(visible=True)
            axes.legend()
        return png(figure)


def comparison_figure(a: Epochs, b: Epochs, theme: Theme = LIGHT) -> bytes | None:
    """PNG: losses and validation accuracy by epoch, A and B in one colour each; None where neither has any."""
    if not a and not b:
        return None
    with drawing(theme, 11, 4.8) as figure:
        for axes, (title, subtitle, lines) in zip(figure.subplots(1, 2), COMPARED, strict=True):
            for epochs, name, colour in ((a, "A", theme.first), (b, "B", theme.second)):
                for key, style in lines:
                    _line(axes, epochs, key, style, colour, name if style == "-" else "")
            axes.set_xlabel("epoch")
            axes.grid(visible=True)
            if axes.get_legend_handles_labels()[1]:
                axes.legend()
            headline(axes, title, subtitle)
        return png(figure)


def _line(axes: Axes, epochs: Epochs, key: str, style: str, colour: str, label: str) -> None:
    points = [(epoch + 1, values[key]) for epoch, values in epochs if key in values]
    if points:
        marker = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, linewidth=2, label=label or None)


def draw_search(report: Mapping[str, Any]) -> dict[str, bytes]:
    """The search of `reports/tune.json` as PNG by name; nothing without trials, no importance without two complete."""
    if not report["trials"]:
        return {}
    import optuna  # 1 s, for a search alone
    from matplotlib import pyplot as plt

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials([_trial(row, report["space"]) for row in report["trials"]])
    complete = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    module = optuna.visualization.matplotlib
    plots: dict[str, tuple[Callable[..., object], str]] = {}
    if complete:
        plots["history"] = (
            module.plot_optimization_history,
            f"Search: {len(report['trials'])} trials, one after the other",
        )
        plots["parallel"] = (module.plot_parallel_coordinate, f"Search: the values of {complete} complete trials")
    if complete > 1:
        plots["importance"] = (module.plot_param_importances, "Search: what the validation loss depended on")
    drawn = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna marks its matplotlib plots as experimental
        for name, (plot, title) in plots.items():
            plot(study, target_name="validation loss")
            figure = plt.gcf()
            for axes in figure.axes:
                axes.set_title("")
            figure.axes[0].set_title(title, loc="left", fontsize=13)
            figure.set_size_inches(10, 5.5)
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=100, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
            drawn[name] = buffer.getvalue()
    return drawn


def _trial(row: Mapping[str, Any], space: Mapping[str, Any]) -> Any:
    """A row of the report as a trial of Optuna."""
    import optuna
    from optuna.distributions import json_to_distribution

    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[row["state"]],
        value=row["value"],
        params=row["params"],
        distributions={key: json_to_distribution(json.dumps(space[key])) for key in row["params"]},
        intermediate_values=dict(enumerate(row["history"])),
    )
