"""Training with Lightning. Its metrics import torchvision if that is installed."""

from mien.models.timm_backbone import allow_torchvision

allow_torchvision()
