"""A trained network as two files without a pickle: weights in safetensors, and what it is in JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from mien.errors import UserError
from mien.expressions import CLASS_SETS
from mien.models.account import ANEW, SPEC, read_spec
from mien.models.catalogue import Network
from mien.models.spec import ModelSpec

WEIGHTS: Final = "model.safetensors"


def save_model(model: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Write `model.safetensors` and `model.json` into an existing folder."""
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(weights))  # save_file's error hides that a disk is full
    (folder / SPEC).write_text(json.dumps(dataclasses.asdict(spec), indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> tuple[Network, ModelSpec]:
    """The network in evaluation mode on the CPU, and its description.

    Raises:
        UserError: a file is missing or damaged, or of a version of mien that knew other networks or classes.
    """
    if missing := [name for name in (WEIGHTS, SPEC) if not (folder / name).is_file()]:
        raise UserError(f"{folder} holds no model: {missing[0]} is missing; `dvc repro train` writes it.")
    fields = read_spec(folder)
    spec = ModelSpec(**{**fields, "classes": tuple(fields["classes"])})
    _refuse_other_classes(spec, folder)
    try:
        model = spec.build()
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, TypeError, ValueError, RuntimeError) as error:  # such as a network of another version
        reason = str(error).splitlines()[0].rstrip(".:")
        raise UserError(f"the model in {folder} cannot be read ({reason}); {ANEW}.") from error
    return model.eval(), spec


def _refuse_other_classes(spec: ModelSpec, folder: Path) -> None:
    known = tuple(CLASS_SETS.values())
    if spec.classes not in known:
        expected = " or ".join(", ".join(names) for names in known)
        raise UserError(
            f"the model in {folder} gives {', '.join(map(str, spec.classes)) or 'no class'}; "
            f"this version of mien expects {expected}; {ANEW}."
        )
