"""A task whose evidence lies in one known place: a striped patch in noise, and a network that learns which way it runs.

The third class is noise alone: a network of two classes may also tell one by what is nowhere to be seen.
"""

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from mien.inference.classifier import LoadedModel, ModelFiles, load_files
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.weights import save_model
from mien.runtime.spec import CutSpec

SIZE = 32  # pixels
PATCH = 6


class Stripes(NamedTuple):
    """Faces (N, 32, 32, 1) uint8, the class of each (0: across, 1: down, 2: no patch), the patch's centre (N, 2)."""

    faces: np.ndarray
    classes: np.ndarray
    centres: np.ndarray


def draw_stripes(n: int, seed: int) -> Stripes:
    """Noise with a patch anywhere in two of three."""
    random = np.random.default_rng(seed)
    faces = random.integers(90, 166, (n, SIZE, SIZE, 1), dtype=np.uint8)
    classes, corners = random.integers(0, 3, n), random.integers(0, SIZE - PATCH + 1, (n, 2))
    across = np.where(np.arange(PATCH) // 2 % 2, 255, 0)[:, None].repeat(PATCH, axis=1)
    for face, kind, (top, left) in zip(faces, classes, corners, strict=True):
        if kind < 2:
            face[top : top + PATCH, left : left + PATCH, 0] = across if kind == 0 else across.T
    return Stripes(faces, classes, corners + (PATCH - 1) / 2)


@functools.cache
def trained_on_stripes() -> LoadedModel:
    """A small residual net that tells them apart; two seconds of training."""
    torch.manual_seed(0)
    spec = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=8, dropout=0.0)), CutSpec(SIZE, "grey"))
    network, learnt = spec.build(), draw_stripes(2000, 1)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(60):
        some = np.random.default_rng(step).integers(0, len(learnt.faces), 64)
        logits = network(torch.from_numpy(learnt.faces[some]).permute(0, 3, 1, 2))
        optimiser.zero_grad()
        loss: Any = functional.cross_entropy(logits, torch.from_numpy(learnt.classes[some]))
        loss.backward()
        optimiser.step()
    folder = Path(tempfile.mkdtemp(prefix="mien-stripes-")) / "train"
    folder.mkdir()
    save_model(network, spec, folder)
    export_graph(network, spec, folder / "model.onnx", learnt.faces)
    return load_files(ModelFiles(folder, "stripes"))
