"""Training on another machine that has PyTorch and little else, such as a borrowed GPU.

    here$    python -m tools.device_train pack FOLDER           # after dvc repro tune
    there$   python FOLDER/run.py FOLDER RESULT
    here$    python -m tools.device_train adopt FOLDER RESULT   # then dvc repro

`pack` takes the configured training (`augment: batched` or `none`), its faces, the deciding rooms and the few pure
libraries that training needs beside PyTorch, NumPy and SciPy. The other machine resumes a run that it finds in RESULT,
and writes files of at most 16 MiB. `adopt` hands the outcome to `train`, if data, configuration and code are still the
same. It was made on another machine, and so is another run.
"""

import argparse
import dataclasses
import io
import json
import shutil
import sys
import tempfile
import time
from importlib.metadata import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("__init__.py", "base", "runtime", "models", "training")
PURE: Final = (
    *("annotated-types", "fsspec", "lightning-utilities", "packaging", "pytorch-lightning", "PyYAML", "safetensors"),
    *("torchmetrics", "tqdm", "typing-extensions"),
)
MOST: Final = 16 * 2**20  # bytes of a file
FACES: Final = "faces.npz"
RUN: Final = """import sys
from pathlib import Path
here = Path(__file__).resolve().parent
sys.path[:0] = [str(here / "code")]
sys.path.append(str(here / "libraries"))  # after what the machine has
from tools.device_train import run
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def pack(folder: Path) -> None:
    """Write the training that params.yaml chooses, ready to be carried to another machine."""
    from mien.inference.address import find_parents
    from mien.training.inputs import read_best, read_inputs
    from mien.training.rank import JOB, write_job
    from mien.training.recipe import Recipe
    from pipelines.compose import STAGE_GROUPS, compose

    choices = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    config = compose("train", [f"{group}={choices[group]}" for group in STAGE_GROUPS["train"]])
    recipe = Recipe(config.model, config.augment, config.optim, config.train, config.trainer)
    parents = find_parents(recipe.parents)
    inputs = read_inputs(config.data.name, recipe, config.choices, parents=parents)
    tuned = inputs.with_recipe(read_best(recipe)[1])
    if tuned.recipe.augment.face_by_face:
        sys.exit("device_train: the other machine has no albumentations; choose augment: batched or none.")
    folder.mkdir(parents=True)
    n, rows = len(tuned.train), np.concatenate([tuned.train.rows, tuned.val.rows])
    pixels = tuned.train.pixels
    np.savez_compressed(folder / FACES, pixels=np.asarray(pixels[rows]))
    train = dataclasses.replace(tuned.train, rows=np.arange(n))
    val = dataclasses.replace(tuned.val, rows=np.arange(n, len(rows)))
    job = write_job(tuned.spec, tuned.recipe, train, val, folder, parents)
    content = {**json.loads(job.read_text(encoding="utf-8")), "pixels": "faces.npy", "digest": tuned.digest()}
    (folder / JOB).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for room in ROOMS:
        source, target = ROOT / "src/mien" / room, folder / "code/mien" / room
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "code/tools").mkdir()
    shutil.copy(__file__, folder / "code/tools")
    for name in PURE:
        for file in files(name) or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = folder / "libraries" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"device_train: {len(rows):,} faces and {size / 2**20:.1f} MiB in {folder}")


def run(folder: Path, result: Path) -> None:
    """Train on this machine; what was reached is in `result` after each epoch, and is continued."""
    from mien.training.fit import fit
    from mien.training.rank import JOB, outcome_of, read_job

    result.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for file in (JOB, "train.npz", "val.npz"):
            shutil.copy(folder / file, scratch)
        for parent in folder.glob("parent-*"):
            shutil.copytree(parent, Path(scratch) / parent.name)
        np.save(Path(scratch) / "faces.npy", np.load(folder / FACES)["pixels"])
        job = Path(scratch) / JOB
        spec, recipe, train, val, parents = read_job(job)
        start = time.perf_counter()
        fitted = fit(spec, recipe, train, val, result, parents=parents)
        seconds = time.perf_counter() - start
        digest = json.loads(job.read_text(encoding="utf-8"))["digest"]
    content = io.BytesIO()
    torch.save({**outcome_of(fitted), "digest": digest}, content)
    (result / "last.ckpt").unlink()
    whole = content.getvalue()
    for i, at in enumerate(range(0, len(whole), MOST)):
        (result / f"fitted.pt.{i:03d}").write_bytes(whole[at : at + MOST])
    seen = len(train) // recipe.train.batch_size * recipe.train.batch_size * len(fitted.history)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    speed = {"seconds": seconds, "images_per_second_with_validation": seen / seconds, "peak_gpu_bytes": peak}
    (result / "speed.json").write_text(json.dumps(speed, indent=2) + "\n", encoding="utf-8")
    print(f"device_train: {fitted.history[fitted.best_epoch]} in {seconds:.0f} s")


def adopt(folder: Path, result: Path) -> None:
    """Put the outcome where `train` looks for it, if it is of the training that was packed."""
    from mien.base.files import replacing
    from mien.base.state import state_folder
    from mien.training.inputs import ADOPTED
    from mien.training.rank import JOB

    digest = json.loads((folder / JOB).read_text(encoding="utf-8"))["digest"]
    whole = b"".join(part.read_bytes() for part in sorted(result.glob("fitted.pt.*")))
    outcome = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    if outcome["digest"] != digest:
        sys.exit(f"device_train: {result} is of another training than {folder}.")
    adopted = state_folder() / ADOPTED / f"{digest}.pt"
    adopted.parent.mkdir(exist_ok=True)
    with replacing(adopted) as partial:
        partial.write_bytes(whole)
    print(f"device_train: {adopted}; `dvc repro` takes it, unless data, configuration or code have changed.")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, paths in (("pack", ["folder"]), ("run", ["folder", "result"]), ("adopt", ["folder", "result"])):
        command = commands.add_parser(name)
        for path in paths:
            command.add_argument(path, type=Path)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.folder)
    else:
        (run if arguments.command == "run" else adopt)(arguments.folder, arguments.result)


if __name__ == "__main__":
    main()
