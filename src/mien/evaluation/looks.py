"""Test set usage: the models measured on each set of test faces, in files that survive reruns.

A look is an empty file, `TEST_FACES/MODEL` in the state folder. Measuring a model again adds none; nor does an answer
of DVC's cache.
"""

from pathlib import Path
from typing import Final

from mien.base.state import state_folder
from mien.models.description import read_spec
from mien.models.graph import model_identity
from mien.runtime.session import GRAPH_FILE

LOOKS: Final = "looks"


def record_look(test_faces: str, model: Path, temperature: float) -> None:
    """Note that the model in a folder was measured on the test faces, by the split's digest of them."""
    folder = state_folder() / LOOKS / test_faces
    folder.mkdir(parents=True, exist_ok=True)
    (folder / model_identity(model / GRAPH_FILE, read_spec(model).serving(temperature))).touch()


def looks_at(state: Path, test_faces: str) -> set[str]:
    """The identities of the models that were measured here on these test faces."""
    return {file.name for file in (state / LOOKS / test_faces).glob("*")}
