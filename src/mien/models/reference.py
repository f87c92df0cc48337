"""The networks of the published reference systems, with exactly their trainable parameters."""

from torch import nn


def vgg64(channels: int, dropout: float, classes: int) -> nn.Module:
    """The net of the system expw-vgg64: 64 x 64 RGB, valid padding, 4,967,623 parameters.

    The two dropouts after pooling are the system's .25; `dropout` is the last one, .5 there.
    """
    return nn.Sequential(
        *_conv(channels, 32, 0),
        *_conv(32, 64, 0),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        *_conv(64, 128, 0),
        nn.MaxPool2d(2),
        *_conv(128, 128, 0),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(128 * 6 * 6, 1024),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(1024, classes),
    )


def cnn48(channels: int, dropout: float, classes: int) -> nn.Module:
    """The net of the system expw-cnn48: 48 x 48 grey, same padding, 2,513,543 parameters."""
    return nn.Sequential(
        *_conv(channels, 32, 1),
        nn.MaxPool2d(2),
        *_conv(32, 64, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 12 * 12, 256),
        nn.ReLU(),
        nn.Linear(256, 512),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(512, classes),
    )


def _conv(inputs: int, outputs: int, padding: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU()
