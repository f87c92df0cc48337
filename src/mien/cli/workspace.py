"""The checkout that a command works in, and which data set it is about."""

from pathlib import Path
from typing import Any, Final

from mien.base.errors import UserError

PARAMS: Final = "params.yaml"


def find_root() -> Path:
    """The nearest folder with a params.yaml, from the current one upwards; the current one where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / PARAMS).is_file()), here)


def registered_model(root: Path, data: str | None) -> str:
    """The name of a data set's registered model, by default of the data set that params.yaml chooses.

    Raises:
        UserError: no data set is given, and params.yaml names none.
    """
    choice = data or data_choice(root)
    file = root / "conf" / "data" / f"{choice}.yaml"
    name = read_yaml(file).get("name", choice) if file.is_file() else choice
    return f"mien-{name}"


def data_choice(root: Path) -> str:
    """The data set that params.yaml chooses.

    Raises:
        UserError: there is no params.yaml, or it chooses none.
    """
    file = root / PARAMS
    if not file.is_file():
        raise UserError(f"there is no {PARAMS} here or above; go to a checkout of mien, or say --data NAME.")
    choice = read_yaml(file).get("data")
    if not isinstance(choice, str):
        raise UserError(f"{file} chooses no data set; it needs a line such as `data: sample`.")
    return choice


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: the file cannot be read, is no YAML, or no mapping.
    """
    from mien.base.settings import read_plain_yaml

    return read_plain_yaml(file, str(file))
