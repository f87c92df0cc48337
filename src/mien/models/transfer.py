"""A network in two parts: a backbone that may have learnt elsewhere, and a new head."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Transfer(nn.Module):
    """`(B, 1 or 3, H, W)` normalised faces, enlarged to what the backbone was made for, to `(B, classes)` logits.

    Faces are enlarged here rather than stored large: 48 pixels in grey become 224 in three channels at a
    sixty-fifth of the disk.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, input_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.input_size = input_size  # pixels; 0: as they come

    def forward(self, faces: Tensor) -> Tensor:
        """Logits in the order of the classes."""
        if self.input_size and faces.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            faces = functional.interpolate(faces, size, mode="bilinear", align_corners=False)
        if faces.shape[1] == 1:
            faces = faces.expand(-1, 3, -1, -1)
        logits: Tensor = self.head(self.backbone(faces.contiguous(memory_format=torch.channels_last)))
        return logits


def dense_head(features: int, dropout: float, classes: int) -> nn.Module:
    """The head of the system fer2013-mobilenetv2: features - 128 - 64 - classes, with ReLU between."""
    return nn.Sequential(
        nn.Linear(features, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(64, classes),
    )


def linear_head(features: int, dropout: float, classes: int) -> nn.Module:
    """One layer behind a dropout."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, classes))
