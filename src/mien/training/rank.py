"""Training on several devices: processes (ranks) that share each batch, with Lightning's DDP.

`train` starts the ranks of its own machine. On every further machine a person starts them:

    NODE_RANK=1 MASTER_ADDR=first-machine MASTER_PORT=29400 python -m mien.training.rank JOB.json

JOB.json and the files beside it lie in the state folder (MIEN_STATE), which all machines must see.
"""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import numpy as np
import torch

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.listener import Listener
from mien.models.description import ENSEMBLE, SPEC, WEIGHTS, ModelSpec
from mien.models.weights import Parent, Parents
from mien.runtime.spec import CutSpec
from mien.training.dataset import LabelledFaces
from mien.training.fit import Diverged, Fitted, fit
from mien.training.recipe import Recipe, refuse_uneven_shares

JOB: Final = "job.json"
FITTED: Final = "fitted.pt"
STARTED: Final = "--started"  # by another process, which a rank does not outlive; torchrun's are not


def take_over(spec: ModelSpec, adopted: Mapping[str, Any], listener: Listener) -> Fitted:
    """What `tools/device_train.py` brought back, as if it had been trained here."""
    print("train: taken over from another machine, which trained it.", file=sys.stderr)
    for row in adopted["history"]:
        listener.epoch(row)
    return fitted_of(spec, adopted)


def outcome_of(fitted: Fitted) -> dict[str, Any]:
    """A training's outcome as a file holds it."""
    about = {key: value for key, value in vars(fitted).items() if key != "model"}
    return {"weights": fitted.model.state_dict(), **about}


def fitted_of(spec: ModelSpec, outcome: Mapping[str, Any]) -> Fitted:
    """What `outcome_of` described."""
    model = spec.build()
    model.load_state_dict(outcome["weights"])
    about = {field.name: outcome[field.name] for field in dataclasses.fields(Fitted) if field.name != "model"}
    return Fitted(model.eval(), **about)


def fit_on_ranks(
    spec: ModelSpec,
    recipe: Recipe,
    train: LabelledFaces,
    val: LabelledFaces,
    folder: Path,
    *,
    parents: Parents | None = None,
    listener: Listener | None = None,
) -> Fitted:
    """What `fit` does, by the processes that `trainer.devices` and `trainer.nodes` ask for; killed, it continues too.

    Of several processes the faces must lie in a file (a memory map); a single one is this one. Errors as of `fit`, and
    a UserError where a rank ended before the training did, or the ranks cannot share a batch evenly.
    """
    if recipe.trainer.ranks == 1 or recipe.model.name == ENSEMBLE:
        return fit(spec, recipe, train, val, folder, parents=parents, listener=listener)
    refuse_uneven_shares(recipe.train.batch_size, recipe.trainer)
    job = write_job(spec, recipe, train, val, folder, parents or {})
    run_ranks(job, listener or Listener())
    return fitted_of(spec, torch.load(folder / FITTED, weights_only=True))


def write_job(
    spec: ModelSpec, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, folder: Path, parents: Parents
) -> Path:
    """A training as files: JOB.json, and beside it rows and labels of both parts, and the parents' networks."""
    pixels = train.pixels
    assert isinstance(pixels, np.memmap)
    for name, part in (("train", train), ("val", val)):
        arrays: dict[str, Any] = {"rows": part.rows, "labels": part.labels}
        if part.votes is not None:
            arrays["votes"] = part.votes
        with replacing(folder / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
    content = {"spec": dataclasses.asdict(spec), "recipe": dataclasses.asdict(recipe), "pixels": str(pixels.filename)}
    content["parents"] = {address: [parent.name, f"parent-{i}"] for i, (address, parent) in enumerate(parents.items())}
    for i, parent in enumerate(parents.values()):
        (folder / f"parent-{i}").mkdir(exist_ok=True)
        for name in (WEIGHTS, SPEC):
            shutil.copyfile(parent.folder / name, folder / f"parent-{i}" / name)
    with replacing(folder / JOB) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return folder / JOB


def read_job(job: Path) -> tuple[ModelSpec, Recipe, LabelledFaces, LabelledFaces, dict[str, Parent]]:
    """What `write_job` wrote, the faces as a memory map."""
    content = json.loads(job.read_text(encoding="utf-8"))
    spec = content["spec"]
    groups = get_type_hints(Recipe).items()
    recipe = Recipe(**{group: kind(**content["recipe"][group]) for group, kind in groups})
    pixels = np.load(job.parent / content["pixels"], mmap_mode="r")  # an absolute path stays as it is
    parts = []
    for name in ("train", "val"):
        with np.load(job.with_name(f"{name}.npz")) as part:
            parts.append(LabelledFaces(pixels, part["rows"], part["labels"], part.get("votes")))
    spec = ModelSpec(spec["architecture"], CutSpec(**spec["cut"]), tuple(spec["classes"]))
    parents = {address: Parent(name, job.parent / at) for address, (name, at) in content["parents"].items()}
    return spec, recipe, parts[0], parts[1], parents


def run_ranks(job: Path, listener: Listener) -> None:
    """Start this machine's ranks and wait for them; the listener hears each epoch from the first one.

    Diverged as of `fit`; a UserError where a rank ended early, and the others are ended too.
    """
    recipe = read_job(job)[1]
    devices, node = recipe.trainer.devices, int(os.environ.get("NODE_RANK", "0"))
    if recipe.trainer.nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise UserError(
            f"trainer.nodes is {recipe.trainer.nodes}: set MASTER_ADDR and MASTER_PORT to a name and a free port of "
            f"the first machine, and start on each other one `NODE_RANK=1 ... python -m mien.training.rank {job}`."
        )
    with socket.create_server(("127.0.0.1", 0)) as probe:  # a free port
        port = str(probe.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", **os.environ}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "mien.training.rank", str(job), STARTED],
            env={**group, "LOCAL_RANK": str(i), "WORLD_SIZE": str(recipe.trainer.ranks)},
            stdin=subprocess.PIPE,  # its end tells a rank that we have died
            stdout=subprocess.PIPE if i == 0 else subprocess.DEVNULL,
            text=True,
        )
        for i in range(devices)
    ]
    failed: list[tuple[int, int]] = []
    ended = threading.Thread(target=_end_together, args=(ranks, failed), daemon=True)
    ended.start()
    said: dict[str, Any] = {}
    for line in ranks[0].stdout or ():
        said = json.loads(line)
        if "row" in said:
            listener.epoch(said["row"])
    ended.join()
    if error := said.get("error"):
        raise (Diverged if said["diverged"] else UserError)(error)
    if failed:
        local, code = failed[0]
        how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
        raise UserError(f"train: rank {node * devices + local} {how}; the same command continues the training.")


def _end_together(ranks: list[subprocess.Popen[str]], failed: list[tuple[int, int]]) -> None:
    """Wait for all ranks; when one fails, end the others, which would wait for it. `failed` gets number and code."""
    waiting = dict(enumerate(ranks))
    while waiting:
        time.sleep(0.2)
        for i, code in [(i, rank.poll()) for i, rank in waiting.items()]:
            if code is not None:
                del waiting[i]
            if code:
                failed.append((i, code))
                for other in waiting.values():
                    other.kill()


class _Told(Listener):
    """Hands each epoch to the process that started the ranks."""

    def epoch(self, row: Any) -> None:
        print(json.dumps({"row": dict(row)}), flush=True)


def _train(job: Path) -> None:
    """One rank of a training."""
    if STARTED in sys.argv:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    spec, recipe, train, val, parents = read_job(job)
    node = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
    rank = node * recipe.trainer.devices + int(os.environ["LOCAL_RANK"])
    first = rank == 0
    try:
        listener = _Told() if first else None
        fitted = fit(spec, recipe, train, val, job.parent, parents=parents, listener=listener, verbose=first, rank=rank)
    except UserError as error:
        print(json.dumps({"error": str(error), "diverged": isinstance(error, Diverged)}), flush=True)
        sys.exit(1)
    if first:
        with replacing(job.with_name(FITTED)) as partial:
            torch.save(outcome_of(fitted), partial)


if __name__ == "__main__":
    if "LOCAL_RANK" in os.environ:
        _train(Path(sys.argv[1]))
    else:
        try:
            run_ranks(Path(sys.argv[1]), Listener())
        except UserError as error:
            sys.exit(f"mien: {error}")
