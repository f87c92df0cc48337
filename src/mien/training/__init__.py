"""Training with Lightning, whose metrics import torchvision where it is installed."""

from mien.models.timm_backbone import allow_torchvision

allow_torchvision()
