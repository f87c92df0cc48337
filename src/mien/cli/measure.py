"""The commands `evaluate`, `compare` and `labels`: other data sets, comparison of runs, label noise."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mien.base.files import replacing
from mien.base.settings import read_settings, read_yaml, refuse_unknown_choice
from mien.cli.check import RECIPE
from mien.cli.workspace import RUNS, JsonOption, MeasuredOption, completed, console, say, table
from mien.inference.default_model import PARAMS, choices, find_root, model_address

if TYPE_CHECKING:
    from mien.evaluation.other_data import CrossEvaluation
    from mien.reporting.comparison import Comparison

COMPARISON: Final = "reports/compare.html"
PART: Final = "Default: test of an official split, else all."
RUN: Final = "A run id or its first digits, a run name, models:/NAME/VERSION, NAME@ALIAS, or a checkout's folder."


def evaluate(
    data: Annotated[str, completed(group="data", metavar="NAME", help="Data set to measure on.")],
    model: MeasuredOption = None,
    part: Annotated[Literal["test", "val", "train", "all"] | None, typer.Option(help=PART)] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: reports/cross/MODEL-on-DATA.")] = None,
) -> None:
    """Measure a model on a data set other than its own.

    Faces are cropped with the model's own settings (size, colour, margin, square).
    Of the crop in params.yaml, only the confidence filter is used.
    Faces that the model learnt from are left out. The temperature is the model's own.
    """
    from mien.evaluation.other_data import evaluate_elsewhere
    from mien.inference.address import open_measured
    from mien.reporting.study_reports import write_cross_evaluation
    from mien.tracking.publish import publish_cross

    root = find_root()
    settings = read_chosen(root, ("data", "crop", "evaluate"), data=data)
    measured = open_measured(model_address(model))
    folder = out or root / "reports" / "cross" / f"{measured.slug}-on-{settings['data'].name}"
    with tempfile.TemporaryDirectory(prefix="mien-evaluate-") as scratch:
        given = settings["data"], part, settings["crop"], settings["evaluate"]
        cross = evaluate_elsewhere(measured.known, *given, root, Path(scratch))
        write_cross_evaluation(cross, folder)
        problem = publish_cross(cross)
    _show_evaluation(cross, folder)
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


def _show_evaluation(cross: "CrossEvaluation", folder: Path) -> None:
    from mien.reporting.comparison import MEASURES
    from mien.reporting.study_reports import sentences

    whole = cross.evaluation.whole
    title = cross.data.title or cross.data.name
    typer.echo(f"{cross.model.name} on {title}: {whole.faces:,} faces of {whole.photos:,} photos")
    for measure in ("accuracy", "unweighted_average_recall", "macro_f1", "calibration_error"):
        typer.echo(f"  {MEASURES[measure]:<23} {whole.intervals.overall[measure].text()}")
    for sentence in sentences(cross):
        typer.echo(f"  {sentence}")
    typer.echo(f"report: {folder / 'report.html'}")
    if bool(cross.model.drawn) != cross.data.drawn:
        say("mien: WARNING: model and data set mix drawings and photographs; the result says nothing about people.")


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
    from mien.reporting.study_reports import LABELS_PAGE, LABELS_TABLE, write_label_noise
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
