"""Tables of docs/evidence/results.md: results, training, and the claims of the reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.tracked_runs import TrackedRun, other_settings
from mien.base.settings import read_settings

MEASURES: Final = ("macro_f1", "unweighted_average_recall", "calibration_error")
EPOCHS: Final = "train.epochs"
SHORT: Final = 8  # digits of an id or a digest that tell it apart


@dataclass(frozen=True)
class Row:
    """A system of reference_systems.yaml, its choices, and the run that measured it, if any did."""

    system: str
    about: Mapping[str, Any]
    choices: Mapping[str, str]
    run: TrackedRun | None


def tables(rows: Sequence[Row], conf: Path) -> str:
    """The three tables with their headings, as Markdown."""
    return "\n".join(
        [
            "## Results\n",
            *_table(
                ("system", "data", "test faces", "accuracy (95 % interval)", "leak-free accuracy (interval), faces",
                 "macro F1", "unweighted average recall", "calibration error (older: ECE)", "run, data"),
                [_measured(row, conf) for row in rows],
            ),
            "\n## Training\n",
            *_table(
                ("system", "network (trainable parameters)", "training faces", "epochs", "training time",
                 "hardware, precision", "MLflow run"),
                [_trained(row, conf) for row in rows],
            ),
            "\n## Claims of the reports\n",
            *_table(
                ("system", "claimed in its report", "measured here", "reason for the difference"),
                [_claimed(row, conf) for row in rows],
            ),
            "",
        ]
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in cells]


def _measured(row: Row, conf: Path) -> list[str]:
    if row.run is None:
        return [row.system, *[""] * 2, _waits(row), *[""] * 5]
    metrics = row.run.files["metrics"]
    clean = metrics.get("leak_free")
    return [
        row.system,
        _data(row, row.run, conf),
        f"{metrics['n']:,}",
        f"**{interval(metrics['accuracy'])}**",
        f"{interval(clean['accuracy'])}, {clean['n']:,}" if clean else "no face leaks",
        *(interval(metrics[measure]) for measure in MEASURES),
        f"`{row.run.run_id[:SHORT]}`, `{row.run.lineage['data_digest'][:SHORT]}`",
    ]


def _trained(row: Row, conf: Path) -> list[str]:
    if row.run is None:
        return [row.system, f"`{row.choices['model']}`", "", _waits(row), *[""] * 3]
    lineage, tags = row.run.lineage, row.run.tags
    gpu = lineage.get("gpu") or tags.get("mien.gpu", "none")
    device = gpu if gpu != "none" and lineage.get("device") == "gpu" else tags.get("mien.cpu", "a processor not noted")
    cores = f", {tags['mien.cores']} cores" if "mien.cores" in tags else ""
    return [
        row.system,
        f"`{lineage['model']}` ({lineage['parameters']:,})",
        f"{row.run.files['split']['parts']['train']['faces']:,}",
        "; ".join([_epochs(row.run, row.choices, conf), *_otherwise(row.run, row.choices, conf)]),
        _time(row.run.seconds),
        f"{device}{cores}; {lineage['precision'].replace('32', 'float32')}",
        row.run.name,
    ]


def _claimed(row: Row, conf: Path) -> list[str]:
    claimed, differs = row.about["claimed"], str(row.about["differs"]).strip()
    if row.run is None:
        return [row.system, claimed, _waits(row), differs]
    if shortened(row.run, row.choices, conf):
        differs = f"{differs} The run here was {_epochs(row.run, row.choices, conf)}."
    return [row.system, claimed, interval(row.run.files["metrics"]["accuracy"]), differs]


def interval(measure: Mapping[str, Any]) -> str:
    """A share with its interval: `0.505 (0.489 to 0.521)`."""
    value = f"{measure['value']:.3f}"
    if measure.get("low") is None or measure.get("high") is None:
        return value
    return f"{value} ({measure['low']:.3f} to {measure['high']:.3f})"


def shortened(run: TrackedRun, choices: Mapping[str, str], conf: Path) -> bool:
    """Whether the run was given fewer epochs than its choices ask for."""
    given, asked = other_settings(run, choices, conf).get(EPOCHS, (0, 0))
    return bool(given < asked)


def _waits(row: Row) -> str:
    return str(row.about.get("needs", "not measured yet")).strip()


def _data(row: Row, run: TrackedRun, conf: Path) -> str:
    """The data set, how much of it, and whose test part: `ExpW, 2,754 of 91,793 faces; parts by groups`."""
    faces = run.files["ingest"]["faces"]
    whole = row.about.get("whole", faces)
    of = f"{faces:,} of {whole:,} faces" if faces < whole else f"all {faces:,} faces"
    split = "its own test part" if run.files["split"]["official_split"] else "test part of a split by groups"
    return f"{read_settings(conf, 'data', row.choices['data']).title}, {of}; {split}"


def _epochs(run: TrackedRun, choices: Mapping[str, str], conf: Path) -> str:
    ran, kept = run.files["train"]["epochs"], run.files["train"]["best_epoch"] + 1
    given, asked = run.lineage["config"]["train"]["epochs"], read_settings(conf, "train", choices["train"]).epochs
    if given < asked:
        return f"shortened: {ran} of {asked} epochs, number {kept} kept"
    early = f"{ran} of at most {given}, stopped early" if ran < given else f"{ran}"
    return f"{early}, number {kept} kept"


def _otherwise(run: TrackedRun, choices: Mapping[str, str], conf: Path) -> list[str]:
    """Settings but for the epochs in which the run is not what the choices say."""
    other = other_settings(run, choices, conf)
    return [f"`{key}` {given}, not {asked}" for key, (given, asked) in sorted(other.items()) if key != EPOCHS]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not tracked"
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds / 60:.1f} min"
