"""The model that answers: the one that was named, the champion of this checkout, or the one in the package."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.base.settings import read_yaml, refuse_unknown_choice

if TYPE_CHECKING:
    from mien.inference.classifier import LoadedModel

PARAMS: Final = "params.yaml"


def find_root() -> Path:
    """The nearest folder with a params.yaml, from the current one upwards; the current one where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / PARAMS).is_file()), here)


def choices(root: Path) -> dict[str, Any]:
    """What params.yaml chooses; nothing where there is none."""
    file = root / PARAMS
    return read_yaml(file) if file.is_file() else {}


def data_file(root: Path, choice: str) -> dict[str, Any]:
    """What a data set's file in conf/data says; nothing where there is none."""
    file = root / "conf" / "data" / f"{choice}.yaml"
    return read_yaml(file) if file.is_file() else {}


def registered_model(root: Path, data: str | None) -> str:
    """The name of the registered model of a data set, by default of the one that params.yaml chooses."""
    if data and (root / "conf" / "data").is_dir():
        refuse_unknown_choice(root / "conf", "data", data, "--data")
    data = data or choices(root).get("data")
    if not isinstance(data, str):
        raise UserError(f"no {PARAMS} here or above chooses a data set; change to a checkout of mien, or pass --data.")
    return f"mien-{data_file(root, data).get('name', data)}"


def model_address(model: str | None, data: str | None = None, *, packaged: bool = False) -> str:
    """The model that was named, else a data set's champion; the tracking store of this checkout is used from now on.

    With `packaged` the model in the package where no registry can be asked: outside of a checkout, or without MLflow.
    """
    from mien.inference.address import PACKAGED

    root = find_root()
    if packaged and not (model or data or ((root / PARAMS).is_file() and find_spec("mlflow"))):
        return PACKAGED[0]
    if model and (model in PACKAGED or Path(model).exists()):  # files need no store, and none of what it needs
        return model
    from mien.tracking.store import use_store

    use_store(root)
    return model or f"models:/{registered_model(root, data)}@champion"


def load_default(
    model: str | None = None, data: str | None = None, tell: Callable[[str], None] = lambda sentence: None
) -> "LoadedModel":
    """The model that was named, else the champion of the data set, else the model in the package.

    `tell` gets a sentence where versions are registered and none of them is champion. A model, or a data set, that was
    named and is not there is a NoSuchModel.
    """
    from mien.inference.address import PACKAGED, NoSuchModel, load_model_of

    try:
        return load_model_of(model_address(model, data, packaged=True))
    except NoSuchModel as error:
        if model or data:
            raise
        if error.versions:
            tell(f"mien: {error} Until then the model in the package answers.")
        return load_model_of(PACKAGED[0])
