"""Pictures with their faces drawn in, each in a file of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2

from mien.base.errors import UserError
from mien.base.files import written_whole
from mien.inference.annotation import draw_faces

if TYPE_CHECKING:
    from mien.inference.detectors import PredictConfig
    from mien.inference.predictor import PhotoPrediction

QUALITY: Final = 92


class AnnotatedFiles:
    """Writes into a folder; a file that is there, of this run or before it, is never overwritten."""

    def __init__(self, folder: Path, limits: "PredictConfig") -> None:
        self._folder = folder
        self._limits = limits

    def write(self, prediction: "PhotoPrediction") -> None:
        """Draw a picture's faces; a picture without a face is left out.

        Raises:
            UserError: the folder cannot be written.
        """
        if not prediction.faces:
            return
        pixels = prediction.picture.pixels("rgb", self._limits)
        faces = [
            (
                face.box,
                f"{number}  {'unsure: ' * face.unsure}{face.label} {face.probabilities[face.label]:.0%}",
                face.label,
            )
            for number, face in enumerate(prediction.faces, start=1)
        ]
        drawn = cv2.cvtColor(draw_faces(pixels, faces), cv2.COLOR_RGB2BGR)
        content = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        try:
            with written_whole(self._free_name(prediction)) as part:
                part.write_bytes(content)
        except OSError as error:
            raise UserError(f"{self._folder}: cannot be written: {error.strerror}.") from error

    def _free_name(self, prediction: "PhotoPrediction") -> Path:
        picture = prediction.picture
        name = "stdin" if picture.data is not None else picture.file.stem
        if picture.time is not None:
            name = f"{name}-{picture.time:08.2f}s"
        names = (f"{name}.jpg" if n == 1 else f"{name}-{n}.jpg" for n in range(1, 10**9))
        return next(self._folder / name for name in names if not (self._folder / name).exists())
