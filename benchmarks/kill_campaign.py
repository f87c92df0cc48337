"""Kill test: kill DVC, a stage or both at random moments, run again, compare with an uninterrupted run.

    python -m benchmarks.kill_campaign --kills 100 --seed 1 --folder /tmp/kill [--stages register] [--trainer ddp]

It copies this checkout with a small sample and shrunk settings into the folder, runs the DAG once undisturbed, and then
disturbs it round after round: `dvc repro` from scratch, or `dvc repro STAGE` with the stages before it done, is killed
at one or several random moments, and run again until it ends with 0. After each kill every out that has its name
must be whole; a stage that lives on without its DVC must make a second writer stop with one sentence that names its
PID; at the end all outs, dvc.lock, metrics, trials, runs, the model version and the champion must be those of the
undisturbed run, byte by byte. The first difference ends the campaign and leaves everything as it is, to be looked at.

Stopped and started again with the same folder it goes on; another folder, or `--fresh`, begins anew.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.kill.checks import Difference, check_end, check_whole, reference
from benchmarks.kill.processes import KINDS, alive, stage_process, strike, wait_for_quiet
from benchmarks.kill.workspace import STAGES, SYNC, Workspace, read_json

REFUSAL: Final = "process {} is still working on this"
WHOLE: Final = 0.1  # share of the rounds that run the whole DAG
BETWEEN: Final = "DVC, between stages"
Kill = dict[str, Any]  # round, stage, killed, seconds until the stage is recorded, whether a second writer was refused


class Round:
    """One run of the DAG, killed at several moments."""

    def __init__(self, workspace: Workspace, seconds: dict[str, float], undisturbed: Any, seed: str) -> None:
        self.workspace = workspace
        self.seconds = seconds
        self.undisturbed = undisturbed
        self.random = random.Random(seed)
        self.kills: list[Kill] = []
        self.target: tuple[str, ...] = ()
        self._waiting: list[tuple[Kill, float]] = []  # kills whose stage is not yet recorded

    def run(self, number: int, stages: tuple[str, ...]) -> list[Kill]:
        """Kill in one stage, or all along the DAG, run to the end, and compare; returns the kills."""
        whole = len(stages) == len(STAGES) and self.random.random() < WHOLE
        chosen = STAGES if whole else (self.random.choice(stages),)
        self.target = () if whole else chosen
        self.workspace.restore(chosen[0])
        (self.workspace.base / "output.txt").unlink(missing_ok=True)
        for stage in chosen:
            for _ in range(self.random.randint(0, 1) if whole else self.random.randint(2, 4)):
                self._one(number, stage, self.random.choice(KINDS))
        dvc = self.workspace.repro(*self.target)
        while dvc.poll() is None:
            self._note_recorded()
            time.sleep(0.1)
        if dvc.returncode:
            raise Difference(f"`dvc repro` at the end of the round ended with {dvc.returncode}: see output.txt")
        self._note_recorded()
        wait_for_quiet(self.workspace.folder)
        self._sync()
        check_end(self.workspace, self.undisturbed[chosen[-1]])
        return self.kills

    def _sync(self) -> None:
        """Do as a stage says that could not reach the store in time, as happens on a busy machine."""
        if SYNC in (self.workspace.base / "output.txt").read_text():
            print(f"  {self.workspace.run('mien', 'sync').strip()}", flush=True)

    def _one(self, number: int, stage: str, kind: str) -> None:
        """Run until a random moment of a stage, and kill."""
        dvc = self.workspace.repro(*self.target)
        start, end = 0.0, None
        while dvc.poll() is None:
            self._note_recorded()
            found = stage_process(self.workspace.folder)
            now = time.monotonic()
            if end is None and found and found[0] == stage:
                start, end = now, now + self.random.uniform(0, self.seconds[stage])
            if end is not None and now >= end:
                self._strike(number, dvc, kind)
                return
            time.sleep(min(0.05, max(end - now, 0)) if end else 0.05)
        if dvc.returncode:
            raise Difference(f"`dvc repro` ended with {dvc.returncode} before the kill: see output.txt")
        if end is not None:  # it was faster than before: the next moments are drawn from its new time
            self.seconds[stage] = time.monotonic() - start

    def _strike(self, number: int, dvc: Any, kind: str) -> None:
        found = stage_process(self.workspace.folder)
        name, stage = found or (BETWEEN, None)
        kill: Kill = {"round": number, "stage": name, "killed": kind if stage else "dvc", "refused": 0}
        strike(psutil.Process(dvc.pid), stage, kind)
        start = time.monotonic()
        dvc.wait()
        if stage is not None and kind == "dvc":
            kill["refused"] = self._second_writer(stage)
        wait_for_quiet(self.workspace.folder)
        check_whole(self.workspace, self.undisturbed[STAGES[-1]])
        self.kills.append(kill)
        self._waiting.append((kill, start))
        print(f"  round {number}: killed {kill['killed']} in {name}, refused {kill['refused']}", flush=True)

    def _second_writer(self, orphan: psutil.Process) -> int:
        """Run again beside a stage that lost its DVC; returns 1 where that was refused as it should be."""
        output = self.workspace.base / "second.txt"
        output.unlink(missing_ok=True)
        before = alive(orphan)
        code = self.workspace.repro(*self.target, output=output).wait()
        if not (before and alive(orphan)):
            return 0  # it ended meanwhile
        said = output.read_text()
        if code == 0 or REFUSAL.format(orphan.pid) not in said:
            raise Difference(f"beside the living process {orphan.pid} a second one ended with {code}: see second.txt")
        return 1

    def _note_recorded(self) -> None:
        for kill, start in list(self._waiting):
            if kill["stage"] == BETWEEN or self.workspace.recorded(kill["stage"]):
                kill["seconds"] = round(time.monotonic() - start, 1)
                self._waiting.remove((kill, start))


def table(kills: list[Kill]) -> str:
    """Stage by what was killed: kills, second writers refused, median and longest seconds until the stage had ended."""
    cells: dict[tuple[str, str], list[Kill]] = defaultdict(list)
    for kill in kills:
        cells[kill["stage"], kill["killed"]].append(kill)
    lines = [
        "| killed in | what | kills | ended as undisturbed | second writers refused | seconds, median (longest) |",
        "|---|---|---|---|---|---|",
    ]
    for (stage, killed), row in sorted(cells.items(), key=lambda c: ((*STAGES, BETWEEN).index(c[0][0]), c[0][1])):
        took = [kill["seconds"] for kill in row]
        refused = sum(kill["refused"] for kill in row)
        lines.append(
            f"| {stage} | {killed} | {len(row)} | {len(row)} | {refused or ''} "
            f"| {statistics.median(took):.1f} ({max(took):.1f}) |"
        )
    return "\n".join([*lines, f"| all | | {len(kills)} | {len(kills)} | {sum(k['refused'] for k in kills)} | |"])


def main() -> None:
    """Run the campaign until it has its kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--trainer", default="single", help="a file of conf/trainer; ddp: two ranks")
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    workspace = Workspace(options.folder.resolve())
    workspace.base.mkdir(parents=True, exist_ok=True)
    known, log = workspace.base / "undisturbed.json", workspace.base / "kills.jsonl"
    if options.fresh or not known.exists():
        log.unlink(missing_ok=True)
        workspace.start_over(options.trainer)
        seconds, after = {}, {}
        for stage in STAGES:
            seconds[stage] = workspace.advance(stage)
            wait_for_quiet(workspace.folder)
            after[stage] = reference(workspace)
        known.write_text(json.dumps({"seconds": seconds, "reference": after}))
        print(f"undisturbed: {seconds}", flush=True)
    made = read_json(known)
    kills: list[Kill] = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    number = max((kill["round"] for kill in kills), default=-1)
    while len(kills) < options.kills:
        number += 1
        one = Round(workspace, made["seconds"], made["reference"], f"{options.seed} {number}")
        try:
            done = one.run(number, tuple(options.stages))
        except Difference as difference:
            sys.exit(f"round {number}, after {one.kills}: {difference}\nKept for inspection: {workspace.folder}")
        kills += done
        with log.open("a") as file:
            file.writelines(json.dumps(kill) + "\n" for kill in done)
        print(f"round {number}: {len(done)} kills, ended as undisturbed; {len(kills)} of {options.kills}", flush=True)
    print(table(kills))


if __name__ == "__main__":
    main()
