"""The champion in use: the version behind an alias, replaced while the page runs."""

import logging
import threading
from dataclasses import dataclass
from typing import Self

import numpy as np

from mien.base.errors import UserError
from mien.inference.address import ModelAddress, load_model_of
from mien.inference.classifier import LoadedModel

log = logging.getLogger(__name__)


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
