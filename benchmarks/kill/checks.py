"""Checks after a kill and at the end, against an uninterrupted run."""

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from benchmarks.kill.workspace import Workspace

OUTS: Final = ("build", "reports")


class Difference(Exception):
    """The first thing that is not as in the undisturbed run."""


def reference(workspace: Workspace) -> dict[str, Any]:
    """What the end of a run is compared by: files, dvc.lock, and the tracking store."""
    return {
        "files": file_digests(workspace.folder),
        "lock": workspace.lock(),
        "store": store_facts(workspace.folder / "mlruns/mlflow.db"),
        "artifacts": _artifacts(workspace.folder / "mlruns/artifacts"),
    }


def check_end(workspace: Workspace, undisturbed: dict[str, Any]) -> None:
    """All is as in the undisturbed run, and nothing is left over.

    Raises:
        Difference: with the first one.
    """
    now = reference(workspace)
    for part, expected in undisturbed.items():
        compare(part, now[part], expected)
    if left := leftovers(workspace.folder):
        raise Difference(f"left over: {left}")


def check_whole(workspace: Workspace, undisturbed: dict[str, Any]) -> None:
    """After a kill: every out that has its name is whole, and what DVC recorded is as undisturbed.

    Raises:
        Difference: with the first one.
    """
    files = file_digests(workspace.folder)
    for out in {path for stage in undisturbed["lock"]["stages"].values() for path in _outs(stage)}:
        expected = _below(undisturbed["files"], out)
        if (workspace.folder / out).exists():
            compare(f"out {out} after the kill", _below(files, out), expected)
    lock = workspace.folder / "dvc.lock"
    recorded = (workspace.lock() or {}).get("stages", {}) if lock.exists() else {}
    for stage, content in recorded.items():
        compare(f"dvc.lock {stage} after the kill", content, undisturbed["lock"]["stages"][stage])


def compare(what: str, now: Any, expected: Any) -> None:
    """Equal, down to the first key that differs.

    Raises:
        Difference: they are not.
    """
    if isinstance(now, dict) and isinstance(expected, dict):
        for key in sorted({*now, *expected}):
            compare(f"{what}: {key}", now.get(key), expected.get(key))
    elif now != expected:
        raise Difference(f"{what}: is {now!r}, undisturbed {expected!r}")


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the outs."""
    files = (f for out in OUTS for f in (folder / out).rglob("*") if f.is_file() and not _is_partial(f))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def leftovers(folder: Path) -> list[str]:
    """Partial files, waiting outs and state that should be gone; locks stay."""
    partial = [p for p in folder.rglob("*.partial*") if p.is_file() or p.name != ".partial"]
    waiting = [p for p in (folder / "build/.partial").glob("*") if p.suffix != ".lock"]
    state = [p for stage in ("tune", "train") for p in (folder / ".mien" / stage).glob("*") if p.suffix != ".lock"]
    return sorted({p.relative_to(folder).as_posix() for p in (*partial, *waiting, *state)})


def store_facts(database: Path) -> dict[str, Any]:
    """Runs, metrics, versions and aliases of an MLflow store, without times and identifiers; empty without one."""
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return store.execute(query).fetchall()

        live, active = "runs.lifecycle_stage = 'active'", "WHERE lifecycle_stage = 'active'"
        metrics = rows(
            f"SELECT name, key, step, round(value, 9) FROM metrics JOIN runs USING (run_uuid) WHERE {live} "
            "AND key NOT LIKE 'system/%' AND key NOT LIKE 'machine/%' AND key NOT LIKE '%images_per_second'"
        )
        return {
            "runs": sorted(f"{n} {s}" for n, s in rows(f"SELECT name, status FROM runs WHERE {live}")),
            "digests": counted(rows("SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = 'mien.digest'")),
            "metrics": counted(metrics),
            "params": counted(rows(f"SELECT name, key FROM params JOIN runs USING (run_uuid) WHERE {live}")),
            "versions": [list(row) for row in rows("SELECT name, version, status FROM model_versions")],
            "aliases": [list(row) for row in rows("SELECT name, alias, version FROM registered_model_aliases")],
            "events": len(rows("SELECT key FROM registered_model_tags WHERE key LIKE 'mien.event.%'")),
            "models": sorted(str(row[0]) for row in rows(f"SELECT status FROM logged_models {active}")),
        }


def counted(rows: list[tuple[Any, ...]]) -> dict[str, int]:
    """How often each row stands there."""
    return dict(sorted(Counter(" ".join(map(str, row)) for row in rows).items()))


def _artifacts(folder: Path) -> dict[str, int]:
    """How often each file name stands among the artifacts; their folders are named by chance."""
    return dict(sorted(Counter(f.name for f in folder.rglob("*") if f.is_file()).items()))


def _outs(stage: dict[str, Any]) -> list[str]:
    return [out["path"] for out in stage.get("outs", [])]


def _is_partial(file: Path) -> bool:
    return any(part.startswith(".partial") for part in file.parts)


def _below(files: dict[str, str], out: str) -> dict[str, str]:
    return {name: value for name, value in files.items() if name == out or name.startswith(f"{out}/")}
