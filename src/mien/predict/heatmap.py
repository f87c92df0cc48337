"""Where a network looked for its answer: Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391).

docs/EXPLAIN.md says what such a map shows, and what it does not.
"""

import copy
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.errors import UserError
from mien.predict.classifier import TorchClassifier
from mien.predict.loaded import LoadedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.models.catalogue import Network

BATCH: Final = 64  # faces at a time: gradients need more memory than answers
# The residual net's very last stage has 3 x 3 places for a face of 48 pixels: its maps miss by twice as much.
CELLS: Final = 5


def heat_maps(model: LoadedModel, faces: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much each place of a face speaks for a class, (N, size, size) float32, the most in each map being 1.

    A map is 0 everywhere where nothing that the network found speaks for the class. The network works on
    a copy of itself, so that threads may ask at once while others predict.

    Args:
        model: a model that PyTorch runs.
        faces: (N, size, size, C) uint8, as the predictor cuts them.
        classes: (N,) integers, each a place in `model.spec.classes`.

    Raises:
        UserError: the model is not in PyTorch, it has no convolutional stage, or captum is not installed.
        ValueError: a class is not of the model, or there are not as many as faces.
    """
    _refuse(model, faces, classes)
    import torch

    size = model.spec.size
    if not len(faces):
        return np.empty((0, size, size), np.float32)
    maps = []
    with torch.inference_mode(False), torch.enable_grad():
        network = copy.deepcopy(_network(model)).eval()  # captum's hooks would see others' faces in the network itself
        pixels = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float()
        stage = last_stage(network, pixels[:1])
        for start in range(0, len(faces), BATCH):
            batch = pixels[start : start + BATCH]
            asked = torch.from_numpy(np.asarray(classes[start : start + BATCH], np.int64))
            maps.append(_maps(network, stage, batch, asked, size))
    return np.concatenate(maps)


def last_stage(network: "Network", face: "Tensor") -> "nn.Module":
    """The last part whose output for a face (1, C, size, size) has places, at least `CELLS` in each direction.

    Raises:
        UserError: there is none.
    """
    sizes: dict[nn.Module, int] = {}

    def note(part: "nn.Module", inputs: object, output: "Tensor") -> None:
        if output.ndim == 4:
            sizes[part] = output.shape[-1]

    parts = list(_parts(network.backbone or network.body))
    hooks = [part.register_forward_hook(note) for part in parts]
    network(face)
    for hook in hooks:
        hook.remove()
    large = [part for part in parts if sizes.get(part, 0) >= CELLS]
    while large and not _computes(large[-1]):
        large.pop()
    if not large:
        raise UserError("this network has no convolutional stage, so that Grad-CAM cannot say where it looked.")
    return large[-1]


def _parts(body: "nn.Module") -> "Iterator[nn.Module]":
    """What a network does, step by step: a residual block is a step, a sequence is its steps."""
    from torch import nn

    for part in body.children():
        if isinstance(part, nn.Sequential):
            yield from _parts(part)
        else:
            yield part


def _computes(part: "nn.Module") -> bool:
    """Whether it is a convolution, a block with one, or the normalisation or activation of one."""
    from torch import nn

    kinds = (nn.Conv2d, nn.modules.batchnorm.BatchNorm2d, nn.ReLU, nn.ReLU6)
    return any(isinstance(module, kinds) for module in part.modules())


def _maps(network: "Network", stage: "nn.Module", faces: "Tensor", classes: "Tensor", size: int) -> np.ndarray:
    from captum.attr import LayerGradCam
    from torch.nn import functional

    device = next(network.parameters()).device
    found = LayerGradCam(network, stage).attribute(faces.to(device), classes.to(device), relu_attributions=True)
    found = functional.interpolate(found.detach(), (size, size), mode="bilinear", align_corners=False)[:, 0]
    most = found.amax(dim=(1, 2), keepdim=True)
    maps: np.ndarray = (found / most.where(most > 0, 1.0)).cpu().numpy()
    return maps


def _network(model: LoadedModel) -> "Network":
    if not isinstance(model.classifier, TorchClassifier):
        raise UserError(
            f"{model.says} is no PyTorch model, and only through one can be followed where it looked; "
            "name the registered model that it was exported from."
        )
    return model.classifier.network


def _refuse(model: LoadedModel, faces: np.ndarray, classes: np.ndarray) -> None:
    """Refuse what has no map, before anything heavy is imported."""
    _network(model)
    if importlib.util.find_spec("captum") is None:
        raise UserError("heat maps need captum, which is not installed: `pip install -c constraints.txt '.[explain]'`.")
    known = len(model.spec.classes)
    if len(classes) != len(faces) or any(not 0 <= k < known for k in classes):
        raise ValueError(
            f"classes must be {len(faces)} numbers from 0 to {known - 1}, not {np.asarray(classes).tolist()}"
        )
