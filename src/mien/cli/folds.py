"""The command `mien folds`: k-fold cross-validation with one pooled interval, each fold a DVC experiment."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mien.base.errors import UserError, WrongSettings
from mien.base.settings import read_yaml
from mien.cli.check import RULES_HERE, mistakes
from mien.cli.choices import write_choices
from mien.cli.measure import read_chosen
from mien.cli.workspace import JsonOption, call, console, counted, fail, link_or_copy, say, table
from mien.inference.default_model import PARAMS, choices, find_root

if TYPE_CHECKING:
    from mien.evaluation.scoring import EvaluateConfig, Predictions

FOLDS: Final = 5  # where neither the command nor conf/split says how many
POOLED: Final = {"accuracy": "accuracy", "macro_f1": "macro F1"}


def folds(
    count: Annotated[int | None, typer.Option("--folds", min=3, help="Default: that of conf/split, else 5.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cross-validate: run the DAG up to `evaluate` once per fold, and pool the answers. Registers nothing.

    Each face is tested once, by a model that learnt from other photos and persons.
    Each fold becomes a DVC experiment; this checkout stays as it is.
    After a kill, the same command continues.
    """
    from mien.evaluation.tables import read_predictions

    root = find_root()
    if found := mistakes(root / PARAMS, root / "conf", RULES_HERE):
        raise WrongSettings(found)
    settings, chosen = read_chosen(root, ("data", "split", "evaluate")), choices(root)
    n, tested = count or settings["split"].folds or FOLDS, []
    with _copied_checkout(root, settings["data"].path) as copy:
        for fold in range(n):
            say(f"fold {fold + 1} of {n}")
            write_choices(copy / f"conf/split/{chosen['split']}.yaml", {"folds": n, "fold": fold})
            _run_fold(root, copy, f"{chosen['data']}-{chosen['model']}-fold-{fold}")
            tested.append(read_predictions(copy / "reports/predictions.csv"))
        faces = read_yaml(copy / "reports/split.json")["faces"]
    _show_folds(tested, faces, settings["evaluate"], as_json)


@contextmanager
def _copied_checkout(root: Path, data: str) -> Iterator[Path]:
    """A copy of a checkout, with edits, new files and data, that shares its cache and state; removed on success.

    It lies where DVC has those of `dvc exp run --queue`. That command itself resets the checkout for a moment while it
    stashes the edits, and a kill leaves it so; here nothing is written into it but finished experiments.
    """
    import psutil
    from dvc.repo import Repo

    from mien.base.state import DVC_COPIES, locked, still_working

    copies = root.joinpath(*DVC_COPIES)
    with locked(copies / "mien-folds.lock", "folds"):
        for left in copies.glob("mien-folds-*/"):  # of a run that was killed
            for process in psutil.process_iter(["cwd"]):  # its `dvc` goes on
                if Path(process.info["cwd"] or "/").is_relative_to(left.resolve()):
                    raise still_working("folds", process.pid)
            shutil.rmtree(left)
        copy = Path(tempfile.mkdtemp(prefix="mien-folds-", dir=copies))  # not where a killed run's `dvc` may go on
        call("git", "clone", "--quiet", "--shared", "--no-checkout", str(root), str(copy), cwd=root)
        listed = call("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root)
        for name in filter(None, listed.split("\0")):
            if (root / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name)
        if (lock := copy / "dvc.lock").is_file():  # DVC saves no experiment whose other outs are not in the cache
            stages = read_yaml(lock)["stages"].items()
            write_choices(lock, {"stages": {stage: of for stage, of in stages if stage not in ("report", "register")}})
        with Repo(str(root)) as repo:
            cache = f'[cache]\n    dir = "{repo.cache.local_cache_dir}"\n'
        (copy / ".dvc/config.local").write_text(cache, encoding="utf-8")  # `dvc config` takes ASCII alone
        shutil.copytree(root / data, copy / data, symlinks=True, copy_function=link_or_copy, dirs_exist_ok=True)
        yield copy
        shutil.rmtree(copy)


def _run_fold(root: Path, copy: Path, name: str) -> None:
    """Run the stages up to `evaluate` in the copy, and bring them as a DVC experiment into the checkout."""
    stages = [sys.executable, "-m", "pipelines.repro", "evaluate"]
    environment = {**os.environ, "DVC_EXP_NAME": name}  # DVC's own name for it, by which MLflow's runs are told apart
    try:
        code = subprocess.run(stages, cwd=copy, env=environment, stdout=2, check=False).returncode
    except KeyboardInterrupt:
        code = 1
    if code:
        fail("the fold did not end; the same command goes on with it, and trains no fold that is done again.", 1)
    try:
        call("git", "add", "--all", cwd=copy)  # DVC saves new files only where they are staged
        head = call("git", "rev-parse", "HEAD", cwd=copy).strip()
        call(sys.executable, "-m", "dvc", "exp", "save", "--force", "--name", name, "evaluate", cwd=copy)
        ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
        call("git", "fetch", "--quiet", "--no-tags", str(copy), f"+{ref}:{ref}", cwd=root)
    except UserError as error:
        say(f"mien: the fold counts, but is no DVC experiment: {error}")


def _show_folds(tested: "list[Predictions]", faces: int, config: "EvaluateConfig", as_json: bool) -> None:
    """Measure each fold, and all together with one interval, resampled by the groups of the split."""
    import pandas as pd

    from mien.evaluation.intervals import bootstrap, rounded
    from mien.evaluation.measures import measure
    from mien.evaluation.scoring import Predictions

    whole = Predictions(pd.concat([one.table for one in tested], ignore_index=True))
    how: dict[str, Any] = {"n": config.bootstrap, "seed": config.seed, "bins": config.bins}
    pooled = bootstrap(whole.labels, whole.probabilities, whole.table["group"].to_numpy(), **how).overall
    never, of_folds, rows = faces - len(whole.table), [], table("fold", "faces", *POOLED.values())
    for fold, one in enumerate(tested):
        values = measure(one.labels, one.probabilities, config.bins)
        of_folds.append({"fold": fold, "faces": len(one.table), **{name: rounded(values[name]) for name in POOLED}})
        rows.add_row(f"{fold}", f"{len(one.table):,}", *(f"{values[name]:.3f}" for name in POOLED))
    if as_json:
        of_all = {"faces": len(whole.table), "never_tested": never} | {name: pooled[name].json() for name in POOLED}
        typer.echo(json.dumps({"folds": of_folds, "pooled": of_all}, indent=2, allow_nan=False))
        return
    rows.add_section()
    rows.add_row("all", f"{len(whole.table):,}", *(pooled[name].text() for name in POOLED))
    console().print(rows)
    typer.echo("Each was tested once, by a model that did not learn from it. In brackets: 95 % intervals.")
    if never:
        typer.echo(f"Never tested: {counted(never, 'face')} of the data set's own training part.")
