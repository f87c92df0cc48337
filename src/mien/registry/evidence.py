"""Evidence for the gate: candidate and champion scored on the same test faces."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.records import read_out
from mien.crop.cropping import crop_faces
from mien.crop.packed import open_faces
from mien.crop.selection import CropConfig
from mien.evaluation.intervals import bootstrap, paired_bootstrap, photo_clusters
from mien.registry.gate import RegisterConfig, Scores
from mien.registry.version import MODEL_FOLDER, Candidate, read_training_faces
from mien.runtime.session import GRAPH_FILE, Model, open_graph, open_model
from mien.runtime.spec import CutSpec, UnusableModel
from mien.sources.photos import Photos
from mien.tracking.store import first_line, is_unreachable

# MLflow takes two seconds to import, so the function that needs it imports it.
if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BINS: Final = 15  # of the expected calibration error
COMPARED: Final = ("accuracy", "unweighted_average_recall", "ece", "nll")
CHECKED: Final = 16  # test faces on which the graph is asked again before it is registered
TOLERANCE: Final = 1e-4  # of a probability; predictions.csv keeps six digits


class NoComparison(Exception):
    """A champion that cannot be compared honestly: the reason, as a sentence."""


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


def read_test_set(split: Path, predictions: Path) -> TestSet:
    """The test set of a split and the candidate's answers of `reports/predictions.csv`.

    Raises:
        UserError: the two do not belong together, or every test face has a copy in training.
    """
    faces = read_out(split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it anew")
    kinds = {"face_id": str, "image": str, "group": str}
    answers = read_out(predictions, lambda file: pd.read_csv(file, dtype=kinds), "`dvc repro evaluate` writes it anew")
    if set(faces["face_id"].astype(str)) != set(answers["face_id"]) or len(faces) != len(answers):
        raise UserError(
            f"{predictions} and {split / 'test.parquet'} name other faces; `dvc repro evaluate` makes them agree."
        )
    faces = faces[~faces["leaked"].astype(bool)].reset_index(drop=True)
    if faces.empty:
        raise UserError("every test face has a copy in training, so no model can be judged: choose another split.")
    ordered = answers.set_index("face_id").reindex(faces["face_id"].astype(str))
    columns = [column for column in ordered.columns if column.startswith("p_")]
    rounded = ordered[columns].to_numpy(dtype=np.float64)
    return TestSet(faces, rounded / rounded.sum(axis=1, keepdims=True))


def score(test: TestSet, probabilities: np.ndarray, settings: RegisterConfig) -> Scores:
    """Scores of a model with intervals at level 1 - 2 alpha, by resampling photos."""
    clusters = photo_clusters(test.faces)
    overall = bootstrap(test.labels, probabilities, clusters, **_resampling(settings)).overall
    return Scores(
        n=len(test.faces),
        photos=len(np.unique(clusters)),
        majority_share=float(np.bincount(test.labels).max() / len(test.labels)),
        accuracy=overall["accuracy"],
        unweighted_average_recall=overall["unweighted_average_recall"],
        ece=overall["ece"],
    )


def difference(test: TestSet, champion: np.ndarray, settings: RegisterConfig) -> dict[str, Any]:
    """Candidate minus champion, whose probabilities are (N, classes), on the same faces, at level 1 - 2 alpha."""
    found = paired_bootstrap(
        test.labels, champion, test.probabilities, photo_clusters(test.faces), **_resampling(settings)
    ).overall
    return {name: found[name] for name in COMPARED}


def _resampling(settings: RegisterConfig) -> dict[str, Any]:
    return {"n": settings.bootstrap, "seed": settings.seed, "bins": BINS, "level": 1 - 2 * settings.alpha}


@dataclass(frozen=True)
class Evidence:
    """The files behind a comparison."""

    predictions: Path  # the candidate's answers, reports/predictions.csv
    packed: Path  # the folder that crop wrote
    table: Path  # the faces table that ingest wrote
    open_photos: Callable[[], Photos]  # opens the raw photos
    threads: int = 1  # of onnxruntime

    def faces(self, cut: CutSpec, test: pd.DataFrame) -> np.ndarray:
        """The faces of a test index, in its order, (N, size, size, C) uint8: packed ones where `cut` is theirs.

        Raises:
            NoComparison: the raw photos are needed and not here, or a face cannot be cut from them.
        """
        packed = open_faces(self.packed)
        if cut == packed.cut:
            return np.asarray(packed.pixels[test["row"].to_numpy()])
        wanted = test["face_id"].astype(str)
        table = pd.read_parquet(self.table)  # with the boxes as the data set gives them
        rows = table[table["face_id"].astype(str).isin(set(wanted))]
        # The candidate's crop has selected the faces by their confidence.
        config = CropConfig(**asdict(cut), min_confidence=float("-inf"))
        with tempfile.TemporaryDirectory() as scratch:
            try:
                crop_faces(rows, self.open_photos(), config, Path(scratch), progress=False)
            except (UserError, OSError) as error:
                raise NoComparison(f"The champion needs faces cut from the raw photos, and {error}") from error
            packed = open_faces(Path(scratch))
            at = {str(face): row for row, face in enumerate(packed.index["face_id"])}
            if missing := [face for face in wanted if face not in at]:
                raise NoComparison(
                    f"The champion needs faces cut from the raw photos, and {len(missing)} of {len(test)} cannot be "
                    f"cut, {missing[0]} for one."
                )
            return np.asarray(packed.pixels[[at[face] for face in wanted]])


@dataclass(frozen=True)
class Champion:
    """The registered version that a candidate is compared with."""

    version: int
    model: Model
    training_faces: pd.DataFrame  # photo_digest and face_digest of each face that it learnt from

    def overlap(self, test: pd.DataFrame, *, same_cut: bool) -> int:
        """How many test faces it learnt from: the same photo, or, where faces are cut alike, the same pixels."""
        known = test["photo_digest"].isin(set(self.training_faces["photo_digest"]))
        if same_cut:
            known |= test["face_digest"].isin(set(self.training_faces["face_digest"]))
        return int(known.sum())


def fetch_champion(client: "MlflowClient", name: str, version: int, to: Path, threads: int = 1) -> Champion:
    """A version from its files: where they lie, or copied from the server into `to`. No code in them is run.

    Raises:
        NoComparison: they are gone, damaged, or of a version of mien with another format.
        MlflowException: the server gives no answer, which is no ground for a decision.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        address = client.get_model_version_download_uri(name, str(version))
        folder = mlflow.artifacts.download_artifacts(address, dst_path=str(to), tracking_uri=client.tracking_uri)
    except (MlflowException, OSError) as error:
        if is_unreachable(client.tracking_uri, error):
            raise
        raise NoComparison(
            f"The files of the champion, version {version}, cannot be read: {first_line(error)}."
        ) from error
    files = Path(folder) / MODEL_FOLDER
    try:
        return Champion(version, open_model(files, threads), read_training_faces(files))
    except (UnusableModel, UserError) as error:
        reason = str(error).partition(";")[0].replace(f"{files}/", "")  # no path of this machine in a decision
        raise NoComparison(
            f"The champion, version {version}, cannot be compared ({reason}): its files are damaged, or of another "
            "version of mien, whose model `dvc repro` would train and register again."
        ) from error


def refuse_other_answers(candidate: Candidate, test: TestSet, evidence: Evidence) -> None:
    """Ask the graph on some test faces, and compare with what the evaluation wrote.

    Raises:
        UserError: they differ, as where the weights are of another training; or the graph cannot be used.
    """
    faces = test.faces.head(CHECKED)
    try:
        session = open_graph(candidate.model / GRAPH_FILE, candidate.spec, evidence.threads)
    except UnusableModel as error:
        raise UserError(f"{error}; `dvc repro train` writes it anew.") from error
    answers = Model(session, candidate.spec).probabilities(evidence.faces(candidate.spec.cut, faces))
    apart = np.abs(answers - test.probabilities[: len(faces)]).max(axis=1)
    worst = int(apart.argmax())
    if apart[worst] > TOLERANCE:
        raise UserError(
            f"the model to be registered answers {apart[worst]:.4f} apart from its evaluation on face "
            f"{faces['face_id'].iloc[worst]}; `dvc repro -f evaluate` evaluates the weights as they are."
        )
