"""What `conf/model/*.yaml` may say."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Faces(NamedTuple):
    """The faces that a network was made for; None means any."""

    size: int | None = None  # pixels
    colour: str | None = None  # rgb or grey


# Every network by its name; mien.models.catalogue builds them.
FACES: Final = {"resnet": Faces(), "vgg64": Faces(64, "rgb"), "cnn48": Faces(48, "grey")}


@dataclass
class ModelConfig:
    """A network by name; which of the numbers it uses is its own affair."""

    name: str  # a key of FACES
    width: int = field(default=32, metadata={"optional": True})  # channels of the residual net's first stage
    dropout: float = 0.2  # before the last layer

    def __post_init__(self) -> None:
        """Refuse a name that no network has, and sizes that make none."""
        if self.name not in FACES:
            raise ValueError(f"name must be one of {', '.join(sorted(FACES))}, not {self.name!r}")
        if self.width < 4:
            raise ValueError(f"width must be at least 4 channels, not {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability from 0 to below 1, not {self.dropout}")
