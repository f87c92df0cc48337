"""A model as prediction needs it: what runs it, its temperature, and where it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mien.errors import UserError
from mien.models.account import ANEW, LINEAGE
from mien.models.probabilities import softmax
from mien.models.spec import ModelSpec
from mien.predict.classifier import Classifier, TorchClassifier
from mien.records import read_record

SERVED: Final = Path("artifacts") / "model"  # below the folder of a registered model
SERVING: Final = "serving.json"
CARD: Final = "card.md"
LONGEST_CARD: Final = 200_000  # bytes; mien's own are some thousand


@dataclass(frozen=True)
class LoadedModel:
    """What a predictor needs of a model, and what people want to know of it."""

    classifier: Classifier
    spec: ModelSpec
    temperature: float | None  # None: never fitted, so that probabilities are not calibrated
    name: str  # "mien-sample", or the folder or file
    version: int | None  # of the registered model; None for a folder
    title: str  # the data set, for people
    drawn: bool  # learnt from drawings, not from photographs
    card: str = ""  # Markdown: data, numbers, where it fails, what it is for; "" where the model brings none

    def probabilities(self, faces: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, classes) float64, in the order of the classes, of (N, size, size, C) uint8.

        Raises:
            ValueError: the faces have another form.
        """
        expected = (self.spec.size, self.spec.size, self.spec.channels)
        if faces.shape[1:] != expected or faces.dtype != np.uint8:
            raise ValueError(f"faces must be N x {expected} uint8, not {faces.shape} {faces.dtype}")
        return softmax(self.classifier.logits(faces), self.temperature or 1.0)

    @property
    def says(self) -> str:
        """`mien-expw version 3`, or the folder or file."""
        return self.name if self.version is None else f"{self.name} version {self.version}"


def load_model_of(said: str) -> LoadedModel:
    """The model that a person means: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a file `x.onnx`, or a folder.

    Raises:
        NoSuchModel: the registry has none of that name, version or alias.
        UserError: the store cannot be reached, no model is there, or it cannot be read.
    """
    if ":/" in said:
        from mien.predict.registered import load_registered

        return load_registered(said)
    if said.lower().endswith(".onnx"):
        from mien.predict.onnx_classifier import load_onnx

        return load_onnx(Path(said))
    return load_folder(Path(said))


def load_folder(
    folder: Path, *, name: str = "", version: int | None = None, temperature: float | None = None
) -> LoadedModel:
    """The model in a folder: what the train stage wrote, or a registered model as MLflow stores it.

    A temperature that is not given is looked for in the folder (registered models carry it), then where the
    evaluate stage writes it beside the train stage's folder.

    Raises:
        UserError: no model is there, or it cannot be read.
    """
    from mien.models.saved import load_model

    if not folder.is_dir():
        raise UserError(
            f"{folder}: there is no such folder; a model is models:/NAME@champion or a folder like build/train."
        )
    files = model_files(folder)
    network, spec = load_model(files)
    lineage = read_record(files / LINEAGE, {}, ANEW) if (files / LINEAGE).exists() else {}
    return LoadedModel(
        classifier=TorchClassifier(network),
        spec=spec,
        temperature=_temperature(files) if temperature is None else temperature,
        name=name or str(folder),
        version=version,
        title=str(lineage.get("title", "")),
        drawn=bool(lineage.get("drawn", False)),
        card=read_card(files),
    )


def model_files(folder: Path) -> Path:
    """Where a model's own files lie: in the train stage's folder itself, deeper in a registered model's."""
    return folder / SERVED if (folder / SERVED).is_dir() else folder


def read_card(folder: Path) -> str:
    """The model card in a model's folder, as Markdown; "" where there is none, as before mien wrote any.

    A person may have edited it: bytes that are no UTF-8 are replaced, and what is longer than any card is cut.
    """
    try:
        with (folder / CARD).open("rb") as file:
            return file.read(LONGEST_CARD).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _temperature(folder: Path) -> float | None:
    for file in (folder / SERVING, folder.parent / "evaluate" / "temperature.json"):
        if file.exists():
            about = read_record(file, {"temperature": float}, "`dvc repro evaluate` writes it anew")
            return float(about["temperature"])
    return None
