"""Saved weights: safetensors in a model's folder, and logits of a loaded network."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mien.base.errors import UserError
from mien.base.files import read_out, rerun
from mien.models.description import SPEC, WEIGHTS, ModelConfig, ModelSpec, read_spec
from mien.models.networks import Network, Transfer
from mien.models.timm_backbone import TIMM_NAMES, imagenet_weights


def predict_logits(model: nn.Module, faces: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """float32 logits (N, classes) of faces (N, H, W, C) uint8, read batch by batch; sets the evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, max(len(faces), 1), batch_size):  # no face at all is an empty batch
            batch = np.ascontiguousarray(faces[start : start + batch_size])
            logits = model(torch.from_numpy(batch).permute(0, 3, 1, 2).to(device))
            parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)


@dataclass(frozen=True)
class Parent:
    """A trained model that another begins with, learns from or is made of."""

    name: str  # for people: `mien-fer2013 version 3`, or its folder
    folder: Path  # weights, description, lineage and the faces that it learnt from, as `train` writes them
    scratch: Any = None  # the temporary folder of files that were fetched: it goes with this object

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of its weights; a UserError where there are none."""
        return hashlib.sha256(read_out(self.folder / WEIGHTS, Path.read_bytes, rerun("train"))).hexdigest()

    def load(self, spec: ModelSpec, why: str) -> Network:
        """Its network; a UserError, which says `why` it is needed, unless it takes the faces and knows the classes of
        `spec`."""
        network, own = load_model(self.folder)
        if own.cut != spec.cut:
            theirs, ours = (", ".join(f"{k} {v}" for k, v in vars(cut).items()) for cut in (own.cut, spec.cut))
            raise UserError(f"{why}: {self.name} takes faces with {theirs}, and conf/crop gives {ours}.")
        if own.classes != spec.classes:
            theirs, ours = ", ".join(own.classes), ", ".join(spec.classes)
            raise UserError(f"{why}: {self.name} knows the classes {theirs}, and here they are {ours}.")
        return network


Parents = Mapping[str, Parent]  # by their addresses in the configuration
NETWORK: Final = ("name", "width", "blocks", "stem_stride", "backbone")  # of ModelConfig: what decides the shapes
CLASSIFIERS: Final = ("classifier.", "fc.", "head.")  # of timm's models: the new head replaces them


def load_initial(model: Network, config: ModelConfig, classes: Sequence[str], parents: Parents) -> None:
    """Put the weights that `config.init` names into a fresh model; a UserError where there are no fitting ones.

    A model of the same network gives all of them, its normalisation of pixels included; its last layer only where it
    knows the same `classes`. A file or the hub gives all of a backbone's; only a classifier may be left over.
    """
    if config.init_from == "none":
        return
    if config.init_from == "model":
        _continue(model, config, tuple(classes), parents[config.init])
        return
    body = model.body
    assert isinstance(body, Transfer)  # ModelConfig refuses them for any other
    if config.init_from == "imagenet":
        state = imagenet_weights(TIMM_NAMES.get(config.name, config.backbone), body.input_size)
    else:
        state = _read(Path(config.init), config.init_sha256)
    wanted = body.backbone.state_dict()
    missing = sorted(key for key in wanted if key not in state and not key.endswith("num_batches_tracked"))
    other = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    left = [key for key in state if key not in wanted and not key.startswith(CLASSIFIERS)]
    if wrong := (missing or other or left):
        raise UserError(
            f"model.init: {config.init} does not fit the backbone: {len(missing)} tensors are missing, {len(other)} "
            f"have another shape, {len(left)} have no place (such as {wrong[0]}); timm's file for this model would fit."
        )
    body.backbone.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=False)


def _continue(model: Network, config: ModelConfig, classes: tuple[str, ...], parent: Parent) -> None:
    trained, spec = load_model(parent.folder)
    state, wanted = trained.state_dict(), model.state_dict()
    if spec.classes != classes:
        state |= {key: value for key, value in wanted.items() if key.startswith(f"{model.last_layer}.")}
    shapes, fitting = ({key: tensor.shape for key, tensor in tensors.items()} for tensors in (state, wanted))
    if shapes != fitting:
        ours, theirs = dataclasses.asdict(config), spec.architecture
        differing = [key for key in NETWORK if theirs.get(key, ours[key]) != ours[key]]
        found = ", ".join(f"{key} is {theirs[key]}, not {ours[key]}" for key in differing) or "its faces differ"
        raise UserError(f"model.init: {parent.name} is another network ({found}); describe the same one in conf/model.")
    model.load_state_dict(state)


def _read(file: Path, sha256: str) -> dict[str, Tensor]:
    """A safetensors file, or a PyTorch file of plain tensors; never a pickle of anything else."""
    if not file.is_file():
        raise UserError(f"model.init: there is no file {file}; the path must be relative to the repository's root.")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise UserError(f"model.init: {file} has the digest {found}, not {sha256} as model.init_sha256 says.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"model.init: {file} holds no weights ({str(error).splitlines()[0]}).") from error
    return state


def save_model(model: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write `model.safetensors` and `model.json` into an existing folder."""
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights))  # save_file's error hides that a disk is full
    (folder / SPEC).write_text(json.dumps(dataclasses.asdict(spec), indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> tuple[Network, ModelSpec]:
    """The network in evaluation mode on the CPU, and its description; a UserError where they cannot be read."""
    if missing := [name for name in (WEIGHTS, SPEC) if not (folder / name).is_file()]:
        raise UserError(f"{folder} holds no model: {missing[0]} is missing; `dvc repro train` writes it.")
    spec = read_spec(folder)
    try:
        model = spec.build()
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:  # such as a network of another version
        reason = str(error).splitlines()[0].rstrip(".:")
        raise UserError(f"the model in {folder} cannot be read ({reason}); {rerun('train')}.") from error
    return model.eval(), spec
