"""Weights that a backbone learnt elsewhere, from timm's hub or from a file."""

import hashlib
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises where a file holds more than tensors
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mien.errors import UserError
from mien.models.catalogue import Network
from mien.models.settings import ModelConfig
from mien.models.timm_backbone import imagenet_weights

CLASSIFIERS: Final = ("classifier.", "fc.", "head.")  # of timm's models: the new head replaces them
TIMM_NAMES: Final = {"mobilenetv2": "mobilenetv2_100"}


def load_pretrained(model: Network, config: ModelConfig) -> None:
    """Put the configured weights into the model's backbone; with `weights: none` nothing changes.

    Raises:
        UserError: the file is missing, another one than its digest says, or does not fit; the hub is out of reach.
    """
    if config.weights == "none":
        return
    backbone = model.backbone
    if backbone is None:
        raise UserError(f"model.weights is {config.weights}, and {config.name} has no backbone that could take them.")
    if config.weights == "imagenet":
        state = imagenet_weights(TIMM_NAMES.get(config.name, config.backbone))
    else:
        state = _read(Path(config.weights), config.weights_sha256)
    _fill(backbone, state, config.weights)


def _read(file: Path, sha256: str) -> dict[str, Tensor]:
    """A safetensors file, or a PyTorch file of plain tensors; never a pickle of anything else."""
    if not file.is_file():
        raise UserError(f"model.weights: there is no file {file}; see that its path is from the repository's root.")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise UserError(
            f"model.weights: {file} has the digest {found}, not {sha256}; a result must say what it began with."
        )
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"model.weights: {file} holds no weights ({str(error).splitlines()[0]}).") from error
    return state


def _fill(backbone: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Every tensor of the backbone comes from the file; only a classifier may be left over."""
    wanted = backbone.state_dict()
    missing = sorted(key for key in wanted if key not in state and not key.endswith("num_batches_tracked"))
    other = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    left = [key for key in state if key not in wanted and not key.startswith(CLASSIFIERS)]
    if wrong := (missing or other or left):
        raise UserError(
            f"model.weights: {source} does not fit the backbone: {len(missing)} tensors are missing, {len(other)} have "
            f"another shape, {len(left)} have no place (such as {wrong[0]}); timm's file for this model would fit."
        )
    backbone.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=False)
