"""What lies beside a network's weights, and is read without PyTorch: how its faces are cut, and where it comes from."""

from pathlib import Path
from typing import Any, Final

from mien.records import read_record

SPEC: Final = "model.json"
LINEAGE: Final = "lineage.json"
ANEW: Final = "`dvc repro train` writes it anew"

# The fields of ModelSpec. None has a default here: another cut than the training's gives wrong answers, silently.
SPEC_KEYS: Final[dict[str, type]] = {
    "architecture": dict,
    "size": int,
    "colour": str,
    "margin": float,
    "square": bool,
    "apply_exif_rotation": bool,
    "classes": list,
}
# What is used of a training's account of itself. `device` and `search.made_on` came later: unknown where absent.
LINEAGE_KEYS: Final[dict[str, type]] = {
    "digest": str,
    "run": str,
    "data": str,
    "model": str,
    "choices": dict,
    "config": dict,
    "search": dict,
    "data_digest": str,
    "split_digest": str,
    "precision": str,
    "parameters": int,
}


def read_spec(folder: Path) -> dict[str, Any]:
    """How faces are cut for the network in a folder, its architecture and its classes.

    Raises:
        UserError: model.json is missing, damaged, or of another version of mien.
    """
    return read_record(folder / SPEC, SPEC_KEYS, ANEW, closed=True)


def read_lineage(folder: Path) -> dict[str, Any]:
    """Where the network in a folder comes from.

    Raises:
        UserError: lineage.json is missing, damaged, or of another version of mien.
    """
    return read_record(folder / LINEAGE, LINEAGE_KEYS, ANEW)
