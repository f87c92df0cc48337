"""Model addresses: `models:/NAME@ALIAS`, `/VERSION`, a folder, an ONNX file, or `packaged`: read, loaded, followed."""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from mien.base.errors import UserError
from mien.base.files import read_out, read_record, rerun
from mien.base.settings import near_name
from mien.inference.classifier import LoadedModel, ModelFiles, load_files, load_onnx, version_words
from mien.models.description import SPEC, TRAINING_FACES, VERSION_FOLDER, WEIGHTS, read_lineage

# MLflow and pandas take seconds to import, and a model in a file needs neither: the functions that do import them.
if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from mien.evaluation.other_data import MeasuredModel
    from mien.models.weights import Parents

log = logging.getLogger(__name__)
FORM: Final = re.compile(r"(models:/)?(?P<name>[^/:@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")

# In the package, beside their card: the first answers where nothing is registered, the second is small.
PACKAGED: Final = ("packaged", "packaged-compact")
PACKAGED_FILES: Final = Path(__file__).parents[1] / "pretrained"


class NoSuchModel(UserError):
    """The registry holds no such model, alias or version, but these `versions`: why, and what makes one."""

    def __init__(self, address: str, reason: str, advice: str = "", versions: Iterable[int] = ()) -> None:
        self.versions = tuple(versions)
        repro = "`make repro` trains and promotes one; --model takes a folder, a file, or `packaged`"
        super().__init__(f"there is no {address}{'' if advice else ' yet'} ({reason}): {advice or repro}.")


@dataclass(frozen=True)
class ModelAddress:
    """A model in the registry (`name`, with an `alias` or a `version`), or a `path`: a folder or an ONNX file."""

    text: str
    name: str = ""
    alias: str = ""
    version: int | None = None
    path: Path = Path()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address in a text, `NAME@ALIAS` among them; a UserError for one in the registry of another form."""
        if text in PACKAGED:
            return cls(text, path=PACKAGED_FILES / f"{text.replace('packaged', 'fer2013')}.onnx")
        if ":/" not in text and ("@" not in text or Path(text).exists()):
            return cls(text, path=Path(text))
        parts = FORM.fullmatch(text)
        if parts is None:
            raise UserError(f"{text!r} is not a model address; use models:/NAME@champion, models:/NAME/3, or a folder.")
        version = int(parts["version"]) if parts["version"] else None
        return cls(f"models:/{text.removeprefix('models:/')}", parts["name"], parts["alias"] or "", version)

    @property
    def is_onnx(self) -> bool:
        """Whether an ONNX file is meant."""
        return self.path.suffix.lower() == ".onnx"

    @property
    def folder(self) -> Path:
        """The folder that is meant; of a packaged model that of its training, beside its ONNX file, if there is one."""
        return self.path.with_suffix("") if self.text in PACKAGED else self.path

    def files(self) -> ModelFiles:
        """The folder of the model's files, fetched first where they are on a server; errors as of `load_model_of`."""
        if self.name:
            from mien.tracking.store import fetch_version

            client, version = self.look_up()
            scratch, number = tempfile.TemporaryDirectory(prefix="mien-model-"), int(version.version)
            folder = fetch_version(client, self.name, number, Path(scratch.name))
            return ModelFiles(folder, self.name, number, version.run_id or None, scratch)
        if not self.folder.is_dir():
            near = near_name(self.text, PACKAGED)
            raise UserError(f"{self.path}: there is no such folder{near}; a model is NAME@champion or build/train.")
        within = self.folder / VERSION_FOLDER
        name = self.text if self.text in PACKAGED else str(self.path)
        return ModelFiles(within if within.is_dir() else self.folder, name)

    def look_up(self) -> "tuple[MlflowClient, ModelVersion]":
        """The registered version that the address names now; nothing is fetched. Errors as of `load_model_of`."""
        from mien.tracking.store import UNKNOWN, URI, connect, database_file, first_line, store_errors

        if (file := database_file(os.environ.get(URI, ""))) and not file.exists():
            raise NoSuchModel(self.text, f"nothing has been registered in {file}")
        from mlflow.exceptions import MlflowException

        with store_errors("the registry at"):
            client = connect()
            try:
                if self.alias:
                    return client, client.get_model_version_by_alias(self.name, self.alias)
                return client, client.get_model_version(self.name, str(self.version))
            except MlflowException as error:
                if error.error_code not in UNKNOWN:
                    raise
                from mien.registry.version import version_identities

                versions = version_identities(client, self.name)
                how = "`mien rollback` brings back the last champion, and `mien promote VERSION` makes one"
                advice = f"its versions are {', '.join(map(str, versions))}; {how}" if versions else ""
                raise NoSuchModel(self.text, first_line(error), advice, versions) from error


def find_parents(named: Iterable[tuple[str, str]]) -> "Parents":
    """By its address, each trained model that a training in this checkout needs; `named` are its keys and addresses.

    A UserError names the key where there is no such model, or its files are not all that a training needs.
    """
    from pyarrow.parquet import read_schema

    from mien.models.weights import Parent  # PyTorch, which no answer needs
    from mien.tracking.store import use_store

    use_store(Path.cwd())
    found: dict[str, Parent] = {}
    for key, text in named:
        if text in found:
            continue
        try:
            files = ModelAddress.parse(text).files()
            for file in (WEIGHTS, SPEC, TRAINING_FACES):
                if not (files.folder / file).is_file():
                    raise UserError(f"{text} is no trained model: it lacks {file}; name a folder that `train` wrote.")
            read_out(files.folder / TRAINING_FACES, read_schema, rerun("train"))  # else the training would end with it
        except UserError as error:
            raise UserError(f"{key}: {error}") from error
        found[text] = Parent(version_words(files.name, files.version), files.folder, files.scratch)
    return found


def load_model_of(text: str) -> LoadedModel:
    """The model of `models:/NAME@ALIAS` or `/VERSION`, a file `x.onnx`, a folder, or one of `PACKAGED`.

    NoSuchModel, or a UserError where its files cannot be used.
    """
    address = ModelAddress.parse(text)
    if not address.is_onnx:
        return load_files(address.files())
    loaded = load_onnx(address.path)  # a packaged one is no version of the registry at hand
    return replace(loaded, name=f"{text} ({loaded.title})", version=None) if text in PACKAGED else loaded


def open_measured(text: str) -> "MeasuredModel[LoadedModel]":
    """As `load_model_of`, of a model whose training is known: an ONNX file does not say enough of it."""
    from mien.evaluation.other_data import MeasuredModel  # pandas and more, for two commands alone
    from mien.registry.version import read_training_faces

    address = ModelAddress.parse(text)
    if address.is_onnx and text not in PACKAGED:
        raise UserError(f"{text} is an exported file; name the model that it comes from, in the registry or a folder.")
    loaded = load_model_of(text)
    if loaded.files:
        folder, lineage = loaded.files.folder, read_lineage(loaded.files.folder)
    else:  # in the package, where all learnt from the same faces
        folder = PACKAGED_FILES / "fer2013"
        lineage = read_record(address.path.with_suffix(".json"), {}, "install mien again")
    seen = read_training_faces(folder) if (folder / TRAINING_FACES).is_file() else None
    registered = "" if loaded.version is None else loaded.name
    run_id = loaded.files.run_id if loaded.files else None
    return MeasuredModel(loaded, lineage, seen, registered, loaded.version, run_id, loaded.title, loaded.drawn)


@dataclass(frozen=True)
class Standing:
    """The model that answers, and what is wrong with following its alias; both change at once."""

    model: LoadedModel
    problem: str = ""  # a sentence for the person who runs the server; "" where the registry was seen


class CurrentModel:
    """A model that is followed where an alias names it: `models:/NAME@ALIAS`.

    A thread looks at the alias every `every` seconds, loads the new version beside the old one, and then exchanges them
    in one assignment: a request never waits, and keeps the model that it began with. Where the registry fails, or a
    version cannot be loaded, the present model stays. `first` answers at the start, and as long as the address names
    no model; without it that is an error as of `load_model_of`.
    """

    def __init__(self, address: str, first: LoadedModel | None = None, *, every: float = 5.0) -> None:
        self._address = address
        self._every = every
        self.standing = Standing(_warmed_up(first or load_model_of(address)))
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def model(self) -> LoadedModel:
        """The model of this moment."""
        return self.standing.model

    def __enter__(self) -> Self:
        if ModelAddress.parse(self._address).alias:  # a version, a folder or a file stays what it is
            self._thread = threading.Thread(target=self._follow, name="current-model", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        if self._thread:
            self._thread.join(self._every)

    def _follow(self) -> None:
        while not self._closed.wait(self._every):
            self.look()

    def look(self) -> None:
        """Look at the alias once, and load the version that it names where that is another."""
        before = self.standing
        try:
            same = int(ModelAddress.parse(self._address).look_up()[1].version) == before.model.version
            now = Standing(before.model if same else _warmed_up(load_model_of(self._address)))
        except UserError as error:
            now = Standing(before.model, str(error))
        except Exception as error:  # whatever a library raises, the page goes on with the model that it has
            now = Standing(before.model, f"the registry could not be read ({type(error).__name__}).")
        self.standing = now
        if now.model is not before.model:
            log.warning("%s replaces %s.", now.model.says, before.model.says)
        if now.problem and not before.problem:
            log.warning("%s stays in use: %s", now.model.says, now.problem)
        if before.problem and not now.problem:
            log.warning("The registry answers again; %s is what %s names.", now.model.says, self._address)


def _warmed_up(model: LoadedModel) -> LoadedModel:
    """The model after its first answer, which takes longer than all others."""
    model.probabilities(np.zeros((1, *model.spec.cut.shape), np.uint8))
    return model
