"""Every network by its name; mien.models.settings says what faces each takes."""

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from mien.errors import UserError
from mien.models.mobilenet import FEATURES, mobilenet_v2
from mien.models.normalise import Normalise
from mien.models.reference import cnn5x5, cnn48, lenet48, vgg64
from mien.models.residual import residual_net
from mien.models.settings import FACES, ModelConfig
from mien.models.timm_backbone import timm_backbone
from mien.models.transfer import Transfer, dense_head, linear_head

MODELS: Final[dict[str, Callable[[ModelConfig, int, int], nn.Module]]] = {  # from settings, colour channels, classes
    "resnet": lambda c, channels, classes: residual_net(channels, c.width, c.dropout, classes),
    "vgg64": lambda c, channels, classes: vgg64(channels, c.dropout, classes),
    "cnn48": lambda c, channels, classes: cnn48(channels, c.dropout, classes),
    "lenet48": lambda c, channels, classes: lenet48(channels, c.dropout, classes),
    "cnn5x5": lambda c, channels, classes: cnn5x5(channels, c.dropout, classes),
    "mobilenetv2": lambda c, channels, classes: _mobilenet(c, classes),
    "timm": lambda c, channels, classes: _timm(c, classes),
}


class Network(nn.Module):
    """`(B, channels, size, size)` pixels from 0 to 255, uint8 or float, to `(B, classes)` logits."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.body = body

    @property
    def backbone(self) -> nn.Module | None:
        """The part that may have learnt elsewhere; None where the network has none."""
        return self.body.backbone if isinstance(self.body, Transfer) else None

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


def _mobilenet(config: ModelConfig, classes: int) -> Transfer:
    return Transfer(mobilenet_v2(), dense_head(FEATURES, config.dropout, classes), config.input_size)


def _timm(config: ModelConfig, classes: int) -> Transfer:
    backbone, features = timm_backbone(config.backbone)
    return Transfer(backbone, linear_head(features, config.dropout, classes), config.input_size)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
