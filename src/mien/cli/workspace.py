"""What the commands share: options, terminal output, and the model that they use."""

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from mien.base.errors import UserError, printable
from mien.base.listener import progress_bar
from mien.base.settings import check_settings, known_choices, read_usage
from mien.inference.default_model import find_root, load_default

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

    from mien.inference.predictor import Predictor
    from mien.sources.detect import PredictConfig

PARTLY: Final = 1  # exit code: some photo or video gave no answer
UNUSABLE: Final = 2  # exit code: no model, no detector, or a wrong command line

DETECTORS: Final = {"yunet": ("network, faster, finds more", "mien"), "haar": ("cascade, frontal faces only", "OpenCV")}
# Queries of the tracking store.
MODELS: Final = """SELECT name || '@' || alias FROM registered_model_aliases UNION ALL
SELECT 'models:/' || name || '/' || version FROM model_versions WHERE current_stage != 'Deleted_Internal'"""
RUNS: Final = f"""SELECT substr(run_uuid, 1, 8) FROM runs JOIN tags USING (run_uuid)
WHERE lifecycle_stage = 'active' AND key = 'mien.kind' AND value = 'training' UNION ALL {MODELS}"""


def completed(
    kind: Callable[..., Any] = typer.Option,
    *,
    names: Iterable[str] = (),
    group: str = "",
    query: str = "",
    **about: Any,
) -> Any:
    """An option or an argument whose value the shell completes: by names, those of a group of conf/, a query's rows.

    Only a store in an sqlite file is asked: MLflow alone takes a second to import.
    """

    def complete(incomplete: str) -> list[str]:
        from mien.tracking.store import database_file, use_store

        found = [*names, *(known_choices(find_root() / "conf", group) if group else ())]
        with suppress(sqlite3.Error):  # no such file, no such table
            if query and (file := database_file(use_store(find_root()))):
                with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
                    found += [name for (name,) in store.execute(query)]
        return [name for name in found if name.startswith(incomplete)]

    return kind(autocompletion=complete, **about)


NAMED: Final[dict[str, Any]] = {"names": ("packaged", "packaged-compact", "build/train"), "query": MODELS}
MODEL: Final = NAMED | {"metavar": "MODEL", "help": "NAME@ALIAS, models:/NAME/3, x.onnx or a folder."}
ModelOption = Annotated[str | None, completed(**MODEL)]
MeasuredOption = Annotated[str | None, completed(**MODEL | {"help": "NAME@ALIAS, models:/NAME/3 or a folder."})]
DataOption = Annotated[str | None, completed(group="data", metavar="NAME", help="Default: that of params.yaml.")]
DetectorOption = Annotated[str | None, completed(names=DETECTORS, metavar="NAME", help="yunet or haar.")]
MinFaceOption = Annotated[int | None, typer.Option(metavar="PIXELS", help="Shorter side of the smallest face.")]
MinScoreOption = Annotated[float | None, typer.Option(metavar="0-1", help="Lowest detection score to accept (yunet).")]
CroppedOption = Annotated[bool, typer.Option("--cropped", help="Each photo is one cropped face: skip detection.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]


def conf_files(root: Path, group: str) -> list[Path]:
    """The files of a group of conf/, sorted by name; a UserError where there is none."""
    files = sorted((root / "conf" / group).glob("*.yaml"), key=lambda file: file.stem)
    if not files:
        raise UserError(f"there is no conf/{group}/*.yaml in {root}; change to a checkout of mien.")
    return files


def predictor_for(model: str | None, data: str | None, **options: Any) -> "Predictor":
    """The predictor of a command's options, else of `conf/predict.yaml`; mistakes end the command with exit code 2."""
    from mien.inference.predictor import Predictor
    from mien.sources.detect import build_detector

    given = {key: value for key, value in options.items() if value is not None}
    try:
        settings: PredictConfig = read_usage(find_root(), "predict")
        if given.get("detector", settings.detector) != settings.detector:
            given["detector_file"] = ""  # that of the other
        try:
            settings = dataclasses.replace(settings, **given)
            check_settings(settings)
        except ValueError as error:
            raise UserError(f"--{str(error).rstrip('.').replace('_', '-', 1)}.") from error
        detector = build_detector(settings)
        loaded = load_default(model, data, say)
    except UserError as error:
        fail(str(error), UNUSABLE)
    if loaded.warning:
        say(f"mien: WARNING: this model {loaded.warning}; --model packaged is for those.")
    if loaded.spec.temperature is None:
        say("mien: this model has no temperature (`dvc repro evaluate` fits it): its probabilities are not calibrated.")
    return Predictor(loaded, detector, settings)


def call(*command: str, cwd: Path) -> str:
    """What a command prints; where it fails, a UserError with its error."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="surrogateescape", check=False)
    if done.returncode:
        lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        said = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise UserError(f"`{' '.join(command[:4])}` failed in {cwd}: {said}")
    return done.stdout


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name; copy it where the disk of `target` is another one, or knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def say(text: str) -> None:
    """Print sentences on stderr, one a line; characters that would act on the terminal are escaped."""
    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr)


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 face`, `1,200 faces`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def fail(sentence: str, code: int) -> NoReturn:
    """Say what is wrong and end the command with an exit code."""
    say(f"mien: {sentence}")
    raise typer.Exit(code)


def console() -> "Console":
    """The console for stdout: coloured on a terminal, plain elsewhere and where NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=False)


def table(*columns: "str | Column", **options: Any) -> "Table":
    """A table with a rule under its head; columns and options are those of `rich.table.Table`."""
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, **options)


@contextmanager
def progress(name: str, unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar that does not stay, under `quiet_libraries`; yields a function of units done and expected, or 0."""
    began = time.perf_counter()
    with quiet_libraries(), progress_bar(printable(name), shown=shown) as step:

        def update(done: int, expected: int) -> None:
            speed = f"{done / (time.perf_counter() - began):,.1f} {unit}s/s"
            step(done, speed, max(done, expected) if expected else 0)

        yield update


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep C libraries from writing to stderr, as libjpeg does about many photos; Python's `sys.stderr` still works."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nowhere, os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
        os.dup2(nowhere.fileno(), 2)
        try:
            with redirect_stderr(terminal if sys.stderr is sys.__stderr__ else sys.stderr):
                yield
        finally:
            os.dup2(terminal.fileno(), 2)
