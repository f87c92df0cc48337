"""Registered versions: their files, their identity, their model card, and logging them once.

A version is an MLflow model with two readers. mien reads the files in `artifacts/model` with its own code. Whoever
serves the version without mien runs `served.py` on the copy of the runtime that lies beside it, and needs no PyTorch.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import pandas as pd

from mien import runtime
from mien.base.files import read_out, read_record, rerun
from mien.evaluation.scoring import Evaluation, Slices
from mien.evaluation.tables import read_evaluation
from mien.models import description
from mien.models.graph import model_identity
from mien.reporting.pages import note
from mien.runtime.decode import LIMITS
from mien.runtime.session import GRAPH_FILE
from mien.runtime.spec import SPEC_FILE, Spec
from mien.sources.source import DataConfig
from mien.tracking.store import database_file, local_folder

# MLflow takes two seconds to import, so the functions that need it import it.
if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

MODEL: Final = description.VERSION_FOLDER.name  # the artifact that mien reads
IDENTITY: Final = "mien.identity"  # tag of a version and of the logged model behind it
RUNTIME: Final = "mien_runtime"  # a name of its own: it neither shadows an installed mien nor is shadowed by it
PREDICTIONS: Final = "reports/predictions.csv"
DESCRIPTIONS: Final = Path(__file__).with_name("descriptions.md.j2")
REQUIRES: Final = ("mlflow", "numpy", "pandas", "onnxruntime", "opencv-python-headless", "pillow")


@dataclass(frozen=True)
class Candidate:
    """A model that was trained and evaluated in a checkout and may become a version."""

    root: Path  # the checkout, with the outs of the stages up to `evaluate`
    data: DataConfig  # the data set

    @property
    def model(self) -> Path:
        """The folder that train wrote: graph, weights, description, lineage."""
        return self.root / "build/train"

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """How the model was trained, with `title` and `drawn` of its data set."""
        about = {"title": self.data.title or self.data.name, "drawn": self.data.drawn}
        return description.read_lineage(self.model) | about

    @cached_property
    def spec(self) -> Spec:
        """Classes, cut and temperature."""
        record = read_record(self.root / "build/evaluate/temperature.json", {"temperature": float}, rerun("evaluate"))
        return description.read_spec(self.model).serving(float(record["temperature"]))

    @property
    def name(self) -> str:
        """The registered model: one per data set, so that a champion only meets candidates for the same task."""
        return f"mien-{self.lineage['data']}"

    @cached_property
    def test_faces(self) -> str:
        """The digest of the faces that it was measured on, whatever their crop."""
        return str(read_record(self.root / "build/split/split.json", {"test_faces": str}, rerun("split"))["test_faces"])

    @cached_property
    def identity(self) -> str:
        """The digest of all that decides an answer: equal identity, equal answers."""
        return read_out(self.model / GRAPH_FILE, lambda file: model_identity(file, self.spec), rerun("train"))


def read_training_faces(folder: Path) -> pd.DataFrame:
    """The faces that a model learnt from: photo_digest, face_digest, group and part, as `train` wrote them."""
    return read_out(folder / description.TRAINING_FACES, pd.read_parquet, "`dvc repro` registers the model again")


def version_identities(client: "MlflowClient", name: str) -> dict[int, str]:
    """The versions of a registered model that have not been deleted, in order, and the identity of each."""
    found = client.search_model_versions(f"name = '{name}'")
    return dict(sorted((int(version.version), version.tags.get(IDENTITY, "")) for version in found))


def find_version(client: "MlflowClient", name: str, identity: str) -> "ModelVersion | None":
    """The newest version of this identity whose files are still there, or None."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{IDENTITY}` = '{identity}'")
    for version in sorted(found, key=lambda v: -int(v.version)):
        if _exists(client.get_model_version_download_uri(name, version.version)):
            return version
    return None


def write_card(candidate: Candidate) -> str:
    """The model card of a candidate (Mitchell et al., 2019), as Markdown; a UserError for a damaged file.

    It depends on the training's files and reports alone: no times, machines or version numbers, so that the same model
    has the same card wherever it is registered. The words are in `card.md.j2`.
    """
    file = candidate.root / "reports/split.json"
    audit = read_record(file, {"parts": dict}, rerun("split")) if file.exists() else None
    return render_card(
        candidate, read_evaluation(candidate.root / "build/evaluate", candidate.root / PREDICTIONS), audit
    )


def render_card(candidate: Candidate, evaluation: Evaluation, audit: dict[str, Any] | None) -> str:
    """The card of an evaluation; `audit` is what `reports/split.json` holds."""
    failed, trained_on = failures(evaluation.slices), description.hardware_words(candidate.lineage)
    return note(Path(__file__).with_name("card.md.j2"), "card", candidate, evaluation, failed, audit, trained_on) + "\n"


def described(macro: str, *values: Any) -> str:
    """A description of a registered model or a version, in the words of `descriptions.md.j2`."""
    return note(DESCRIPTIONS, macro, *values)


def failures(slices: Slices) -> list[str]:
    """The worst class, face size and detector confidence, each as a sentence, and what the faces are too few for."""
    sentences = []
    for group in dict.fromkeys(part.group for part in slices.slices):
        parts = [part for part in slices.slices if part.group == group and not part.too_few]
        if len(parts) > 1:  # one alone is the worst of nothing
            worst = min(parts, key=lambda part: part.accuracy.value)
            right = f"{worst.accuracy.percent()} right of {worst.faces:,} faces"
            sentences.append(f"Worst {group}: {worst.name}, {right}.")
    if few := [f"{part.group} {part.name}" for part in slices.slices if part.too_few]:
        sentences.append(f"Under 20 test faces, too few for a result: {'; '.join(few)}.")
    return [*sentences, *(f"No results by {group}: {why}." for group, why in slices.skipped.items())]


def register_version(client: "MlflowClient", candidate: Candidate, run: "Run") -> "ModelVersion":
    """Log the candidate under its run with its card, and register it; after a kill the next call goes on."""
    logged = _find_logged(client, run, candidate.identity) or _log(client, candidate, run, write_card(candidate))
    digests = {key: str(candidate.lineage[key]) for key in ("digest", "data_digest", "split_digest")}
    return client.create_model_version(
        candidate.name,
        f"models:/{logged.model_id}",
        run_id=run.info.run_id,
        tags={IDENTITY: candidate.identity, **{f"mien.{key}": value for key, value in digests.items()}},
        description=described("report", run.info),
        model_id=logged.model_id,
    )


def _find_logged(client: "MlflowClient", run: "Run", identity: str) -> "LoggedModel | None":
    """A model of this identity that was logged whole and not yet registered; what a killed process left is removed."""
    from mlflow.entities import LoggedModelStatus

    found = client.search_logged_models([run.info.experiment_id], f"tags.`{IDENTITY}` = '{identity}'")
    for logged in found:
        if logged.status == LoggedModelStatus.READY and _exists(logged.artifact_location):
            return logged
    if database_file(client.tracking_uri):  # whose lock we hold: on a server it may be another machine's work
        for logged in found:
            if logged.status == LoggedModelStatus.PENDING:
                if folder := local_folder(logged.artifact_location):
                    shutil.rmtree(folder, ignore_errors=True)
                client.delete_logged_model(logged.model_id)
    return None


def _exists(address: str) -> bool:
    """Whether files are at an artifact address, where that is on this machine; on a server they are taken to be."""
    folder = local_folder(address)
    return folder is None or folder.is_dir()


def _log(client: "MlflowClient", candidate: Candidate, run: "Run", card: str) -> "LoggedModel":
    """Log the model under its run; it becomes READY last, when all its files are up."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client.create_logged_model(
        run.info.experiment_id,
        name=candidate.lineage["model"],
        source_run_id=run.info.run_id,
        tags={IDENTITY: candidate.identity},
        model_type="facial-expression classifier",
    )
    where, number = logged.artifact_location, logged.model_id
    model = Model(artifact_path=where, run_id=run.info.run_id, model_uuid=number, model_id=number)
    with tempfile.TemporaryDirectory() as scratch:
        save_version(candidate, Path(scratch) / MODEL, card, model)
        client.log_model_artifacts(logged.model_id, str(Path(scratch) / MODEL))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, "READY")


def save_version(candidate: Candidate, folder: Path, card: str, mlflow_model: Any = None) -> None:
    """Write the files of a version: an MLflow model with signature, example and pinned requirements, without pickle."""
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as scratch:
        copy, model = Path(scratch) / RUNTIME, Path(scratch) / MODEL
        shutil.copytree(Path(runtime.__path__[0]), copy, ignore=shutil.ignore_patterns("__pycache__"))
        model.mkdir()
        for name in (GRAPH_FILE, description.WEIGHTS, description.SPEC, description.TRAINING_FACES):
            shutil.copyfile(candidate.model / name, model / name)
        candidate.spec.save(model / SPEC_FILE)
        (model / description.LINEAGE).write_text(json.dumps(candidate.lineage, indent=2) + "\n", encoding="utf-8")
        (model / description.CARD).write_text(card, encoding="utf-8")
        sys.path.insert(0, scratch)  # MLflow runs served.py once when it saves it
        try:
            mlflow.pyfunc.save_model(
                path=str(folder),
                mlflow_model=mlflow_model,
                python_model=str(Path(__file__).with_name("served.py")),
                artifacts={MODEL: str(model)},
                code_paths=[str(copy)],
                signature=served_signature(candidate.spec.classes),
                input_example=example_images(),
                # Pinned to what is installed; a local build such as +cpu is the same version.
                pip_requirements=[f"{package}=={installed(package).split('+')[0]}" for package in REQUIRES],
                model_config=LIMITS,
            )
        finally:
            sys.path.remove(scratch)


def served_signature(classes: Sequence[str]) -> "ModelSignature":
    """A file's bytes or an array in; a label and a probability per class out, in the order of the classes."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array

    image = ColSpec(DataType.binary, "image", required=False)
    # MLflow can ask for no more of an array whose pixels are numbers (grey) or lists of three (colour).
    pixels = ColSpec(Array(Array(AnyType())), "pixels", required=False)  # type: ignore[no-untyped-call]
    probabilities = (ColSpec(DataType.double, name) for name in classes)
    return ModelSignature(Schema([image, pixels]), Schema([ColSpec(DataType.string, "label"), *probabilities]))


def example_images() -> pd.DataFrame:
    """Two rows of input: shaded squares as PNG files, of no person."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    squares = [np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))]
    return pd.DataFrame({"image": [cv2.imencode(".png", square)[1].tobytes() for square in squares]})
