"""What a training and its evaluation left behind, as something to register."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import mien
from mien.base.records import read_record
from mien.models.spec import SPEC, ModelSpec, read_lineage, read_spec

PACKAGE: Final = Path(mien.__file__).resolve().parent
# The code that turns a photo into a probability: a change in it makes another model of the same weights.
SERVING: Final = (
    "base/classes.py",
    "models",
    "registry/served.py",
    "runtime",
)
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True)
class Candidate:
    """The folders and files that make a version of a registered model."""

    model: Path  # model.safetensors, model.json, lineage.json
    temperature_file: Path
    split: Path  # train.parquet, val.parquet, test.parquet

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """What the training says of itself."""
        return read_lineage(self.model)

    @cached_property
    def spec(self) -> ModelSpec:
        """The network's description."""
        return read_spec(self.model)

    @cached_property
    def temperature(self) -> float:
        """By which logits are divided."""
        about = read_record(self.temperature_file, {"temperature": float}, "`dvc repro evaluate` writes it anew")
        return float(about["temperature"])

    @property
    def name(self) -> str:
        """Of the registered model."""
        return registered_name(self.lineage["data"])

    @cached_property
    def identity(self) -> str:
        """The digest of weights, description, temperature and serving code: equal identity, equal answers."""
        digest = hashlib.sha256()
        for file in (self.model / WEIGHTS, self.model / SPEC):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        digest.update(repr(self.temperature).encode())
        for source in _sources():
            digest.update(f"{source.relative_to(PACKAGE).as_posix()}\0".encode() + source.read_bytes())
        return digest.hexdigest()[:32]


def registered_name(data: str) -> str:
    """A data set's registered model: one each, so that a champion only meets candidates for the same task."""
    return f"mien-{data}"


def _sources() -> list[Path]:
    paths = [PACKAGE / name for name in SERVING]
    return sorted(f for p in paths for f in ([p] if p.is_file() else p.rglob("*.py")) if "__pycache__" not in f.parts)
