"""Every network by its name; mien.models.settings says what faces each takes."""

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from mien.errors import UserError
from mien.models.normalise import Normalise
from mien.models.reference import cnn48, vgg64
from mien.models.residual import residual_net
from mien.models.settings import FACES, ModelConfig

MODELS: Final[dict[str, Callable[[ModelConfig, int, int], nn.Module]]] = {  # from settings, colour channels, classes
    "resnet": lambda c, channels, classes: residual_net(channels, c.width, c.dropout, classes),
    "vgg64": lambda c, channels, classes: vgg64(channels, c.dropout, classes),
    "cnn48": lambda c, channels, classes: cnn48(channels, c.dropout, classes),
}


class Network(nn.Module):
    """`(B, channels, size, size)` pixels from 0 to 255, uint8 or float, to `(B, classes)` logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.body = body

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits in the order of the classes."""
        logits: Tensor = self.body(self.normalise(pixels))
        return logits


def build_model(config: ModelConfig, *, size: int, channels: int, classes: int) -> Network:
    """A network with fresh weights for faces of `size` pixels, so many colour channels and so many classes.

    Raises:
        UserError: it takes other faces than these.
    """
    wanted, colour = FACES[config.name], {1: "grey", 3: "rgb"}[channels]
    if wanted.size not in (None, size) or wanted.colour not in (None, colour):
        raise UserError(
            f"model {config.name} takes faces of {wanted.size} pixels in {wanted.colour}, "
            f"and the crop gives {size} pixels with {channels} channel(s): choose a crop that fits."
        )
    return Network(MODELS[config.name](config, channels, classes))


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
