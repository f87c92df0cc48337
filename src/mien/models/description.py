"""Model description: settings, input, classes, and the record of its training."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, cast

from annotated_types import Ge, Le

from mien.base.classes import EXPRESSIONS
from mien.base.files import read_out, read_record, rerun
from mien.base.settings import STRICT, AtLeastOne, BelowOne, build_settings
from mien.runtime.spec import CutSpec, Spec, cut_of

if TYPE_CHECKING:
    from mien.models.networks import Network


class Faces(NamedTuple):
    """The faces that a network was made for; None means any."""

    size: int | None = None  # pixels
    colour: str | None = None  # rgb or grey


ENSEMBLE: Final = "ensemble"
# Every network by its name; mien.models.networks builds them.
FACES: Final = {
    **dict.fromkeys(("resnet", "mobilenetv2", "timm", ENSEMBLE), Faces()),
    **dict.fromkeys(("cnn48", "lenet48", "cnn5x5"), Faces(48, "grey")),
    "vgg64": Faces(64, "rgb"),
}
# Those with a backbone whose weights can come from ImageNet or a file.
WITH_BACKBONE: Final = ("mobilenetv2", "timm")
WEIGHT_FILES: Final = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class ModelConfig:
    """A network by name; which of the numbers it uses is its own affair."""

    __pydantic_config__ = STRICT

    name: Literal["resnet", "vgg64", "cnn48", "lenet48", "cnn5x5", "mobilenetv2", "timm", "ensemble"]  # the network
    # Of the residual net: channels of its first stage, blocks in each stage, and the first convolution's stride.
    width: Annotated[int, Ge(4)] = field(default=32, metadata={"optional": True})
    blocks: AtLeastOne = field(default=1, metadata={"optional": True})
    stem_stride: Literal[1, 2] = field(default=2, metadata={"optional": True})
    dropout: BelowOne = 0.2  # before the last layer
    # Outside training, answer with the mean logits of the face and its mirror image: twice the time.
    flip: bool = field(default=False, metadata={"optional": True})
    # Weights to begin with: none; of the same network a registered model (models:/NAME@ALIAS or /VERSION) or a model's
    # folder; of a backbone imagenet or a file of weights, whose digest (in hex) init_sha256 is.
    init: str = field(default="none", metadata={"optional": True})
    init_sha256: str = field(default="", metadata={"optional": True})
    # Of an ensemble: the registered models or folders whose mean answer it gives; as built, what each of them is.
    members: list[Any] = field(default_factory=list, metadata={"optional": True})
    backbone: str = field(default="", metadata={"optional": True})  # of timm: the name of one of its models
    # pixels that the backbone was made for; 0: the crop's
    input_size: Annotated[int, Le(512)] = field(default=0, metadata={"optional": True})

    @property
    def init_from(self) -> Literal["none", "imagenet", "file", "model"]:
        """What kind of thing `init` names."""
        if self.init in ("none", "imagenet"):
            return cast(Literal["none", "imagenet"], self.init)
        return "file" if self.init.lower().endswith(WEIGHT_FILES) else "model"

    def __post_init__(self) -> None:
        if self.name not in WITH_BACKBONE and (self.backbone, self.input_size) != ("", 0):
            raise ValueError(f"backbone and input_size are of {', '.join(WITH_BACKBONE)}, not of {self.name}")
        if self.name not in WITH_BACKBONE and self.init_from in ("imagenet", "file"):
            known = ", ".join(WITH_BACKBONE)
            raise ValueError(f"init: {self.init} is for the backbone of {known}; {self.name} can begin with a model")
        named = all(isinstance(member, str | dict) for member in self.members)
        if (self.name == ENSEMBLE) != bool(self.members) or not named:
            raise ValueError("members names the models of an ensemble, such as models:/mien-fer2013/3, and only there")
        if self.name == ENSEMBLE and self.init != "none":
            raise ValueError(f"an ensemble is made of its members, so it cannot begin with {self.init}: say init: none")
        if (self.name == "timm") != bool(self.backbone):
            raise ValueError("backbone names a model of timm, such as resnet18, where name is timm, and only there")
        if 0 < self.input_size < 32:
            raise ValueError(f"input_size must be 32 to 512 pixels, or 0 for the crop's own, not {self.input_size}")
        from_file = self.init_from == "file"
        if from_file and not re.fullmatch("[0-9a-f]{64}", self.init_sha256):
            raise ValueError(f"init_sha256 must be 64 hex digits, of `sha256sum {self.init}`, not {self.init_sha256!r}")
        if self.init_sha256 and not from_file:
            raise ValueError(f"init_sha256 is of a file of weights, and init is {self.init}; take it out")


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a network again and to cut faces for it as in training."""

    architecture: dict[str, Any]  # the ModelConfig
    cut: CutSpec
    classes: tuple[str, ...] = EXPRESSIONS  # of the logits, in their order

    def serving(self, temperature: float | None) -> Spec:
        """What the runtime needs beside the graph; None: no temperature has been fitted."""
        return Spec(self.classes, self.cut, temperature)

    def build(self) -> "Network":
        """The network with fresh weights; needs PyTorch."""
        from mien.models.networks import build_model

        config = build_settings(ModelConfig, self.architecture, "architecture", complete=False)
        return build_model(config, self.cut, classes=len(self.classes))


WEIGHTS: Final = "model.safetensors"
SPEC: Final = "model.json"
LINEAGE: Final = "lineage.json"
TRAINING_FACES: Final = "training_faces.parquet"
CARD: Final = "card.md"  # of a registered version
VERSION_FOLDER: Final = Path("artifacts") / "model"  # where all of these lie in a registered version
# What a training is made on, beside the versions of libraries; reports/train.json has it too.
MACHINE: Final = ("device", "precision", "instructions", "threads", "gpu", "devices")
CONTINUED_FROM: Final = "continued_from"  # such machines, in order, where a training was continued on another

SPEC_KEYS: Final[dict[str, type]] = {"architecture": dict, "cut": dict, "classes": list}
# What is used of a training's account of itself. `device`, `instructions`, `threads`, `gpu`, `devices`,
# `versions` and `search.made_on` came later: unknown where absent.
LINEAGE_KEYS: Final[dict[str, type]] = {
    **dict.fromkeys(("digest", "run", "data", "model", "data_digest", "split_digest", "precision"), str),
    **dict.fromkeys(("choices", "config", "search"), dict),
    "parameters": int,
}


def read_spec(folder: Path) -> ModelSpec:
    """The description of a folder's network; a UserError where model.json is missing, damaged or of another mien."""
    fields = read_record(folder / SPEC, SPEC_KEYS, rerun("train"), closed=True)
    cut = read_out(folder / SPEC, lambda _: cut_of(fields["cut"], SPEC), rerun("train"))
    return ModelSpec(fields["architecture"], cut, tuple(fields["classes"]))


def read_lineage(folder: Path) -> dict[str, Any]:
    """Where a folder's network comes from; a UserError where lineage.json is missing, damaged or of another mien."""
    return read_record(folder / LINEAGE, LINEAGE_KEYS, rerun("train"))


def read_history(file: Path) -> list[tuple[int, dict[str, float]]]:
    """The epochs of a training's history.csv: (epoch, values), without the empty cells."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [
            (int(float(row.pop("epoch"))), {key: float(value) for key, value in row.items() if value})
            for row in csv.DictReader(rows)
        ]


def hardware_words(lineage: Mapping[str, Any]) -> str:
    """`the CPU (avx512_bf16, 2 threads), bf16`; where it was so, on what else the search ran, and what time ended."""
    search, words = lineage["search"].get("made_on"), made_on_words(lineage)
    if search is not None and any(machine_difference(search, lineage)):
        words += f", after a search on {made_on_words(search)}"
    return "; ".join(filter(None, [words, lineage["search"].get("stopped"), lineage.get("stopped")]))


def made_on_words(made_on: Mapping[str, Any]) -> str:
    """Device and precision: `a GPU (NVIDIA H100), float32`; of a training that moved, each in order."""
    machines = map(_machine, [*made_on.get(CONTINUED_FROM, ()), made_on])
    return ", continued on ".join(
        f"{device} ({', '.join(details)}), {precision}" if details else f"{device}, {precision}"
        for device, *details, precision in machines
    )


def machine_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, str]:
    """What each has alone of what both tell: (`avx2 and float32`, `avx512_bf16 and bf16`), or two empty texts.

    Where one was continued on another kind of machine, all of what each was made on.
    """
    if a.get(CONTINUED_FROM) != b.get(CONTINUED_FROM):
        return made_on_words(a), made_on_words(b)
    common = a.keys() & b.keys()
    parts = []
    for machine in (a, b):
        known = {key: value for key, value in machine.items() if key in common}
        libraries = [f"{name} {version}" for name, version in known.get("versions", {}).items()]
        parts.append([*_machine(known), *libraries])
    ours, theirs = (" and ".join(part for part in own if part not in other) for own, other in (parts, reversed(parts)))
    return ours, theirs


def _machine(made_on: Mapping[str, Any]) -> list[str]:
    precision = "float32" if made_on["precision"] == "32" else made_on["precision"]
    if made_on.get("device", "cpu") == "gpu":
        number = made_on.get("devices", 1)
        return ["a GPU" if number == 1 else f"{number} GPUs", *filter(None, [made_on.get("gpu")]), precision]
    threads = made_on.get("threads")
    details = [made_on["instructions"], f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []
    return ["the CPU", *details, precision]
