"""What `conf/tune/*.yaml` may say."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TuneConfig:
    """An Optuna study; no trials means that the config's own values are handed on."""

    trials: int = 0
    epochs: int = 8  # of each trial
    seed: int = 42
    workers: int = 1  # more are faster and not reproducible
    startup_trials: int = 5  # random trials before the sampler learns
    prune_after: int = 3  # epochs before a trial may be pruned
    # "optim.lr": {low: 1e-4, high: 1e-2, log: true} or "train.batch_size": {choices: [32, 64]}
    space: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a search without a space."""
        for key, least in (("trials", 0), ("startup_trials", 0), ("prune_after", 0), ("epochs", 1), ("workers", 1)):
            if (value := getattr(self, key)) < least:
                raise ValueError(f"{key} must be at least {least}, not {value}")
        if self.trials and not self.space:
            raise ValueError("space is empty: name at least one key to search, such as optim.lr")
