"""Faces in, logits out: the one way in which evaluation, the registry and prediction run a network."""

import numpy as np
import torch
from torch import nn


def predict_logits(model: nn.Module, faces: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Logits of faces, computed in float32 whatever the training's precision was.

    Args:
        model: a network of `mien.models.catalogue`, on any device; it is put into evaluation mode.
        faces: `(N, H, W, C)` uint8; a memory map is read batch by batch.
        batch_size: faces at a time.

    Returns:
        `(N, classes)` float32, in the order of the model's classes.
    """
    model.eval()
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, max(len(faces), 1), batch_size):  # no face at all is an empty batch
            batch = np.ascontiguousarray(faces[start : start + batch_size])
            logits = model(torch.from_numpy(batch).permute(0, 3, 1, 2).to(device))
            parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)
