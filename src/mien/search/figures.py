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
    with warnings.catch_warnings(), plt.style.context("default"):
        warnings.simplefilter("ignore")  # optuna marks its matplotlib plots as experimental
        plots: dict[str, Callable[[optuna.Study], object]] = {
            "history": optuna.visualization.matplotlib.plot_optimization_history,
            "parallel": optuna.visualization.matplotlib.plot_parallel_coordinate,
        }
        if len(complete) > 1:
            plots["importance"] = optuna.visualization.matplotlib.plot_param_importances
        for name, plot in plots.items():
            plot(study)
            figure = plt.gcf()
            figure.set_size_inches(10, 5.5)
            figure.suptitle(f"Search over {len(trials)} trials (validation loss, lower is better)")
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
