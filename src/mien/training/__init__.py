"""Training with Lightning, whose metrics import torchvision where it is installed."""

from mien.models.torchvision_build import allow_torchvision

allow_torchvision()
