"""The champion on a candidate's test set: its own files, its own preprocessing, its own code."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.faces.packed import PackedFaces
from mien.models.account import read_spec
from mien.registry.log_model import MODEL, TRAINED_ON
from mien.tracking.failure import is_unreachable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ANSWER: Final = Path(__file__).with_name("answer.py")
MINUTES: Final = 30  # for a large test set on a slow machine

# Cuts the faces of a test index as a model's spec says; raises NoComparison where it cannot.
Cutter = Callable[[Mapping[str, Any], pd.DataFrame], PackedFaces]


class NoComparison(Exception):
    """Why a champion cannot be compared, as a sentence."""


@dataclass(frozen=True)
class Champion:
    """The files of a registered version, here."""

    version: int
    folder: Path

    @property
    def spec(self) -> dict[str, Any]:
        """How faces are cut for it.

        Raises:
            NoComparison: its files are damaged, or of another version of mien.
        """
        try:
            return read_spec(self._model)
        except UserError as error:
            why = str(error).partition(";")[0]
            raise NoComparison(f"The files of the champion, version {self.version}, cannot be used: {why}.") from error

    def overlap(self, test: pd.DataFrame, *, same_cut: bool) -> int:
        """How many test faces it learnt from: the same photo, or, where faces are cut alike, the same pixels.

        Raises:
            NoComparison: its list of them is missing or damaged.
        """
        try:
            seen = pd.read_parquet(self._model / TRAINED_ON, columns=["photo_digest", "face_digest"])
        except (OSError, ValueError) as error:
            raise NoComparison(
                f"The list of what the champion, version {self.version}, learnt from cannot be read: {error}."
            ) from error
        known = test["photo_digest"].isin(set(seen["photo_digest"]))
        if same_cut:
            known |= test["face_digest"].isin(set(seen["face_digest"]))
        return int(known.sum())

    def answers(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """Its calibrated probabilities (N, classes) of faces (H, W, C) uint8, from a process of its own.

        Raises:
            NoComparison: it does not run with what is installed here.
        """
        with tempfile.TemporaryDirectory() as scratch:
            images, answers = Path(scratch) / "images.parquet", Path(scratch) / "answers.parquet"
            pd.DataFrame({"image": [as_png(face) for face in faces]}).to_parquet(images)
            command = [sys.executable, str(ANSWER), str(self.folder), str(images), str(answers)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60 * MINUTES, check=False, cwd=scratch
            )
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise NoComparison(f"The champion, version {self.version}, does not run here: {reason[:300]}.")
            return np.asarray(pd.read_parquet(answers)[self.spec["classes"]], dtype=np.float64)

    @property
    def _model(self) -> Path:
        return self.folder / "artifacts" / MODEL


def fetch_champion(client: "MlflowClient", name: str, version: int, to: Path) -> Champion:
    """The files of a version: where they lie, or copied from the server into `to`.

    Raises:
        NoComparison: they are gone.
        MlflowException: the server gives no answer, which is no ground for a decision.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        folder = mlflow.artifacts.download_artifacts(
            client.get_model_version_download_uri(name, str(version)),
            dst_path=str(to),
            tracking_uri=client.tracking_uri,
        )
    except (MlflowException, OSError) as error:
        if is_unreachable(client.tracking_uri, error):
            raise
        raise NoComparison(f"The files of the champion, version {version}, cannot be read: {error}.") from error
    return Champion(version, Path(folder))


def as_png(face: np.ndarray) -> bytes:
    """A face (H, W, C) uint8 as a PNG file, without loss."""
    pixels = face if face.shape[2] == 1 else cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
