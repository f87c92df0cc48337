"""Model spec: classes, cropping settings and temperature."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

SPEC_FILE: Final = "spec.json"
FORMAT: Final = 2  # of spec.json; another one is refused


class UnusableModel(ValueError):
    """A model's file that is missing, damaged or of another format: one sentence that names it."""


@dataclass(frozen=True)
class CutSpec:
    """How a face is taken out of its photo; equal specs give equal pixels."""

    size: int  # pixels of each side of the face
    colour: str  # "rgb" or "grey"
    margin: float = 0.0  # added on each side, as a share of the box's size
    square: bool = False  # widen the shorter side, so that the face is not stretched

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return 1 if self.colour == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a face: (size, size, channels)."""
        return self.size, self.size, self.channels


@dataclass(frozen=True)
class Spec:
    """What turns a photo of a face and logits into an answer."""

    classes: tuple[str, ...]  # of the logits, in their order
    cut: CutSpec
    temperature: float | None = None  # by which logits are divided; None: never fitted

    def save(self, file: Path) -> None:
        """Write the spec as JSON."""
        file.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n", encoding="utf-8")


def read_spec_file(file: Path) -> Spec:
    """The spec in a file that `Spec.save` wrote; UnusableModel where it is missing, damaged or of another format."""
    try:
        return spec_of(json.loads(file.read_text(encoding="utf-8")), str(file))
    except FileNotFoundError as error:
        raise UnusableModel(f"{file} is missing") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnusableModel(f"{file} cannot be read ({error})") from error


def spec_of(content: Any, name: str) -> Spec:
    """The spec in parsed JSON, which comes from `name`; UnusableModel for another format, or where it lacks a part."""
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise UnusableModel(f"{name} is of format {found}, and this mien reads format {FORMAT}")
    try:
        temperature = content["temperature"]
        classes = tuple(map(str, content["classes"]))
        if len(set(classes)) < max(len(classes), 2):
            raise ValueError(f"its classes are {', '.join(classes) or 'none'}")
        return Spec(classes, cut_of(content["cut"], name), None if temperature is None else float(temperature))
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableModel(f"{name} is damaged ({error})") from error


def cut_of(content: Any, name: str) -> CutSpec:
    """The cut in parsed JSON, which comes from `name`.

    UnusableModel where a key is missing, unknown or of another kind: a guess would cut otherwise than in training.
    """
    found = sorted(content) if isinstance(content, dict) else content
    kinds = get_type_hints(CutSpec)
    if found != sorted(kinds):
        raise UnusableModel(f"{name}: cut must have {', '.join(kinds)}, and has {found}")
    for key, kind in kinds.items():
        if type(content[key]) not in ((int, float) if kind is float else (kind,)):  # a bool is no int here
            raise UnusableModel(f"{name}: cut.{key} is {content[key]!r}")
    return CutSpec(**content)
