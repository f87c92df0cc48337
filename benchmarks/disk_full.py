"""Full-disk test of each stage: fill the disk, check the message, free space, run again.

    python -m benchmarks.disk_full --folder /tmp/full

Needs root: the folder becomes a memory disk of its own. Before each stage the disk is filled up to a few kilobytes. The
stage run by hand must end with exit code 1 and one sentence, without a traceback and without an out; `dvc repro` of it
must fail too; with room again the same `dvc repro` must end with 0, after what a person mends by hand is mended
(it is printed), and nothing half-written be left.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import yaml

from benchmarks.kill.checks import leftovers
from benchmarks.kill.workspace import STAGES, Workspace
from pipelines.compose import STAGE_GROUPS

SIZE: Final = "400m"
FREE: Final = (0, 64)  # kB that are left


def main() -> None:
    """Print a line per stage and amount of room."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    base = parser.parse_args().folder.resolve()
    base.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", base], check=True)
    try:
        workspace = Workspace(base)
        workspace.start_over("single")
        for stage in STAGES:
            for kilobytes in FREE:
                print(f"{stage}, {kilobytes} kB free: {_full(workspace, stage, kilobytes)}", flush=True)
            _mend_dvc(workspace.folder)
            workspace.run("dvc", "repro", stage)
            if left := leftovers(workspace.folder):
                sys.exit(f"{stage}: left over {left}")
        print("With room again every stage ended with 0.")
    finally:
        subprocess.run(["umount", base], check=True)


def _mend_dvc(folder: Path) -> None:
    """The advice of docs/concepts/failures.md: DVC writes these two in place, and a full disk breaks them off."""
    for name in ("dvc.lock", ".dvc/tmp/rwlock"):
        file = folder / name
        if file.exists() and not _whole(file):
            print(
                f"  DVC left half of {name} ({file.stat().st_size} bytes) and refuses to read it; removed.", flush=True
            )
            file.unlink()


def _whole(file: Path) -> bool:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML too
    except yaml.YAMLError:
        return False
    return isinstance(content, dict) and (file.name != "dvc.lock" or "stages" in content)


def _full(workspace: Workspace, stage: str, kilobytes: int) -> str:
    """What the stage, and DVC, say on the full disk."""
    filler = workspace.base / "filler"
    room = shutil.disk_usage(workspace.base).free - kilobytes * 1024
    filler.write_bytes(bytes(max(room, 0)))
    try:
        said = workspace.attempt("python", "-m", "pipelines", stage, *_choices(workspace, stage))
        dvc = workspace.attempt("dvc", "repro", "--single-item", stage)
    finally:
        filler.unlink()
    for code, text in (said, dvc):
        if "Traceback" in text:
            sys.exit(f"{stage}: exit code {code}\n{text}")
    if said[0] == 0 and kilobytes:
        return "that was room enough"
    sentences = [line for line in said[1].splitlines() if line.startswith("mien: ")]
    if said[0] != 1 or len(sentences) != 1 or dvc[0] == 0:
        sys.exit(f"{stage}: exit code {said[0]}, not one sentence:\n{said[1]}\nDVC ended with {dvc[0]}:\n{dvc[1]}")
    return sentences[0].replace(f"{workspace.folder}/", "")


def _choices(workspace: Workspace, stage: str) -> list[str]:
    params = yaml.safe_load((workspace.folder / "params.yaml").read_text(encoding="utf-8"))
    return [f"{group}={params[group]}" for group in STAGE_GROUPS[stage]]


if __name__ == "__main__":
    main()
