"""The commands `evaluate`, `compare`, `folds`, `join` and `labels`: other data, two runs, a search, label noise."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mien.base.errors import UserError, WrongSettings
from mien.base.files import replacing
from mien.base.settings import read_settings, read_yaml, refuse_unknown_choice
from mien.cli import workspace
from mien.cli.check import RECIPE, RULES_HERE, mistakes
from mien.cli.choices import write_choices
from mien.cli.workspace import RUNS, JsonOption, call, completed, console, counted, fail, link_or_copy, say, table
from mien.inference.default_model import PARAMS, choices, find_root, model_address

if TYPE_CHECKING:
    from mien.evaluation.scoring import EvaluateConfig, Predictions
    from mien.reporting.comparison import Comparison

COMPARISON: Final = "reports/compare.html"
PART: Final = "test, val, train or all; default: test of an official split, else all."
RUN: Final = "A run id or its first digits, a run name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder."
FOLDS: Final = 5  # where neither the command nor conf/split says how many
POOLED: Final = {"accuracy": "accuracy", "macro_f1": "macro F1"}


def evaluate(
    data: Annotated[str, completed(group="data", metavar="NAME", help="Data set to measure on.")],
    model: workspace.MeasuredOption = None,
    part: Annotated[Literal["test", "val", "train", "all"] | None, typer.Option(metavar="PART", help=PART)] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: reports/cross/MODEL-on-DATA.")] = None,
) -> None:
    """Measure a model on a data set other than its own.

    Faces are cropped with the model's own settings (size, colour, margin, square).
    Of the crop in params.yaml, only the confidence filter is used.
    Faces that the model learnt from are left out. The temperature is the model's own.
    """
    from mien.evaluation.other_data import evaluate_elsewhere, metrics
    from mien.inference.address import open_measured
    from mien.reporting.comparison import MEASURES
    from mien.reporting.evaluation_report import sentences, write_cross_evaluation
    from mien.tracking.publish import publish_cross

    root = find_root()
    settings = read_chosen(root, ("data", "crop", "evaluate"), data=data)
    measured = open_measured(model_address(model))
    folder = out or root / "reports" / "cross" / f"{measured.slug}-on-{settings['data'].name}"
    with tempfile.TemporaryDirectory(prefix="mien-evaluate-") as scratch:
        given = settings["data"], part, settings["crop"], settings["evaluate"]
        cross = evaluate_elsewhere(measured, *given, root, Path(scratch))
        write_cross_evaluation(cross, metrics(cross), folder)
        problem = publish_cross(cross)
    whole, title = cross.evaluation.whole, cross.data.title or cross.data.name
    typer.echo(f"{cross.model.name} on {title}: {whole.faces:,} faces of {whole.photos:,} photos")
    for measure in ("accuracy", "unweighted_average_recall", "macro_f1", "calibration_error"):
        typer.echo(f"  {MEASURES[measure]:<23} {whole.intervals.overall[measure].text()}")
    for sentence in sentences(cross):
        typer.echo(f"  {sentence}")
    typer.echo(f"report: {folder / 'report.html'}")
    if bool(cross.model.drawn) != cross.data.drawn:
        say("mien: WARNING: model and data set mix drawings and photographs; the result says nothing about people.")
    if problem:
        say(f"mien: {problem}")


def read_chosen(root: Path, groups: tuple[str, ...], data: str | None = None) -> dict[str, Any]:
    """The settings of some groups that params.yaml chooses; of a data set by name where one is given."""
    chosen = read_yaml(root / PARAMS) | ({"data": data} if data else {})
    settings = {}
    for group in groups:
        refuse_unknown_choice(root / "conf", group, chosen.get(group), "--data" if data and group == "data" else PARAMS)
        settings[group] = read_settings(root / "conf", group, chosen[group])
    return settings


def compare(
    a: Annotated[str, completed(typer.Argument, query=RUNS, metavar="RUN", help=RUN)],
    b: Annotated[str, completed(typer.Argument, query=RUNS, metavar="RUN", help="The other, named alike.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=f"Default: {COMPARISON}.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs: scores, a paired test, the configuration, and the faces on which they disagree.

    Writes one self-contained HTML page. With --json, only --out writes a page.
    """
    from mien.inference.compared_run import find_run
    from mien.reporting import comparison
    from mien.tracking.store import use_store

    root = find_root()
    use_store(root)
    compared = comparison.compare(find_run(a), find_run(b))
    page = out if out or as_json else root / COMPARISON
    if page:
        with replacing(page) as partial:
            partial.write_text(comparison.comparison_page(compared, root), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(compared.json(), indent=2, ensure_ascii=False, allow_nan=False))
    elif page:
        _show_comparison(compared, page)


def _show_comparison(compared: "Comparison", page: Path) -> None:
    from rich.markup import escape
    from rich.table import Column

    from mien.reporting.comparison import LOWER_IS_BETTER, MEASURES, VALIDATION
    from mien.reporting.pages import number

    out = console()
    for letter, run in (("A", compared.a), ("B", compared.b)):
        out.print(f"[bold]{letter}[/]  {escape(run.name)}  [dim]{escape(run.source)}[/]")
    numbers = [Column(title, justify="right", no_wrap=True) for title in ("A", "B", "B - A", "95 % interval", "better")]
    rows = table(Column("↓: lower is better", no_wrap=True), *numbers, padding=(0, 1, 0, 0))
    for name, title in VALIDATION.items():
        cells = [number(run.validated(name)) for run in (compared.a, compared.b)]
        rows.add_row(f"{title} ↓" if name == "loss" else title, *cells)
    rows.add_section()
    for name, title in MEASURES.items():
        cells = [number(run.measure(name).value) for run in (compared.a, compared.b)]
        if compared.paired:
            change = compared.paired.differences.overall[name]
            better = compared.verdict(name) or ("unclear" if change.known else "–")
            cells += [number(change.value, "+.3f"), change.ends("+.3f"), better]
        rows.add_row(f"{title} ↓" if name in LOWER_IS_BETTER else title, *cells)
    out.print(rows)
    out.print(escape(compared.sentence))
    if compared.paired:
        out.print(f"The models disagree on {len(compared.paired.disagreements):,} of {compared.paired.faces:,} faces.")
    keys = ", ".join(key for key, _, _ in compared.config)
    out.print(f"[dim]settings that differ:[/] {escape(keys or 'none')}")
    out.print(f"[dim]full comparison:[/] {escape(str(page))}")


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
    if subprocess.run(stages, cwd=copy, env=environment, stdout=2, check=False).returncode:
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


def join() -> None:
    """Join the search that `dvc repro` runs on another machine, and leave when it is complete.

    MIEN_TUNE_STORAGE names their storage on both. Needs the same commit, params.yaml and outs of crop and split.
    A search on another machine that differs is not joined.
    """
    from mien.inference.address import find_parents
    from mien.search.tuning import Search
    from mien.training.inputs import read_inputs
    from mien.training.recipe import Recipe

    root = find_root()
    settings, chosen = read_chosen(root, ("data", *RECIPE, "tune")), choices(root)
    recipe = Recipe(*(settings[group] for group in RECIPE))
    parents = find_parents(recipe.parents)
    Search(read_inputs(settings["data"].name, recipe, chosen, root, parents), settings["tune"]).join()
    typer.echo("the search is complete; `dvc repro` goes on with it where it began")


def labels(
    folds: Annotated[int, typer.Option(min=2, max=20, help="Number of folds; one network is trained per fold.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs per network; default: those of conf/train.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: reports/labels.")] = None,
) -> None:
    """List the faces whose labels are likely wrong on a page, most suspicious first. Changes no label.

    Uses confident learning on cross-validated predictions, with the network and settings of params.yaml and the result
    of the search. A photo and its duplicates stay in one fold. Only training and validation faces are judged; the test
    set stays closed. A killed run resumes.
    """
    from mien.evaluation.label_noise import find_label_noise
    from mien.reporting.evaluation_report import LABELS_PAGE, LABELS_TABLE, write_label_noise
    from mien.training.inputs import BEST, read_best
    from mien.training.recipe import Recipe

    root = find_root()
    settings = read_chosen(root, ("data", *RECIPE))
    recipe = Recipe(*(settings[group] for group in RECIPE))
    if (root / BEST).is_file():  # the search has run
        recipe = read_best(recipe, root)[1]
    if epochs is not None:
        recipe = recipe.with_values({"train.epochs": epochs})

    def report_fold(number: int, kept: bool) -> None:
        say(f"fold {number + 1} of {folds} {'was already done' if kept else 'done'}")

    folder = out or root / "reports" / "labels"
    title = settings["data"].title or settings["data"].name
    about = {"title": title, "model": choices(root)["model"], "folds": folds, "epochs": recipe.train.epochs}
    with find_label_noise(root, recipe, folds, report_fold) as found:
        write_label_noise(found, about, folder)
    suspects, faces = int(found.ranked["suspect"].sum()), len(found.ranked)
    typer.echo(f"{suspects:,} of {faces:,} labels are suspect ({suspects / faces:.1%})")
    typer.echo(f"  the networks agree with the label of {found.accuracy:.1%} of the unseen faces")
    typer.echo("  nothing was changed; review the page and decide (docs/howto/labels.md)")
    typer.echo(f"page: {folder / LABELS_PAGE}\nall faces: {folder / LABELS_TABLE}")
