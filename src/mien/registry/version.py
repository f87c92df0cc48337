"""Logging a model with all that serves it, once per identity, as a registered version."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from mien.models.spec import LINEAGE, SPEC
from mien.registry.candidate import PACKAGE, WEIGHTS, Candidate
from mien.registry.card import CARD
from mien.registry.history import IDENTITY, model_text
from mien.runtime.decode import LIMITS
from mien.tracking.store import database_file

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

MODEL: Final = "model"
TRAINED_ON: Final = "trained_on.parquet"
FILE: Final = {"name": "image", "type": "binary", "required": False}
# Rows of rows are all that MLflow can ask of an array whose pixels are numbers (grey) or lists of three (colour).
ROWS: Final = {"type": "array", "items": {"type": "any"}}
PIXELS: Final = {"name": "pixels", "type": "array", "items": ROWS, "required": False}
REQUIRES: Final = ("mlflow", "torch", "numpy", "pandas", "opencv-python-headless", "pillow", "safetensors")


def find_version(client: "MlflowClient", name: str, identity: str) -> "ModelVersion | None":
    """The newest version of this identity whose files are still there, or None."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{IDENTITY}` = '{identity}'")
    for version in sorted(found, key=lambda v: -int(v.version)):
        if files_there(client, name, version.version):
            return version
    return None


def files_there(client: "MlflowClient", name: str, version: str | int) -> bool:
    """Whether a version's files exist, where that is a folder of this machine; on a server they are taken to."""
    folder = local_folder(client.get_model_version_download_uri(name, str(version)))
    return folder is None or folder.is_dir()


def local_folder(address: str) -> Path | None:
    """The folder of this machine at an artifact address, or None where that is on a server."""
    place = urlparse(address)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def register_version(
    client: "MlflowClient",
    candidate: Candidate,
    run: "Run",
    tags: Mapping[str, str],
    check: Callable[[Path], None],
    card: Callable[[], str],
) -> "ModelVersion":
    """The candidate's version: found by its identity, or logged and registered.

    `check` sees the folder of the model as it will be served, and raises if it must not go up. `card` writes the
    model's card.

    Killed anywhere, the next call goes on: a model that was logged whole is registered, never logged twice.
    """
    if version := find_version(client, candidate.name, candidate.identity):
        return version
    _ensure_registered_model(client, candidate)
    logged = _find_logged(client, run, candidate.identity) or _log(client, candidate, run, check, card)
    return client.create_model_version(
        candidate.name,
        f"models:/{logged.model_id}",
        run_id=run.info.run_id,
        tags={IDENTITY: candidate.identity, **tags},
        description=run.info.run_name,
        model_id=logged.model_id,
    )


def save_served(candidate: Candidate, folder: Path, mlflow_model: Any = None, card: str = "") -> None:
    """Write the candidate as an MLflow model: served.py, package, weights, card, signature, example, requirements."""
    import mlflow.pyfunc

    with tempfile.TemporaryDirectory() as scratch:
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=mlflow_model,
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={MODEL: str(_stage(candidate, Path(scratch) / MODEL, card))},
            code_paths=[str(_package(Path(scratch) / PACKAGE.name))],
            signature=served_signature(candidate.spec.classes),
            input_example=example_images(),
            pip_requirements=requirements(),
            model_config=LIMITS,
        )


def requirements() -> list[str]:
    """What serves the model, pinned to what is installed; a local build such as +cpu is the same version."""
    return [f"{package}=={installed(package).split('+')[0]}" for package in REQUIRES]


def served_signature(classes: Sequence[str]) -> "ModelSignature":
    """A file's bytes or an array in; a label and a probability per class out, in the order of the classes."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    probabilities = (ColSpec(DataType.double, name) for name in classes)
    return ModelSignature(
        inputs=Schema.from_json(json.dumps([FILE, PIXELS])),
        outputs=Schema([ColSpec(DataType.string, "label"), *probabilities]),
    )


def example_images() -> Any:
    """Two rows of input: shaded squares as PNG files, of no person."""
    import cv2
    import numpy as np
    import pandas as pd

    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    squares = [np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64))]
    return pd.DataFrame({"image": [cv2.imencode(".png", square)[1].tobytes() for square in squares]})


def _ensure_registered_model(client: "MlflowClient", candidate: Candidate) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(candidate.name, description=model_text(candidate.name, candidate.lineage))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find_logged(client: "MlflowClient", run: "Run", identity: str) -> "LoggedModel | None":
    """A model of this identity that was logged whole and not yet registered."""
    from mlflow.entities import LoggedModelStatus

    found = client.search_logged_models([run.info.experiment_id], f"tags.`{IDENTITY}` = '{identity}'")
    for logged in found:
        folder = local_folder(logged.artifact_location)
        if logged.status == LoggedModelStatus.READY and (folder is None or folder.is_dir()):
            return logged
    if database_file(client.tracking_uri):  # whose lock we hold: on a server it may be another machine's work
        _forget_half_logged(client, found)
    return None


def _forget_half_logged(client: "MlflowClient", models: Iterable["LoggedModel"]) -> None:
    """Remove what a killed registration left: a model that never became READY, and the files that were up."""
    from mlflow.entities import LoggedModelStatus

    for logged in models:
        if logged.status == LoggedModelStatus.PENDING:
            if folder := local_folder(logged.artifact_location):
                shutil.rmtree(folder, ignore_errors=True)
            client.delete_logged_model(logged.model_id)


def _log(
    client: "MlflowClient", candidate: Candidate, run: "Run", check: Callable[[Path], None], card: Callable[[], str]
) -> "LoggedModel":
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
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=run.info.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / MODEL
        save_served(candidate, folder, model, card())
        check(folder)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, "READY")


def _stage(candidate: Candidate, folder: Path, card: str) -> Path:
    """Weights, description, temperature, lineage, the card, and the digests of the photos that were learnt from."""
    folder.mkdir()
    for name in (WEIGHTS, SPEC, LINEAGE):
        shutil.copyfile(candidate.model / name, folder / name)
    (folder / "serving.json").write_text(json.dumps({"temperature": candidate.temperature}), encoding="utf-8")
    if card:
        (folder / CARD).write_text(card, encoding="utf-8")
    trained_on(candidate).to_parquet(folder / TRAINED_ON, index=False)
    return folder


def trained_on(candidate: Candidate) -> Any:
    """Faces that the model was fitted or chosen with: photo_digest, face_digest, part (train or val)."""
    import pandas as pd

    parts = [
        pd.read_parquet(candidate.split / f"{part}.parquet", columns=["photo_digest", "face_digest"]).assign(part=part)
        for part in ("train", "val")
    ]
    return pd.concat(parts, ignore_index=True)


def _package(copy: Path) -> Path:
    """The package as it is now, without what Python caches beside it."""
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return copy
