"""Every network by its name, and what faces it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from mien.errors import UserError
from mien.expressions import N_EXPRESSIONS
from mien.models.normalise import Normalise
from mien.models.reference import cnn48, vgg64
from mien.models.residual import residual_net
from mien.models.settings import ModelConfig


@dataclass(frozen=True)
class Architecture:
    """A network and the faces it was made for; None means any."""

    build: Callable[[ModelConfig, int], nn.Module]  # from its settings and the number of colour channels
    size: int | None = None  # pixels
    channels: int | None = None


MODELS: Final[dict[str, Architecture]] = {
    "resnet": Architecture(lambda c, channels: residual_net(channels, c.width, c.dropout, N_EXPRESSIONS)),
    "vgg64": Architecture(lambda c, channels: vgg64(channels, c.dropout, N_EXPRESSIONS), size=64, channels=3),
    "cnn48": Architecture(lambda c, channels: cnn48(channels, c.dropout, N_EXPRESSIONS), size=48, channels=1),
}


class Network(nn.Module):
    """`(B, channels, size, size)` pixels from 0 to 255, uint8 or float, to `(B, 7)` logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.body = body

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits in the order of EXPRESSIONS."""
        logits: Tensor = self.body(self.normalise(pixels))
        return logits


def build_model(config: ModelConfig, *, size: int, channels: int) -> Network:
    """A network with fresh weights for faces of `size` pixels and so many colour channels.

    Raises:
        UserError: no network has that name, or it takes other faces than these.
    """
    if config.name not in MODELS:
        raise UserError(f"model.name is {config.name!r}; the models are {', '.join(sorted(MODELS))}.")
    architecture = MODELS[config.name]
    if architecture.size not in (None, size) or architecture.channels not in (None, channels):
        colour = {1: "grey", 3: "rgb", None: "any colour"}[architecture.channels]
        raise UserError(
            f"model {config.name} takes faces of {architecture.size} pixels in {colour}, "
            f"and the crop gives {size} pixels with {channels} channel(s): choose a crop that fits."
        )
    return Network(architecture.build(config, channels))


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
