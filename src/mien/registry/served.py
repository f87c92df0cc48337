"""MLflow model of a version: photos of single faces in, classes and probabilities out, in Python and over REST.

MLflow runs this file by its path ("models from code"). It imports nothing of mien but the copy of the runtime that the
version brings. Decoding, resizing, the order of the classes and the temperature are in here, so nobody who uses the
model has to know them.
"""

import sys
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

# A version that this process loaded before brought another copy. MLflow has put this version's first on the path.
for module in [name for name in sys.modules if name.split(".")[0] == "mien_runtime"]:
    del sys.modules[module]

from mien_runtime.cut import Box, cut_face
from mien_runtime.decode import LIMITS, UnreadablePhoto, as_photo, decode_photo
from mien_runtime.session import open_model

IMAGE: Final = "image"  # column: a file's bytes
PIXELS: Final = "pixels"  # column: the picture itself, as nested lists
LABEL: Final = "label"
THREADS: Final = 1  # a server answers several requests at once


class ServedModel(PythonModel):
    """A graph with all that turns a photo of one face into its input."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the graph and its spec, and read how large an image may be."""
        self._model = open_model(Path(context.artifacts["model"]), THREADS)
        self._limits = {**LIMITS, **(context.model_config or {})}
        for name, value in self._limits.items():
            if not isinstance(value, int | float) or not value > 0:
                raise MlflowException.invalid_parameter_value(
                    f"the model's configuration {name} must be a number above 0, not {value!r}."
                )

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """One row per row of the input, under its index: `label` and a probability for each class.

        `model_input` is a table of pictures of ONE face each, cut as a face detector cuts it, in one of two columns.
        `image` holds a JPEG, PNG, ... file as bytes; over REST the bytes are base64, as in every binary column of
        MLflow. `pixels` holds (H, W) or (H, W, 1) grey or (H, W, 3) RGB values from 0 to 255, as nested lists or an
        array. `context` and `params`, which MLflow passes, are not used. An image that cannot be read is a
        MlflowException that names the row; MLflow's server answers with its sentence and the status 400.
        """
        classes, cut = list(self._model.spec.classes), self._model.spec.cut
        given = [name for name in (IMAGE, PIXELS) if name in model_input]
        if len(given) != 1:
            which = "both are given" if given else "neither is given"
            raise MlflowException.invalid_parameter_value(
                f"the input needs one column, {IMAGE} (a file) or {PIXELS} (an array), and {which}."
            )
        faces = [self._face(row, given[0], value) for row, value in enumerate(model_input[given[0]])]
        probabilities = self._model.probabilities(np.array(faces, np.uint8).reshape(-1, *cut.shape))  # also of no row
        table = pd.DataFrame(probabilities, columns=classes, index=model_input.index)
        table.insert(0, LABEL, [classes[k] for k in probabilities.argmax(axis=1)])
        return table

    def _face(self, row: int, column: str, value: Any) -> np.ndarray:
        """One image as the network takes it: (size, size, C) uint8."""
        most, megabytes = self._limits["max_megapixels"], self._limits["max_megabytes"]
        try:
            if column == PIXELS:
                photo = as_photo(value, max_megapixels=most)
            elif not isinstance(value, bytes | bytearray):
                raise UnreadablePhoto("not_an_image", f"{IMAGE} must be a file's bytes, not {type(value).__name__}")
            elif len(value) > megabytes * 1e6:
                raise UnreadablePhoto("too_large", f"more than {megabytes:g} megabytes")
            else:
                photo = decode_photo(bytes(value), max_megapixels=most)
        except UnreadablePhoto as error:
            raise MlflowException.invalid_parameter_value(
                f"row {row}: the image cannot be read: {error.detail}."
            ) from error
        return np.asarray(cut_face(photo, Box(0, 0, photo.shape[1], photo.shape[0]), self._model.spec.cut))


mlflow.models.set_model(ServedModel())
