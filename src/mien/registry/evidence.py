"""Evidence for the gate: candidate and champion scored on the same test faces."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.records import opened
from mien.crop.cropping import crop_faces
from mien.crop.packed import PackedFaces, open_faces
from mien.crop.selection import CropConfig
from mien.evaluation.intervals import cluster_sums, interval, paired_bootstrap, photo_clusters, resampled
from mien.evaluation.measures import face_sums, measures
from mien.models.spec import ModelSpec, read_spec
from mien.registry import gate
from mien.registry.candidate import Candidate
from mien.registry.gate import RegisterConfig, Scores
from mien.registry.history import DECISION
from mien.registry.version import MODEL, TRAINED_ON
from mien.runtime.spec import CutSpec
from mien.sources.photos import Photos
from mien.tracking.store import is_unreachable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BINS: Final = 15  # of the expected calibration error


@dataclass(frozen=True)
class TestSet:
    """The faces on which models are compared: those of the test set without a copy in training.

    `faces` is the split's index of them (row, face_id, label, photo_digest, face_digest, ...), and
    `probabilities` (N, classes) float64 are the candidate's calibrated answers in the same order.
    """

    __test__ = False  # no test case of pytest's

    faces: pd.DataFrame
    probabilities: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """True classes, (N,) int64."""
        return self.faces["label"].to_numpy().astype(np.int64)

    @property
    def clusters(self) -> np.ndarray:
        """The photo of each face, (N,) int64."""
        return photo_clusters(self.faces)


def read_test_set(split: Path, predictions: Path) -> TestSet:
    """The test set of a split and the candidate's answers of `reports/predictions.csv`.

    Raises:
        UserError: the two do not belong together, or every test face has a copy in training.
    """
    faces = opened(split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it anew")
    kinds = {"face_id": str, "image": str, "group": str}
    answers = opened(predictions, lambda file: pd.read_csv(file, dtype=kinds), "`dvc repro evaluate` writes it anew")
    if set(faces["face_id"].astype(str)) != set(answers["face_id"]) or len(faces) != len(answers):
        raise UserError(f"{predictions} and {split / 'test.parquet'} name other faces; `dvc repro evaluate` mends it.")
    faces = faces[~faces["leaked"].astype(bool)].reset_index(drop=True)
    if faces.empty:
        raise UserError("every test face has a copy in training, so no model can be judged: choose another split.")
    ordered = answers.set_index("face_id").reindex(faces["face_id"].astype(str))
    given = ordered[[column for column in ordered.columns if column.startswith("p_")]]
    return TestSet(faces, normalised(given.to_numpy(dtype=np.float64)))


def normalised(probabilities: np.ndarray) -> np.ndarray:
    """Rows that were rounded in a file, made to add up to 1 again."""
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def score(test: TestSet, probabilities: np.ndarray, settings: RegisterConfig) -> Scores:
    """Scores of a model with intervals at level 1 - 2 alpha, by resampling photos."""
    sums = cluster_sums(face_sums(test.labels, probabilities, BINS), test.clusters)
    whole = measures(sums.sum(axis=0, keepdims=True), BINS)
    drawn = measures(resampled(sums, settings.bootstrap if len(sums) > 1 else 0, settings.seed), BINS)

    def bounds(name: str) -> Any:
        level = 1 - 2 * settings.alpha
        return interval(float(whole[name][0]), drawn[name], level=level, unbias=name == "ece")

    return Scores(
        n=len(test.faces),
        photos=len(sums),
        majority_share=float(np.bincount(test.labels).max() / len(test.labels)),
        accuracy=bounds("accuracy"),
        unweighted_average_recall=bounds("unweighted_average_recall"),
        ece=bounds("ece"),
    )


def difference(test: TestSet, champion: np.ndarray, settings: RegisterConfig) -> dict[str, Any]:
    """Candidate minus champion on the same faces, at level 1 - 2 alpha."""
    return paired_bootstrap(
        test.labels,
        champion,
        test.probabilities,
        test.clusters,
        n=settings.bootstrap,
        seed=settings.seed,
        bins=BINS,
        level=1 - 2 * settings.alpha,
    )


def recut(cut: CutSpec, test: pd.DataFrame, table: pd.DataFrame, open_photos: Callable[[], Photos]) -> PackedFaces:
    """The faces of a test index as a model needs them, in the index's order.

    Args:
        cut: how the model's faces are cut.
        test: the test index.
        table: the faces table that ingest wrote, with the boxes as the data set gives them.
        open_photos: opens the raw photos.

    Raises:
        NoComparison: the raw photos are not here, or a face cannot be cut from them.
    """
    rows = table[table["face_id"].astype(str).isin(set(test["face_id"].astype(str)))]
    config = CropConfig(
        **asdict(cut),
        min_confidence=float("-inf"),  # they were chosen by the candidate's crop already
        scaled_decoding=False,
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            crop_faces(rows, open_photos(), config, Path(scratch), progress=False)
        except (UserError, OSError) as error:
            raise NoComparison(f"The champion needs faces cut from the raw photos, and {error}") from error
        packed = open_faces(Path(scratch))
        pixels = np.array(packed.pixels)
    at = {str(face): i for i, face in enumerate(packed.index["face_id"])}
    missing = [face for face in test["face_id"].astype(str) if face not in at]
    if missing:
        raise NoComparison(
            f"The champion needs faces cut from the raw photos, and {len(missing)} of {len(test)} cannot be cut, "
            f"{missing[0]} for one."
        )
    order = [at[face] for face in test["face_id"].astype(str)]
    return replace(packed, pixels=pixels[order], index=packed.index.iloc[order].reset_index(drop=True))


@dataclass(frozen=True)
class FaceCutter:
    """Test faces as any model needs them: packed ones where they are cut alike, else cut anew."""

    packed: Path  # the folder that crop wrote
    table: Path  # faces.parquet of ingest
    open_photos: Callable[[], Photos]

    def __call__(self, cut: CutSpec, test: pd.DataFrame) -> PackedFaces:
        """The faces of a test index, in its order.

        Raises:
            NoComparison: the raw photos are needed and not here.
        """
        packed = open_faces(self.packed)
        if packed.cut == cut:
            rows = test["row"].to_numpy()
            return replace(packed, pixels=packed.pixels[rows], index=packed.index.iloc[rows].reset_index(drop=True))
        return recut(cut, test, pd.read_parquet(self.table), self.open_photos)


ANSWER: Final = Path(__file__).with_name("answer.py")
MINUTES: Final = 30  # for a large test set on a slow machine

# Cuts the faces of a test index as a model's spec says; raises NoComparison where it cannot.
Cutter = Callable[[CutSpec, pd.DataFrame], PackedFaces]


class NoComparison(Exception):
    """Why a champion cannot be compared, as a sentence."""


@dataclass(frozen=True)
class Champion:
    """The files of a registered version, here."""

    version: int
    folder: Path

    @property
    def spec(self) -> ModelSpec:
        """Its classes, and how faces are cut for it.

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
            return np.asarray(pd.read_parquet(answers)[list(self.spec.classes)], dtype=np.float64)

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


@dataclass(frozen=True)
class Evidence:
    """Where the candidate's answers are, and how test faces are cut for a champion."""

    predictions: Path
    cut: "Cutter"


def decisions_on(client: "MlflowClient", name: str, split_digest: str) -> int:
    """How often a test set has decided about a version of this model."""
    versions = client.search_model_versions(f"name = '{name}'")
    stored = [json.loads(v) for m in versions for k, v in m.tags.items() if k.startswith(DECISION)]
    return sum(
        d["outcome"] in (gate.PROMOTED, gate.CHALLENGER) and d["numbers"].get("split_digest") == split_digest
        for d in stored
    )


FACES: Final = 16
TOLERANCE: Final = 1e-4  # of a probability; predictions.csv keeps six digits


@dataclass(frozen=True)
class AnswersAsEvaluated:
    """Called with the folder of a saved model before it goes up."""

    candidate: Candidate
    predictions: Path
    cut: Cutter

    def __call__(self, folder: Path) -> None:
        """Compare the served answers to some test faces with those of predictions.csv.

        Raises:
            UserError: they differ.
        """
        import mlflow.pyfunc

        test = read_test_set(self.candidate.split, self.predictions)
        faces = test.faces.head(FACES)
        images = pd.DataFrame({"image": [as_png(face) for face in self.cut(self.candidate.spec.cut, faces).pixels]})
        served = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        answers = served.predict(images)[list(self.candidate.spec.classes)].to_numpy(dtype=np.float64)
        apart = np.abs(answers - test.probabilities[: len(faces)]).max(axis=1)
        if (worst := int(apart.argmax())) >= 0 and apart[worst] > TOLERANCE:
            raise UserError(
                f"the model to be served answers {apart[worst]:.4f} apart from its evaluation on face "
                f"{faces['face_id'].iloc[worst]}; `dvc repro -f evaluate` evaluates the weights as they are."
            )
