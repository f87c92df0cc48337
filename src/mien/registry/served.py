"""The registered model: photos of single faces in, expressions and probabilities out, alike in Python and over REST.

MLflow loads this file by its path ("models from code"), with the package `mien` as it was at registration
beside it. Decoding, resizing, the order of the classes and the temperature are in here, so nobody who
uses the model has to know them.
"""

import json
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mien.errors import UserError
from mien.faces.cut import cut_face
from mien.faces.decode import UnreadablePhoto, decode_photo
from mien.faces.geometry import Box
from mien.models.inference import predict_logits
from mien.models.probabilities import softmax
from mien.models.saved import load_model

IMAGE: Final = "image"
LABEL: Final = "label"
TEMPERATURE: Final = "serving.json"
MAX_MEGAPIXELS: Final = 100.0


class UnreadableImage(MlflowException, UserError):
    """A row without a readable image: MLflow's server hands its sentence on with the status 400."""


class ServedModel(PythonModel):
    """A network with all that turns a photo of one face into the network's input."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network, how its faces were cut, and the temperature."""
        folder = Path(context.artifacts["model"])
        self._network, self._spec = load_model(folder)
        self._temperature = float(json.loads((folder / TEMPERATURE).read_text(encoding="utf-8"))["temperature"])

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per row of the input, under its index: `label` and a probability for each expression.

        Args:
            context: not used; MLflow passes it.
            model_input: a table with the column `image`: a JPEG, PNG, ... of ONE face, cut as a face
                detector cuts it, as bytes. Over REST the bytes are base64, as in every binary column of MLflow.
            params: none.

        Raises:
            UnreadableImage: an image cannot be read; the row is named.
        """
        images = list(model_input[IMAGE])
        faces = np.stack([self._face(row, image) for row, image in enumerate(images)]) if images else self._none()
        probabilities = softmax(predict_logits(self._network, faces), self._temperature)
        labels = [self._spec.classes[k] for k in probabilities.argmax(axis=1)]
        table = pd.DataFrame(probabilities, columns=list(self._spec.classes), index=model_input.index)
        table.insert(0, LABEL, labels)
        return table

    def _face(self, row: int, image: Any) -> np.ndarray:
        """One image as the network takes it: (size, size, C) uint8."""
        if not isinstance(image, bytes | bytearray):
            given = type(image).__name__
            raise UnreadableImage.invalid_parameter_value(f"row {row}: {IMAGE} must be a file's bytes, not {given}.")
        try:
            photo = decode_photo(
                bytes(image),
                colour=self._spec.colour,
                max_megapixels=MAX_MEGAPIXELS,
                apply_exif_rotation=self._spec.apply_exif_rotation,
            )
        except UnreadablePhoto as error:
            raise UnreadableImage.invalid_parameter_value(
                f"row {row}: the image cannot be read: {error.detail}."
            ) from error
        return cut_face(photo, Box(0, 0, photo.shape[1], photo.shape[0]), self._spec.size)

    def _none(self) -> np.ndarray:
        return np.empty((0, self._spec.size, self._spec.size, self._spec.channels), np.uint8)


mlflow.models.set_model(ServedModel())
