"""What a network is and which faces it takes, without PyTorch: an ONNX file travels with it too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.expressions import EXPRESSIONS

if TYPE_CHECKING:
    from mien.models.catalogue import Network


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again and to cut faces for it as in training."""

    architecture: dict[str, Any]  # the ModelConfig
    size: int
    colour: str
    margin: float = 0.0
    square: bool = False
    apply_exif_rotation: bool = False
    classes: tuple[str, ...] = EXPRESSIONS  # of the logits, in their order

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3

    def build(self) -> "Network":
        """The network with fresh weights; needs PyTorch."""
        from mien.models.catalogue import build_model
        from mien.models.settings import ModelConfig

        return build_model(
            ModelConfig(**self.architecture), size=self.size, channels=self.channels, classes=len(self.classes)
        )
