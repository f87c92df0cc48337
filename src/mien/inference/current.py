"""The champion in use: looked up, loaded and replaced while a page runs.

MLflow's import and PyTorch's take about two seconds each, and threads cannot share them. So a process of its own, this
module run as a program, looks the model up and names its files, and this process imports PyTorch meanwhile.
"""

import json
import logging
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from mien.base.errors import UserError
from mien.inference.address import NoSuchModel, fetch_registered, load_registered, refuse_unregistered
from mien.inference.classifier import LoadedModel, load_model_of

REFUSED: Final = 3  # exit code: the answer is a sentence
ERRORS: Final = {error.__name__: error for error in (UserError, NoSuchModel)}


def load_registered_ahead(uri: str) -> "LoadedModel":
    """As `load_registered`, sooner where neither MLflow nor PyTorch has been imported yet.

    Raises:
        NoSuchModel, UserError: as `load_registered`.
    """
    from mien.inference.classifier import load_folder

    refuse_unregistered(uri)
    with tempfile.TemporaryDirectory() as scratch:
        # -P: no module of the current folder, which may hold anything, is taken for one of ours
        command = [sys.executable, "-P", "-m", __name__, uri, scratch]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as asked:
            import_module("mien.models.weights")  # all that needs PyTorch in what follows
            answer, _ = asked.communicate()
        if asked.returncode == 0:
            found = json.loads(answer)
            return load_folder(Path(found["folder"]), name=found["name"], version=found["version"])
        if asked.returncode == REFUSED:
            refused = json.loads(answer)
            raise ERRORS[refused["error"]](refused["sentence"])
    return load_registered(uri)  # the other process failed otherwise: see what happens in this one


def main(uri: str, scratch: str) -> int:
    """Print where a registered model's files are, fetched into `scratch` where they lie on a server."""
    try:
        folder, version = fetch_registered(uri, scratch)
    except UserError as error:
        print(json.dumps({"error": type(error).__name__, "sentence": str(error)}))
        return REFUSED
    print(json.dumps({"folder": str(folder), "name": version.name, "version": int(version.version)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))


SECONDS: Final = 5.0  # between two looks at the registry
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """Which model answers, and what is wrong with following its alias; both change at once."""

    model: LoadedModel
    problem: str = ""  # a sentence for the person who runs the server; "" where the registry was seen


class CurrentModel:
    """A model that is followed where an alias names it: `models:/NAME@ALIAS`.

    A thread of its own looks at the alias, loads the new version beside the old one and then exchanges them by
    one assignment: whoever asks for `model` waits for nothing, and keeps the one it got as long as it wants. A
    registry that fails, or a version that cannot be loaded, leaves the model that is there.

    Raises:
        NoSuchModel, UserError: there is no model at the start.
    """

    def __init__(self, said: str, *, every: float = SECONDS) -> None:
        self._said = said
        self._every = every
        self._standing = Standing(_ready(load_model_of(said)))
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def model(self) -> LoadedModel:
        """The model of this moment."""
        return self._standing.model

    @property
    def standing(self) -> Standing:
        """The model of this moment, and what is wrong with following its alias."""
        return self._standing

    @property
    def follows(self) -> bool:
        """Whether an alias names the model; a version, a folder or a file stays what it is."""
        return ":/" in self._said and "@" in self._said

    def __enter__(self) -> Self:
        """Follow the alias from now on."""
        if self.follows:
            self._thread = threading.Thread(target=self._follow, name="current-model", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following."""
        self._closed.set()
        if self._thread:
            self._thread.join(self._every)

    def _follow(self) -> None:
        while not self._closed.wait(self._every):
            self.look()

    def look(self) -> None:
        """Look at the alias once, and take up another version that it names."""
        before = self._standing
        try:
            self._standing = Standing(self._named_now(before.model))
        except UserError as error:
            self._standing = Standing(before.model, str(error))
        except Exception as error:  # whatever a library raises, the page goes on with the model that it has
            self._standing = Standing(before.model, f"the registry could not be read ({type(error).__name__}).")
        self._tell(before)

    def _named_now(self, present: LoadedModel) -> LoadedModel:
        from mien.inference.address import version_of

        return present if version_of(self._said) == present.version else _ready(load_model_of(self._said))

    def _tell(self, before: Standing) -> None:
        now = self._standing
        if now.model is not before.model:
            log.warning("%s answers now, in place of %s.", now.model.says, before.model.says)
        if now.problem and not before.problem:
            log.warning("%s goes on answering: %s", now.model.says, now.problem)
        if before.problem and not now.problem:
            log.warning("The registry answers again; %s is what %s names.", now.model.says, self._said)


def _ready(model: LoadedModel) -> LoadedModel:
    """The model once it has answered: the first answer of a network takes longer than all others."""
    spec = model.spec
    model.probabilities(np.zeros((1, spec.size, spec.size, spec.channels), np.uint8))
    return model
