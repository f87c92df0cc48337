"""What `conf/model/*.yaml` may say."""

from dataclasses import dataclass


@dataclass
class ModelConfig:
    """A network by name; which of the numbers it uses is its own affair."""

    name: str  # a key of mien.models.catalogue.MODELS
    width: int = 32  # channels of the first stage of the residual net
    dropout: float = 0.2  # before the last layer

    def __post_init__(self) -> None:
        """Refuse sizes that make no network."""
        if self.width < 4:
            raise ValueError(f"width must be at least 4 channels, not {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability from 0 to below 1, not {self.dropout}")
