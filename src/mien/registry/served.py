"""The registered model: photos of single faces in, expressions and probabilities out, alike in Python and over REST.

MLflow loads this file by its path ("models from code"), with the package `mien` as it was at registration
beside it. Decoding, resizing, the order of the classes and the temperature are in here, so nobody who
uses the model has to know them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from mien.base.errors import UserError
from mien.models.weights import load_model, predict_logits
from mien.runtime.cut import Box, cut_face
from mien.runtime.decode import LIMITS, UnreadablePhoto, as_photo, decode_photo
from mien.runtime.session import softmax

IMAGE: Final = "image"  # column: a file's bytes
PIXELS: Final = "pixels"  # column: the picture itself, as nested lists
LABEL: Final = "label"
TEMPERATURE: Final = "serving.json"


def limits_from(given: Mapping[str, Any] | None) -> dict[str, float]:
    """The limits of a model's configuration in MLflow; those that it does not name are LIMITS.

    Raises:
        UserError: a limit is no number above 0.
    """
    limits = {name: (given or {}).get(name, default) for name, default in LIMITS.items()}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise UserError(f"the model's configuration {name} must be a number above 0, not {value!r}.")
    return {name: float(value) for name, value in limits.items()}


class UnreadableImage(MlflowException, UserError):
    """A row without a readable image: MLflow's server hands its sentence on with the status 400."""


class ServedModel(PythonModel):
    """A network with all that turns a photo of one face into the network's input."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network, how its faces were cut, the temperature, and how large an image may be."""
        folder = Path(context.artifacts["model"])
        self._network, self._spec = load_model(folder)
        self._temperature = float(json.loads((folder / TEMPERATURE).read_text(encoding="utf-8"))["temperature"])
        self._limits = limits_from(context.model_config)

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per row of the input, under its index: `label` and a probability for each expression.

        Args:
            context: not used; MLflow passes it.
            model_input: a table of pictures of ONE face each, cut as a face detector cuts it, in one of two columns.
                `image` holds a JPEG, PNG, ... file as bytes; over REST the bytes are base64, as in every binary
                column of MLflow. `pixels` holds (H, W) or (H, W, 1) grey or (H, W, 3) RGB values from 0 to 255, as
                nested lists or an array.
            params: none.

        Raises:
            UnreadableImage: an image cannot be read; the row is named.
        """
        column, taken = self._column(model_input)
        faces = [self._face(row, taken, value) for row, value in enumerate(model_input[column])]
        stacked = np.stack(faces) if faces else self._none()
        probabilities = softmax(predict_logits(self._network, stacked), self._temperature)
        labels = [self._spec.classes[k] for k in probabilities.argmax(axis=1)]
        table = pd.DataFrame(probabilities, columns=list(self._spec.classes), index=model_input.index)
        table.insert(0, LABEL, labels)
        return table

    def _column(self, table: pd.DataFrame) -> tuple[str, Callable[[Any], np.ndarray]]:
        """The column that is given, and what reads one of its values."""
        given = {name: read for name, read in ((IMAGE, self._of_file), (PIXELS, self._of_pixels)) if name in table}
        if len(given) != 1:
            which = "both are given" if given else "neither is given"
            raise UnreadableImage.invalid_parameter_value(
                f"the input needs one column, {IMAGE} (a file) or {PIXELS} (an array), and {which}."
            )
        ((name, read),) = given.items()
        return name, read

    def _face(self, row: int, read: Callable[[Any], np.ndarray], value: Any) -> np.ndarray:
        """One image as the network takes it: (size, size, C) uint8."""
        try:
            photo = read(value)
        except UnreadablePhoto as error:
            raise UnreadableImage.invalid_parameter_value(
                f"row {row}: the image cannot be read: {error.detail}."
            ) from error
        return cut_face(photo, Box(0, 0, photo.shape[1], photo.shape[0]), self._spec.cut.size)

    def _of_file(self, value: Any) -> np.ndarray:
        if not isinstance(value, bytes | bytearray):
            raise UnreadablePhoto("not_an_image", f"{IMAGE} must be a file's bytes, not {type(value).__name__}")
        if len(value) > self._limits["max_megabytes"] * 1e6:
            raise UnreadablePhoto("too_large", f"more than {self._limits['max_megabytes']:g} megabytes")
        return decode_photo(
            bytes(value),
            colour=self._spec.cut.colour,
            max_megapixels=self._limits["max_megapixels"],
            apply_exif_rotation=self._spec.cut.apply_exif_rotation,
        )

    def _of_pixels(self, value: Any) -> np.ndarray:
        return as_photo(value, colour=self._spec.cut.colour, max_megapixels=self._limits["max_megapixels"])

    def _none(self) -> np.ndarray:
        return np.empty((0, self._spec.cut.size, self._spec.cut.size, self._spec.cut.channels), np.uint8)


mlflow.models.set_model(ServedModel())
