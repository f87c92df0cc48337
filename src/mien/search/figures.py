"""The search as pictures: history, importance, parallel coordinates."""

import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

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
