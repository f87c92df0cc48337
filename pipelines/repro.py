"""`dvc repro` for `make repro`: the stages' headlines and DVC's errors, without what DVC says of its own files.

python -m pipelines.repro [arguments of dvc repro]
"""

import logging
import sys
from typing import Final

from dvc.cli import main

# DVC's loggers, with the level from which each is heard. It draws its bars where the level is at most ERROR.
HEARD: Final = {
    "dvc.progress": logging.CRITICAL,
    "dvc.dvcfile": logging.WARNING,  # "Updating lock file"
    "dvc.stage.run": logging.WARNING,  # "Running stage", whose headline says so
    "dvc.repo.reproduce": logging.WARNING,  # empty lines
    "dvc.repo.scm_context": logging.WARNING,  # "To track the changes with git, run"
}

if __name__ == "__main__":
    for name, level in HEARD.items():
        logging.getLogger(name).setLevel(level)
    sys.exit(main(["repro", *sys.argv[1:]]))
