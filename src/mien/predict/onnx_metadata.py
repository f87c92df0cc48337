"""What an ONNX file of mien's says of itself, beside its graph: all that a predictor needs, as text in JSON."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.errors import UserError
from mien.expressions import CLASS_SETS
from mien.models.spec import ModelSpec
from mien.records import KINDS

ANEW: Final = "`mien export` writes one that fits"
OWN: Final = "mien"  # the key that says whose file it is: the version of mien that wrote it
SPEC: Final[dict[str, type]] = {
    "classes": list,
    "size": int,
    "colour": str,
    "margin": float,
    "square": bool,
    "apply_exif_rotation": bool,
    "architecture": dict,
}
REST: Final[dict[str, type]] = {
    "name": str,
    "title": str,
    "drawn": bool,
    "lineage": str,
    "precision": str,
    "card": str,
}
NULLABLE: Final[dict[str, type]] = {"temperature": float, "version": int}


@dataclass(frozen=True)
class OnnxMetadata:
    """The metadata of a file."""

    spec: ModelSpec
    temperature: float | None  # that the file's `probabilities` are divided by; None: never fitted
    name: str  # of the registered model, or the folder that it was exported from
    version: int | None  # of the registered model
    title: str  # the data set, for people
    drawn: bool  # learnt from drawings
    lineage: str  # the digest of configuration, data and code; "" where the model's files do not tell
    precision: str  # float32 or int8
    card: str  # Markdown
    mien: str  # the version that wrote the file

    def as_text(self) -> dict[str, str]:
        """A value in JSON for each key; the keys of the spec stand among the others."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "spec"}
        return {key: json.dumps(value) for key, value in {**dataclasses.asdict(self.spec), **values}.items()}


def read_metadata(text: Mapping[str, str], file: Path) -> OnnxMetadata:
    """The metadata in a file's keys and texts.

    Raises:
        UserError: the file is another program's, or of another version of mien; file and key are named.
    """
    if OWN not in text:
        raise UserError(
            f"{file} is an ONNX file, but none of mien's: it does not say how its faces are cut and what its classes "
            f"are; {ANEW}."
        )
    known = {OWN: str, **SPEC, **REST, **NULLABLE}
    values = {key: _value(text, key, kind, file) for key, kind in known.items()}
    classes = tuple(values["classes"])
    if classes not in CLASS_SETS.values():
        raise UserError(f"{file}: its classes {', '.join(map(str, classes))} are unknown to this version; {ANEW}.")
    spec = ModelSpec(**{**{key: values[key] for key in SPEC}, "classes": classes})
    return OnnxMetadata(spec=spec, **{key: values[key] for key in (OWN, *REST, *NULLABLE)})


def _value(text: Mapping[str, str], key: str, kind: type, file: Path) -> Any:
    if key not in text:
        raise UserError(f"{file} lacks {key}, as another version of mien wrote it; {ANEW}.")
    try:
        value = json.loads(text[key])
    except ValueError as error:
        raise UserError(f"{file}: {key} is damaged ({text[key][:40]!r}); {ANEW}.") from error
    if value is None and key in NULLABLE:
        return None
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{file}: {key} must be {KINDS[kind]}, not {text[key][:40]}; {ANEW}.")
    return value
