"""Every network by its name; mien.models.settings says what faces each takes."""

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from mien.errors import UserError
from mien.expressions import N_EXPRESSIONS
from mien.models.normalise import Normalise
from mien.models.reference import cnn48, vgg64
from mien.models.residual import residual_net
from mien.models.settings import FACES, ModelConfig

MODELS: Final[dict[str, Callable[[ModelConfig, int], nn.Module]]] = {  # from settings and colour channels
    "resnet": lambda c, channels: residual_net(channels, c.width, c.dropout, N_EXPRESSIONS),
    "vgg64": lambda c, channels: vgg64(channels, c.dropout, N_EXPRESSIONS),
    "cnn48": lambda c, channels: cnn48(channels, c.dropout, N_EXPRESSIONS),
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
        UserError: it takes other faces than these.
    """
    wanted, colour = FACES[config.name], {1: "grey", 3: "rgb"}[channels]
    if wanted.size not in (None, size) or wanted.colour not in (None, colour):
        raise UserError(
            f"model {config.name} takes faces of {wanted.size} pixels in {wanted.colour}, "
            f"and the crop gives {size} pixels with {channels} channel(s): choose a crop that fits."
        )
    return Network(MODELS[config.name](config, channels))


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
