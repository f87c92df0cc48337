"""What `conf/register/*.yaml` may say."""

from dataclasses import dataclass


@dataclass
class RegisterConfig:
    """The gate that a candidate passes to become champion."""

    approve: str = "auto"  # auto: the gate promotes; manual: a person does
    alpha: float = 0.05  # one-sided level of the paired tests
    bootstrap: int = 2000
    seed: int = 42
    max_ece: float = 0.25  # calibrated expected calibration error that a first champion may have

    def __post_init__(self) -> None:
        """Refuse a gate that decides by noise."""
        if self.approve not in ("auto", "manual"):
            raise ValueError(f"approve must be auto or manual, not {self.approve!r}")
        if not 0 < self.alpha <= 0.5:
            raise ValueError(f"alpha must be above 0 and at most 0.5, not {self.alpha}")
        if self.bootstrap < 100:
            raise ValueError(f"bootstrap must be at least 100 resamples, not {self.bootstrap}")
        if not 0 < self.max_ece <= 1:
            raise ValueError(f"max_ece must be above 0 and at most 1, not {self.max_ece}")
