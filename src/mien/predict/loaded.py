"""A model ready to predict: network, how faces are cut for it, temperature, and where it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import UserError
from mien.models.account import ANEW, LINEAGE
from mien.models.saved import ModelSpec, load_model
from mien.records import read_record

if TYPE_CHECKING:
    from mien.models.catalogue import Network

SERVED: Final = Path("artifacts") / "model"  # below the folder of a registered model
SERVING: Final = "serving.json"


@dataclass(frozen=True)
class LoadedModel:
    """What a predictor needs of a model, and what people want to know of it."""

    network: "Network"
    spec: ModelSpec
    temperature: float | None  # None: never fitted, so that probabilities are not calibrated
    name: str  # "mien-sample", or the folder
    version: int | None  # of the registered model; None for a folder
    title: str  # the data set, for people
    drawn: bool  # learnt from drawings, not from photographs


def load_folder(
    folder: Path, *, name: str = "", version: int | None = None, temperature: float | None = None
) -> LoadedModel:
    """The model in a folder: what the train stage wrote, or a registered model as MLflow stores it.

    A temperature that is not given is looked for in the folder (registered models carry it), then where the
    evaluate stage writes it beside the train stage's folder.

    Raises:
        UserError: no model is there, or it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder; a model is models:/NAME@champion or a folder like build/train."
        )
    files = folder / SERVED if (folder / SERVED).is_dir() else folder
    network, spec = load_model(files)
    lineage = read_record(files / LINEAGE, {}, ANEW) if (files / LINEAGE).exists() else {}
    return LoadedModel(
        network=network,
        spec=spec,
        temperature=_temperature(files) if temperature is None else temperature,
        name=name or str(folder),
        version=version,
        title=str(lineage.get("title", "")),
        drawn=bool(lineage.get("drawn", False)),
    )


def _temperature(folder: Path) -> float | None:
    for file in (folder / SERVING, folder.parent / "evaluate" / "temperature.json"):
        if file.exists():
            about = read_record(file, {"temperature": float}, "`dvc repro evaluate` writes it anew")
            return float(about["temperature"])
    return None
