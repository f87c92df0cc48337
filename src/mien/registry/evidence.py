"""Evidence for the gate: candidate and champion scored on the same test faces."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.files import read_out, rerun
from mien.base.state import state_folder
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import learnt_from, open_faces
from mien.evaluation.intervals import TOO_FEW, Interval, bootstrap, change, cluster_sums
from mien.evaluation.scoring import Predictions, slice_rows
from mien.evaluation.tables import add_slices, read_predictions
from mien.registry.gate import RegisterConfig, Scores
from mien.registry.version import PREDICTIONS, Candidate, read_training_faces
from mien.runtime.session import GRAPH_FILE, Model, open_graph, open_model
from mien.runtime.spec import CutSpec, UnusableModel
from mien.sources.source import get_source
from mien.tracking.store import Unreachable, fetch_version

# MLflow takes two seconds to import, so the function that needs it imports it.
if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

COMPARED: Final = ("accuracy", "unweighted_average_recall", "calibration_error", "nll")
FACES: Final = "build/ingest/faces.parquet"
CHECKED: Final = 16  # test faces on which the graph is asked again before it is registered
FEWEST: Final = 50  # test faces on which a champion is compared, where it learnt from the others
TOLERANCE: Final = 1e-4  # of a probability; predictions.csv keeps six digits


class NoComparison(Exception):
    """A champion that cannot be compared honestly: the reason, as a sentence."""


@dataclass(frozen=True)
class TestSet:
    """The faces on which models are compared: those of the test set without a copy in training."""

    __test__ = False  # no test case of pytest's

    faces: pd.DataFrame  # the split's index of them: row, face_id, label, photo_digest, face_digest, group, ...
    probabilities: np.ndarray  # the candidate's calibrated answers, (N, classes) float64

    @property
    def labels(self) -> np.ndarray:
        """True classes, (N,) int64."""
        return self.faces["label"].to_numpy().astype(np.int64)

    def only(self, rows: np.ndarray) -> Self:
        """The faces for which `rows` (N,) bool is true."""
        return replace(self, faces=self.faces[rows].reset_index(drop=True), probabilities=self.probabilities[rows])

    @property
    def groups(self) -> np.ndarray:
        """What is resampled as a whole: the split's group of each face, (N,)."""
        return self.faces["group"].to_numpy()


def read_test_set(candidate: Candidate) -> TestSet:
    """The split's test set with the candidate's answers; a UserError where they do not fit, or every face leaked."""
    split, predictions = candidate.root / "build/split/test.parquet", candidate.root / PREDICTIONS
    faces = read_out(split, pd.read_parquet, rerun("split"))
    answers = read_predictions(predictions).table.set_index("face_id")
    if sorted(faces["face_id"].astype(str)) != sorted(answers.index):
        raise UserError(f"{predictions} and {split} list other faces; `dvc repro evaluate` fixes it.")
    # as evaluated too: a model that the candidate began with may have learnt from further faces
    evaluated = answers["leaked"].reindex(faces["face_id"].astype(str)).to_numpy(bool)
    faces = faces[~(faces["leaked"].to_numpy(bool) | evaluated)].reset_index(drop=True)
    if faces.empty:
        raise UserError(
            "every test face has a copy, or its person, in training, so no model can be judged; in the chosen file of "
            "conf/split, keep_official: false makes a split without leaks in place of the data set's own."
        )
    return TestSet(faces, Predictions(answers.reindex(faces["face_id"].astype(str))).probabilities)


def score(test: TestSet, probabilities: np.ndarray, settings: RegisterConfig) -> Scores:
    """Scores of a model with intervals at level 1 - 2 alpha, by resampling groups."""
    overall = bootstrap(test.labels, probabilities, test.groups, **_resampling(settings)).overall
    return Scores(
        n=len(test.faces),
        photos=test.faces["photo_digest"].nunique(),
        majority_share=float(np.bincount(test.labels).max() / len(test.labels)),
        **{name: overall[name] for name in ("accuracy", "unweighted_average_recall", "calibration_error")},
    )


def difference(test: TestSet, champion: np.ndarray, settings: RegisterConfig) -> dict[str, Interval]:
    """Candidate minus champion, whose probabilities are (N, classes), on the same faces.

    The accuracy, by which a candidate is promoted, at level 1 - 2 alpha / decisions, the rest at 1 - 2 alpha.
    """
    how = _resampling(settings)
    found = bootstrap(test.labels, test.probabilities, test.groups, baseline=champion, **how).overall
    return {name: found[name] for name in COMPARED} | {"accuracy": accuracy_change(test, champion, settings.level)}


def accuracy_change(test: TestSet, champion: np.ndarray, alpha: float) -> Interval:
    """The candidate's accuracy minus the champion's; each end is a one-sided bound at `alpha`."""
    right = [answers.argmax(axis=1) == test.labels for answers in (test.probabilities, champion)]
    ours, theirs, faces = cluster_sums(np.column_stack([*right, np.ones(len(test.labels))]), test.groups).T
    return change((ours, faces), (theirs, faces), 1 - 2 * alpha)


def _resampling(settings: RegisterConfig) -> dict[str, Any]:
    return {"n": settings.bootstrap, "seed": settings.seed, "level": 1 - 2 * settings.alpha}


def cut_faces(candidate: Candidate, cut: CutSpec, test: pd.DataFrame) -> np.ndarray:
    """The faces of a test index, (N, size, size, C) uint8, in its order; NoComparison where one cannot be cut."""
    packed = open_faces(candidate.root / "build/crop")
    if cut == packed.cut:
        return np.asarray(packed.pixels[test["row"].to_numpy()])
    wanted, data = test["face_id"].astype(str), candidate.data
    # with the boxes as the data set gives them
    table = read_out(candidate.root / FACES, pd.read_parquet, rerun("ingest"))
    rows = table[table["face_id"].astype(str).isin(wanted)]
    # The candidate's crop has selected the faces by their confidence.
    config = CropConfig(**asdict(cut), min_confidence=float("-inf"))
    with tempfile.TemporaryDirectory() as scratch:
        try:
            photos = get_source(data).photos(candidate.root / data.path, state_folder(candidate.root) / "unpacked")
            crop_faces(rows, photos, config, Path(scratch), progress=False, classes=packed.classes)
        except (UserError, OSError) as error:
            raise NoComparison(f"The champion needs faces cut from the raw photos, and {error}") from error
        cropped = open_faces(Path(scratch))
        at = pd.Index(cropped.index["face_id"].astype(str)).get_indexer(pd.Index(wanted))
        if len(missing := wanted[at < 0]):
            raise NoComparison(
                f"The champion needs faces cut from the raw photos, and {len(missing)} of {len(test)} cannot be "
                f"cut, {missing.iloc[0]} for one."
            )
        return np.asarray(cropped.pixels[at])


def group_changes(
    test: TestSet, champion: np.ndarray, candidate: Candidate, settings: RegisterConfig
) -> dict[str, Interval]:
    """The change of accuracy in each group of the slice of `no_group_worse`; a group of under 20 faces has no interval.

    The groups share alpha, so that chance alone makes any of them worse with a probability of at most alpha.
    """
    if settings.no_group_worse is None:
        return {}
    faces = add_slices(test.faces, candidate.root / FACES, candidate.data.slices)
    slices, _ = slice_rows(faces, candidate.spec.classes)
    groups = {name: rows for (slice, name), rows in slices.items() if slice == settings.no_group_worse.slice}
    alpha = settings.alpha / max(1, sum(rows.sum() >= TOO_FEW for rows in groups.values()))
    return {
        name: accuracy_change(test.only(rows), champion[rows], alpha).resting_on(rows.sum())
        for name, rows in groups.items()
    }


def champion_answers(
    client: "MlflowClient", candidate: Candidate, version: int, test: TestSet, threads: int
) -> tuple[TestSet, np.ndarray]:
    """The test faces that the champion did not learn from, and its calibrated probabilities (N, classes) of them.

    The faces are cut as it needs them. Its graph runs here; no code that its version stores is run. NoComparison where
    its files are gone, damaged or of another version of mien, it knows other classes, it learnt from all but a few
    faces of this test set, or the faces cannot be cut for it; Unreachable where the server gives no answer, which is
    no ground for a decision.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files = Path()
        try:
            files = fetch_version(client, candidate.name, version, Path(scratch))
            model, seen = open_model(files, threads), read_training_faces(files)
        except Unreachable:
            raise
        except (UnusableModel, UserError) as error:
            reason = str(error).partition(";")[0].replace(f"{files}/", "")  # no path of this machine in a decision
            raise NoComparison(
                f"The champion, version {version}, cannot be compared ({reason}): its files are gone, damaged, or of "
                "another version of mien, whose model `dvc repro` would train and register again."
            ) from error
        if model.spec.classes != candidate.spec.classes:
            raise NoComparison(
                f"The champion, version {version}, knows the classes {', '.join(model.spec.classes)}, and the "
                f"candidate {', '.join(candidate.spec.classes)}: they are not compared."
            )
        known = learnt_from(test.faces, seen, same_cut=model.spec.cut == candidate.spec.cut)
        unseen = test.only(~known)
        if known.any() and len(unseen.faces) < FEWEST:
            raise NoComparison(
                f"The champion, version {version}, learnt from {known.sum()} of the {len(known)} faces of this test "
                f"set, and {len(unseen.faces)} others are too few to compare on: it takes {FEWEST}."
            )
        return unseen, model.probabilities(cut_faces(candidate, model.spec.cut, unseen.faces))


def refuse_other_answers(candidate: Candidate, test: TestSet, threads: int) -> None:
    """Raise a UserError where the graph cannot be used, or answers on some test faces otherwise than evaluated."""
    faces = test.faces.head(CHECKED)
    try:
        session = open_graph(candidate.model / GRAPH_FILE, candidate.spec, threads)
    except UnusableModel as error:
        raise UserError(f"{error}; {rerun('train')}.") from error
    answers = Model(session, candidate.spec).probabilities(cut_faces(candidate, candidate.spec.cut, faces))
    apart = np.abs(answers - test.probabilities[: len(faces)]).max(axis=1)
    worst = int(apart.argmax())
    if apart[worst] > TOLERANCE:
        raise UserError(
            f"the model to register differs by {apart[worst]:.4f} from its evaluation on face "
            f"{faces['face_id'].iloc[worst]}; `dvc repro -f evaluate` evaluates the current weights."
        )
