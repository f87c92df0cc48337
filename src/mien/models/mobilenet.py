"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381) without its classifier: 2,223,872 parameters.

Written out rather than taken from timm, because timm needs torchvision, which beside another build of PyTorch breaks
the import of Lightning; a preset must run with what `make` installs. Modules have timm's names, so that weights
of timm's `mobilenetv2_100` fit as they are; a test compares the answers of both.
"""

from collections import OrderedDict
from typing import Final

import torch
from torch import Tensor, nn

# Table 2 of the paper: expansion, output channels, blocks, stride of the first block.
STAGES: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FEATURES: Final = 1280


class Downsampling(nn.Conv2d):
    """A depthwise convolution of stride 2, trained in float32 on a CPU: in bfloat16 its backward pass is slower."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C, H / 2, W / 2)`; on a CPU in training, always float32."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; with a shortcut where shape and stride allow it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion == 1:
            layers = _convolution("conv_dw", "bn1", wide, wide, 3, stride, groups=wide)
            layers += _convolution("conv_pw", "bn2", wide, outputs, 1, active=False)
        else:
            layers = _convolution("conv_pw", "bn1", inputs, wide, 1)
            layers += _convolution("conv_dw", "bn2", wide, wide, 3, stride, groups=wide)
            layers += _convolution("conv_pwl", "bn3", wide, outputs, 1, active=False)
        for name, layer in layers:
            self.add_module(name, layer)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        y = x
        for layer in self.children():
            y = layer(y)
        return x + y if self.shortcut else y


def mobilenet_v2() -> nn.Module:
    """`(B, 3, H, W)`, normalised, to `(B, 1280)` features; made for 224 x 224, and takes 32 x 32 and more."""
    blocks, inputs = [], 32
    for expansion, outputs, count, stride in STAGES:
        first = InvertedResidual(inputs, outputs, expansion, stride)
        blocks.append(
            nn.Sequential(first, *(InvertedResidual(outputs, outputs, expansion, 1) for _ in range(count - 1)))
        )
        inputs = outputs
    stem, head = _convolution("conv_stem", "bn1", 3, 32, 3, 2), _convolution("conv_head", "bn2", inputs, FEATURES, 1)
    pool = (("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()))
    return nn.Sequential(OrderedDict([*stem, ("blocks", nn.Sequential(*blocks)), *head, *pool]))


def _convolution(
    name: str, norm: str, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1, active: bool = True
) -> list[tuple[str, nn.Module]]:
    """A convolution, its batch normalisation, and ReLU6 unless the layer is a linear bottleneck."""
    kind = Downsampling if stride == 2 and groups > 1 else nn.Conv2d
    convolution = kind(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    layers: list[tuple[str, nn.Module]] = [(name, convolution), (norm, nn.BatchNorm2d(outputs))]
    return [*layers, (f"{name}_relu", nn.ReLU6())] if active else layers
