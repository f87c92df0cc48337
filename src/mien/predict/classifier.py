"""What turns faces into logits: a network in PyTorch here, in ONNX elsewhere, and nobody else need know which."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from mien.models.catalogue import Network

BATCH: Final = 256  # faces at a time


class Classifier(Protocol):
    """A trained network, whatever runs it."""

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8."""
        ...


@dataclass(frozen=True)
class TorchClassifier:
    """A network that PyTorch runs."""

    network: "Network"

    def logits(self, faces: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
        """Logits (N, classes) float32 of faces (N, size, size, C) uint8."""
        from mien.models.inference import predict_logits

        return predict_logits(self.network, faces, batch_size)
