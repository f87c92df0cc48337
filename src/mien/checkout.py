"""Where the person works: the main checkout, also seen from DVC's temporary copies of it."""

from pathlib import Path
from typing import Final

DVC_COPIES: Final = (".dvc", "tmp", "exps")


def main_checkout(root: Path) -> Path:
    """The checkout a person works in, also where root is a copy in which DVC runs a queued experiment.

    DVC deletes such a copy when the experiment is done, so what must stay (tracking store, checkpoints, locks)
    belongs to the checkout that the copy was made from.
    """
    here = root.resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:] == DVC_COPIES:
            return folder.parents[2]
    return here
