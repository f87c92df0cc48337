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


def lenet48(channels: int, dropout: float, classes: int) -> nn.Module:
    """The net of the system folder-cnn, "LeNet-like", 48 x 48 grey: LeNet-5's sizes (LeCun et al., 1998).

    Its report gives no sizes. ReLU and maxima stand for LeNet's own activation and averages; 168,971 parameters.
    """
    return nn.Sequential(
        *_conv(channels, 6, 0, 5),
        nn.MaxPool2d(2),
        *_conv(6, 16, 0, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 9 * 9, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(84, classes),
    )


def cnn5x5(channels: int, dropout: float, classes: int) -> nn.Module:
    """The net of the system folder-cnn5x5: 48 x 48 grey, valid padding, 1,375,175 parameters; dropout .4 there."""
    return nn.Sequential(
        *_conv(channels, 64, 0, 5),
        *_conv(64, 64, 0, 5),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        *_conv(64, 128, 0),
        *_conv(128, 128, 0),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(128 * 8 * 8, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def _conv(inputs: int, outputs: int, padding: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, padding=padding), nn.ReLU()
