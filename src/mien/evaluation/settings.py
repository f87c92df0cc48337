"""What `conf/evaluate/*.yaml` may say."""

from dataclasses import dataclass


@dataclass
class EvaluateConfig:
    """How a model is measured on the test set."""

    bootstrap: int = 1000  # resamples of photos for the 95 % intervals
    bins: int = 15  # of the expected calibration error
    seed: int = 42
    batch_size: int = 256
    confused_pairs: int = 5  # pairs of classes shown with their faces
    faces_per_pair: int = 8

    def __post_init__(self) -> None:
        """Refuse numbers that give no interval."""
        if self.bootstrap < 100:
            raise ValueError(f"bootstrap must be at least 100 resamples, not {self.bootstrap}")
        for key, least in (("bins", 2), ("batch_size", 1), ("confused_pairs", 0), ("faces_per_pair", 1)):
            if getattr(self, key) < least:
                raise ValueError(f"{key} must be at least {least}, not {getattr(self, key)}")
