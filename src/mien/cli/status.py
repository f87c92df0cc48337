"""The command `mien status`: a summary of the last run of the DAG."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mien.base.errors import UserError
from mien.base.records import read_record, rerun
from mien.cli.output import console
from mien.cli.workspace import PARAMS, choices, data_file, find_root
from mien.models.description import LINEAGE, LINEAGE_KEYS, hardware_words, machine_difference

Line = tuple[str, str]  # a name ("" continues the line above) and rich text

OUTCOMES: Final = {
    "promoted": "[bold green]promoted to champion[/]",
    "challenger": "[bold yellow]not promoted[/]: it stays challenger",
    "refused": "[bold yellow]not compared[/]: a person decides",
    "candidate": "[bold]candidate[/] of an experiment: only `dvc repro` or a person promotes",
    "unchanged": "[bold]is identical to the champion[/]: nothing changes",
    "not registered": "[bold yellow]is not registered[/]: the registry did not answer",
}

# The tracked files on which numbers depend, those that people change most first.
DECIDING: Final = ("params.yaml", "conf/", "data", "src/", "pipelines/", "dvc.yaml", "constraints.txt")
# The keys that are read of each report.
Keys = dict[str, type]
DIGESTS: Final[Keys] = {"data_digest": str, "split_digest": str}
SCORES: Final = ("accuracy", "unweighted_average_recall", "calibration_error", "ece", "ece_if_calibrated")
COUNTS: Final[Keys] = {"n": int, "photos": int, "majority_share": float}
METRICS: Final[Keys] = {"data": str, "model": str, **COUNTS, **dict.fromkeys(SCORES, dict), **DIGESTS}
DECISION: Final[Keys] = {"outcome": str, "reasons": list, "champion": object}
REGISTER: Final[Keys] = {"model": str, "version": object, **DECISION, **DIGESTS}
TUNE: Final[Keys] = {"trials": list, "overruled": dict}


def status() -> None:
    """Summarise the last `dvc repro`: accuracy, promotion, search, next steps."""
    root = find_root()
    metrics = _read(root / "reports/metrics.json", METRICS, "evaluate")
    if metrics is None:
        raise UserError("there is no reports/metrics.json, so no model has been evaluated here; run `make repro`.")
    from rich.table import Table

    lineage = _read(root / "build/train" / LINEAGE, LINEAGE_KEYS, "train")
    register = _read(root / "reports/register.json", REGISTER, "register")
    tune = _read(root / "reports/tune.json", TUNE, "tune")
    title = f"{metrics['data']} · {metrics['model']}"
    if lineage and lineage["split_digest"] == metrics["split_digest"]:
        title = lineage["run"]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=16, style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    numbers, decision = _evaluation(root, metrics, lineage), _promotion(register, metrics)
    for section in (numbers, decision, _search(tune), _next_steps(root, metrics, register)):
        grid.add_row()
        for name, text in section:
            grid.add_row(f"  {name}", text)
    console().print(f"\n[bold]mien[/] · {title}", grid, "", sep="\n")
    if unlike := unlike_committed(root):
        console().print(f"[yellow]{unlike}[/]\n")


def _evaluation(root: Path, metrics: dict[str, Any], lineage: dict[str, Any] | None) -> Iterator[Line]:
    faces = f"{metrics['n']:,} faces of {metrics['photos']:,} photos"
    yield "test accuracy", f"[bold]{_score(metrics['accuracy'])}[/]  on {faces}"
    yield "", "[dim]in brackets: 95 % intervals between groups of photos[/]"
    yield "", f"[dim]always answering the most frequent expression scores {metrics['majority_share']:.3f}[/]"
    yield "mean recall", f"{_score(metrics['unweighted_average_recall'])}  unweighted over the expressions"
    yield "calibration", f"{_score(metrics['calibration_error'])}  debiased calibration error"
    ece, calibrated = (metrics[name]["value"] for name in ("ece", "ece_if_calibrated"))
    yield "", f"[dim]ECE {ece:.3f}; a perfectly calibrated model would read {calibrated:.3f} on these faces[/]"
    if part := metrics.get("leak_free"):
        left = f"{_score(part['accuracy'])}  accuracy on the {part['n']:,} faces not also in training"
        yield "leak-free part", left if part["n"] else "none: every test face has a copy, or its person, in training"
    if not lineage:
        return
    from mien.training.hardware import hardware_mismatch

    yield "trained on", hardware_words(lineage)
    if unlike := hardware_mismatch(lineage):
        yield "", f"[yellow]{unlike}[/]"
    if data_file(root, lineage["choices"].get("data", lineage["data"])).get("drawn"):
        yield "", "[yellow]These faces are drawings: the numbers say nothing about photographs.[/]"


def _promotion(register: dict[str, Any] | None, metrics: dict[str, Any]) -> Iterator[Line]:
    from rich.markup import escape

    if register is None:
        yield "registry", "nothing is registered yet (no reports/register.json); `dvc repro` does it"
        return
    outcome = OUTCOMES.get(register["outcome"], register["outcome"])
    if register["outcome"] == "unchanged" and register["champion"] == register["version"]:
        outcome = "[bold]is the champion[/]"
    version = "" if register["version"] is None else f" version {register['version']}"
    yield "registry", f"{register['model']}{version} {outcome}"
    if (register["data_digest"], register["split_digest"]) != (metrics["data_digest"], metrics["split_digest"]):
        yield "", "[yellow]The decision used another test set than the numbers above; run `dvc repro`.[/]"
    for reason in register["reasons"]:
        yield "", f"[dim]{escape(reason)}[/]"
    if register["champion"] not in (None, register["version"]):
        yield "", f"champion is version {register['champion']}"


def _search(tune: dict[str, Any] | None) -> Iterator[Line]:
    if tune is None:
        yield "search", "unknown (no reports/tune.json)"
        return
    trials, overruled = len(tune["trials"]), tune["overruled"]
    if not trials:
        yield "search", "none (tune: none); the values of the configuration were used"
    elif overruled:
        yield "search", f"{trials} trials; the search overruled the configuration:"
    else:
        yield "search", f"{trials} trials; none beat the values of the configuration"
    for key, values in overruled.items():
        before, after = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in (values["config"], values["search"]))
        yield "", f"{key}: {before} → [bold]{after}[/]"
    if confirmed := tune.get("confirmed"):
        yield "", f"[dim]{confirmed['says']}[/]"


def _next_steps(root: Path, metrics: dict[str, Any], register: dict[str, Any] | None) -> Iterator[Line]:
    report = root / "reports/report.html"
    missing = "" if report.exists() else " [yellow](missing; `dvc checkout` or `dvc repro` brings it)[/]"
    yield "next steps", f"reports/report.html    the full report, with failures{missing}"
    yield "", "make ui                runs, figures and registry in a browser"
    if register and register["champion"] is not None:
        yield "", "mien predict PHOTO...  expressions, by the champion"
    elif register and register["version"] is not None:
        yield "", "mien promote           make a version champion by hand"
    chosen = choices(root).get("data")
    if chosen and data_file(root, chosen).get("name", chosen) != metrics["data"]:
        yield "", f"[yellow]{PARAMS} now chooses data: {chosen}; `dvc repro` runs it[/]"


def unlike_committed(root: Path) -> str:
    """A sentence where the numbers differ from those of the last commit, with the reason where it is known."""
    from mien.tracking.facts import changed_files, git  # with psutil, which a machine that only predicts may lack

    files = ("reports/metrics.json", "reports/train.json")
    try:
        metrics, train = (json.loads((root / file).read_text(encoding="utf-8")) for file in files)
        old_metrics, old_train = (json.loads(git(root, "show", f"HEAD:./{file}")) for file in files)
        if metrics == old_metrics or metrics["data"] != old_metrics["data"]:
            return ""
        here, there = (f"{report['accuracy']['value']:.3f}" for report in (metrics, old_metrics))
        ours, theirs = machine_difference(train, old_train)
        kind = "processor" if train["device"] == old_train["device"] == "cpu" else "machine"
    except (OSError, ValueError, KeyError):  # nothing like it is committed
        return ""
    said = f"Test accuracy is {here} here and {there} committed"
    if here == there:
        said = f"Test accuracy is {here} as committed, and other numbers in {files[0]} differ"
    deciding = [file for file in changed_files(root) if file.startswith(DECIDING)]
    if changed := sorted(deciding, key=lambda file: [not file.startswith(prefix) for prefix in DECIDING]):
        return f"{said}: {changed[0]} differs from the commit{f', and {len(changed) - 1} more' * (len(changed) > 1)}."
    return f"{said}: trained on another kind of {kind} ({ours} here, {theirs} there)." if ours + theirs else f"{said}."


def _score(interval: dict[str, float | None]) -> str:
    from mien.evaluation.intervals import Interval

    return Interval.from_json(interval).text()


def _read(file: Path, keys: Mapping[str, type], stage: str) -> dict[str, Any] | None:
    """A report, or None where there is none."""
    return read_record(file, keys, rerun(stage)) if file.is_file() else None
