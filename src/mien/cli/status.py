"""The command `mien status`: a summary of the last run of the DAG."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mien.base.errors import UserError
from mien.base.files import read_record, rerun
from mien.cli.workspace import console
from mien.inference.default_model import choices, data_file, find_root
from mien.models.description import LINEAGE, LINEAGE_KEYS, hardware_words, machine_difference

WORDS: Final = Path(__file__).with_name("status.j2")
DIGESTS: Final[dict[str, type]] = {"data_digest": str, "split_digest": str}
# The keys that are read of each report.
SCORES: Final = ("accuracy", "unweighted_average_recall", "calibration_error", "ece", "ece_if_calibrated")
COUNTS: Final[dict[str, type]] = {"n": int, "photos": int, "majority_share": float}
METRICS: Final = {"data": str, "model": str, **COUNTS, **dict.fromkeys(SCORES, dict), **DIGESTS}
DECISION: Final[dict[str, type]] = {"outcome": str, "reasons": list, "champion": object}
REGISTER: Final = {"model": str, "version": object, **DECISION, **DIGESTS}
TUNE: Final = {"trials": list, "overruled": dict}


def status() -> None:
    """Summarise the last `dvc repro`: accuracy, promotion, search, next steps."""
    root = find_root()
    metrics = _read(root / "reports/metrics.json", METRICS, "evaluate")
    if metrics is None:
        raise UserError("there is no reports/metrics.json, so no model has been evaluated here; run `make repro`.")
    from rich.table import Table

    from mien.reporting.pages import note  # jinja2 and images, which a report that lacks a key need not wait for

    lineage = _read(root / "build/train" / LINEAGE, LINEAGE_KEYS, "train")
    register = _read(root / "reports/register.json", REGISTER, "register")
    tune = _read(root / "reports/tune.json", TUNE, "tune")
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(min_width=16, style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for section in note(WORDS, "status", metrics, register, tune, _about(root, metrics, lineage)).split("\n\n"):
        grid.add_row()
        for line in section.split("\n"):
            name, _, text = line.partition("|")
            grid.add_row(f"  {name.strip()}", text.strip())
    same = lineage and lineage["split_digest"] == metrics["split_digest"]
    title = lineage["run"] if lineage and same else f"{metrics['data']} · {metrics['model']}"
    console().print(f"\n[bold]mien[/] · {title}", grid, "", sep="\n")
    if unlike := unlike_committed(root):
        console().print(f"[yellow]{unlike}[/]\n")


def _about(root: Path, metrics: dict[str, Any], lineage: dict[str, Any] | None) -> dict[str, Any]:
    """What the words need beside the reports."""
    from rich.markup import escape

    chosen = choices(root).get("data")
    about = {
        "escape": escape,
        "report": (root / "reports/index.html").exists(),
        "next_data": chosen if chosen and data_file(root, chosen).get("name", chosen) != metrics["data"] else "",
    }
    if lineage:
        from mien.training.hardware import hardware_mismatch

        about["trained_on"], about["unlike"] = hardware_words(lineage), hardware_mismatch(lineage)
        about["drawn"] = data_file(root, lineage["choices"].get("data", lineage["data"])).get("drawn")
    return about


def unlike_committed(root: Path) -> str:
    """A sentence where the accuracy differs from that of the last commit, with the kinds of machine if these do too."""
    from mien.tracking.runs import git

    files = ("reports/metrics.json", "reports/train.json")
    try:
        metrics, train = (json.loads((root / file).read_text(encoding="utf-8")) for file in files)
        old_metrics, old_train = (json.loads(git(root, "show", f"HEAD:./{file}")) for file in files)
        here, there = (f"{report['accuracy']['value']:.3f}" for report in (metrics, old_metrics))
        ours, theirs = machine_difference(train, old_train)
    except (OSError, ValueError, KeyError):  # nothing like it is committed
        return ""
    if here == there or metrics["data"] != old_metrics["data"]:
        return ""
    why = f"trained on another kind of machine ({ours} here, {theirs} there)" if ours else "see `git diff HEAD`"
    return f"Test accuracy is {here} here and {there} committed: {why}."


def _read(file: Path, keys: Mapping[str, type], stage: str) -> dict[str, Any] | None:
    return read_record(file, keys, rerun(stage)) if file.is_file() else None
