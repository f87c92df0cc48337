"""Entry point of the stages: `python -m pipelines STAGE GROUP=CHOICE ...`, as in dvc.yaml.

Around a stage: its lock, the check of the whole configuration, live tracking, and how a user's mistake is told.
"""

import errno
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

import psutil

from mien.base.errors import UserError, WrongSettings
from mien.base.listener import Listener
from mien.base.settings import group_class, read_yaml
from mien.base.state import stage_lock
from mien.cli.check import RECIPE, RULES_OF_STAGES, RULES_OF_TRAINING, contradictions, mistakes
from mien.inference.address import find_parents
from mien.training.recipe import Recipe
from pipelines.compose import CONF, STAGE_GROUPS, compose, stage_choices

# They check what all stages together will compose, before they begin.
CHECK_THE_WHOLE: Final = ("ingest", "crop", "tune")
TRACKED: Final = ("tune", "train")
# What a disk may refuse, and what a person can do about it.
REFUSED: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there"),
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`)",
    errno.EROFS: "mount it writable",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "allow yourself to read and write there"),
    errno.EXDEV: "let build/ and reports/ lie on one disk",
}


def main(argv: list[str]) -> None:
    """Run one stage as a command."""
    gc.set_threshold(50_000)  # imports make objects by the hundred thousand, and none of them is garbage
    stage, choices = (argv[0] if argv else ""), argv[1:]
    if stage not in STAGE_GROUPS:
        sys.exit(f"mien: {stage or 'nothing'!r} is not a stage; the stages are {', '.join(STAGE_GROUPS)}.")
    headline = f"[{list(STAGE_GROUPS).index(stage) + 1}/{len(STAGE_GROUPS)}] {stage}"
    print(headline, "...", file=sys.stderr, flush=True)
    with stage_command(stage):
        run_stage(stage, choices)
    print(f"{headline}: {time.time() - psutil.Process().create_time():.1f} s", file=sys.stderr)
    leave(0)


def leave(code: int, said: str = "") -> None:
    """End at once if a thread waits for a slow store: in C++ code as the interpreter ends, it would abort it."""
    if any(thread.name.startswith("mien-") for thread in threading.enumerate()):
        print(said, end="\n" if said else "", file=sys.stderr)
        sys.stdout.flush()
        os._exit(code)


@contextmanager
def stage_command(stage: str) -> Iterator[None]:
    """Hold the stage, alone in its workspace; what a user can mend ends in one sentence and exit code 1."""
    try:
        with stage_lock(stage):
            yield
    except (UserError, OSError) as error:
        said = f"mien: {error if isinstance(error, UserError) else _sentence(error)}"
        leave(1, said)
        sys.exit(said)


def run_stage(stage: str, choices: list[str]) -> None:
    """Compose a stage's configuration from `group=choice` arguments, and run it.

    Raises:
        UserError: the configuration, the data or the state is wrong.
    """
    if stage in CHECK_THE_WHOLE:
        refuse_mistakes(CONF.parent / "params.yaml", CONF, stage_choices(stage, choices, CONF))
    config, listener = compose(stage, choices), Listener()
    if stage in TRACKED:  # a run by hand may compose what params.yaml does not
        settings = {"tune": group_class("tune")(), **config.groups, "root": CONF.parent}
        if found := contradictions(settings, config.choices, RULES_OF_TRAINING):
            raise WrongSettings(found)
        config.parents = find_parents(Recipe(*(config.groups[group] for group in RECIPE)).parents)
        from mien.tracking.live import LiveTracking  # stages that are not tracked do without it

        listener = LiveTracking(Path.cwd())
    import_module(f"pipelines.{stage}").run(config, listener)


def refuse_mistakes(params: Path, conf: Path, given: Mapping[str, str]) -> None:
    """Raise all mistakes, if the choices `given` are among those of `params`; a run by hand may differ from it."""
    if not params.is_file():
        return
    try:
        choices = read_yaml(params, params.name)
    except UserError:
        choices = dict(given)  # the mistake is in params.yaml itself
    if given.items() <= choices.items() and (found := mistakes(params, conf, RULES_OF_STAGES)):
        raise WrongSettings(found)


def _sentence(error: OSError) -> str:
    """What a disk refused or what is missing, and what to do; any other error of the system is raised again."""
    missing = str(error.filename or error)  # pyarrow gives its name as the message
    if isinstance(error, FileNotFoundError) and missing.startswith("build/"):
        return f"{missing} is missing; `dvc repro` runs the stage that makes it."
    if error.errno not in REFUSED:
        raise error
    where = error.filename2 or error.filename or Path.cwd()
    return f"{where}: {os.strerror(error.errno).lower()}; {REFUSED[error.errno]}, then run again."


if __name__ == "__main__":
    main(sys.argv[1:])
