"""A registered model for who waits for the first answer: the registry is asked while PyTorch is imported.

MLflow's import and PyTorch's take about two seconds each, and threads cannot share them. So a process of its own, this
module run as a program, looks the model up and names its files, and this process imports PyTorch meanwhile.
"""

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import UserError
from mien.predict.registered import NoSuchModel, fetch_registered, load_registered, refuse_unregistered

if TYPE_CHECKING:
    from mien.predict.loaded import LoadedModel

REFUSED: Final = 3  # exit code: the answer is a sentence
ERRORS: Final = {error.__name__: error for error in (UserError, NoSuchModel)}


def load_registered_ahead(uri: str) -> "LoadedModel":
    """As `load_registered`, sooner where neither MLflow nor PyTorch has been imported yet.

    Raises:
        NoSuchModel, UserError: as `load_registered`.
    """
    from mien.predict.loaded import load_folder

    refuse_unregistered(uri)
    with tempfile.TemporaryDirectory() as scratch:
        # -P: no module of the current folder, which may hold anything, is taken for one of ours
        command = [sys.executable, "-P", "-m", __name__, uri, scratch]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as asked:
            import_module("mien.models.saved")  # all that needs PyTorch in what follows
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
