"""A tracking store as a team leaves it: three data sets, four networks, a search and five promotions.

    python -m benchmarks.busy_store FOLDER

FOLDER becomes a checkout of its own with this code, in which mien's own stages run with small networks on small drawn
data sets: 22 trainings, 8 trials, versions, the gate's decisions, and promotions by hand until there are five. It takes
five and a half minutes on 2 idle cores. Then `cd FOLDER && mien ui` shows what somebody sees who was not there.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CODE: Final = Path(__file__).resolve().parents[1]
COPIED: Final = ("src", "pipelines", "conf", "benchmarks")  # also what is not committed yet
PHOTOS: Final = 300
SEEDS: Final = {"drawn7": 7, "drawn8": 8, "drawn9": 9}
CROPS: Final = {"vgg64": "rgb64"}
NETWORKS: Final = ("cnn48", "resnet16", "resnet32", "vgg64")
RATES: Final = (0.001, 0.003)
EPOCHS: Final = 6
PROMOTIONS: Final = 5


@dataclass(frozen=True)
class Training:
    """The choices of one way through the DAG."""

    data: str
    model: str
    rate: float
    search: bool

    @property
    def crop(self) -> str:
        """How the network takes its faces."""
        return CROPS.get(self.model, "grey48")


def trainings() -> Iterator[Training]:
    """All of them, data set by data set, those of one cut together."""
    for data in SEEDS:
        for model in NETWORKS if data != "drawn9" else NETWORKS[:3]:
            for rate in RATES:
                yield Training(data, model, rate, search=(data, model, rate) == ("drawn7", "resnet16", RATES[1]))


def main() -> None:
    """Make the checkout, then fill its store in a process that imports from there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--filling", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.filling:
        os.chdir(folder)
        fill()
        return
    make_checkout(folder)
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = f"{folder / 'src'}{os.pathsep}{folder}"
    command = [sys.executable, "-m", "benchmarks.busy_store", str(folder), "--filling"]
    sys.exit(subprocess.run(command, cwd=folder, env=environment, check=False).returncode)


def make_checkout(folder: Path) -> None:
    """A clone with this working tree's code, and the data sets."""
    from tools.sample.sample import draw_sample

    subprocess.run(["git", "clone", "-q", str(CODE), str(folder)], check=True)
    for name in COPIED:
        shutil.copytree(CODE / name, folder / name, dirs_exist_ok=True)
    for name, seed in SEEDS.items():
        draw_sample(folder / "data" / name, photos=PHOTOS, seed=seed)
        lines = {"name": name, "source": "expw", "path": f"data/{name}", "title": f"drawn faces, seed {seed}"}
        text = "".join(f"{key}: {value}\n" for key, value in lines.items())
        (folder / "conf/data" / f"{name}.yaml").write_text(f"{text}drawn: true\n")


def fill() -> None:
    """Run the stages of every training, then promote by hand."""
    before: tuple[str, str] | None = None
    for one in trainings():
        if before != (one.data, one.crop):
            prepare(one)
            before = (one.data, one.crop)
        train(one)
    promote()


def prepare(one: Training) -> None:
    """Ingest, crop, split."""
    from pipelines.__main__ import run_stage

    run_stage("ingest", [f"data={one.data}"])
    run_stage("crop", [f"data={one.data}", f"crop={one.crop}", "crop.workers=1"])
    run_stage("split", ["split=grouped"])


def train(one: Training) -> None:
    """Tune, train, evaluate, register."""
    from pipelines.__main__ import run_stage

    choices = [f"data={one.data}", f"model={one.model}", "augment=standard", "optim=adamw", "train=short"]
    values = [f"optim.lr={one.rate}", f"train.epochs={EPOCHS}", "train.batch_size=32"]
    search = ["tune=quick", "tune.epochs=3", "tune.prune_after=1"] if one.search else ["tune=none"]
    run_stage("tune", [*choices, *search, *values])
    run_stage("train", [*choices, *values])
    run_stage("evaluate", ["evaluate=standard"])
    run_stage("register", [f"data={one.data}", "register=auto"])


def promote() -> None:
    """What a team does after it has looked: challengers are promoted by hand, and one of them is taken back."""
    from mien.registry import promotion
    from mien.tracking.store import use_store

    use_store(Path.cwd())
    models = [f"mien-{name}" for name in SEEDS]
    done = sum(event["action"] == "promoted" for name in models for event in promotion.history(name))
    for number, name in enumerate(models * PROMOTIONS):
        versions = [event["version"] for event in promotion.history(name) if event["action"] != "promoted"]
        if done >= PROMOTIONS or not versions:
            continue
        wanted = versions[-1 - number // len(models)]
        print(promotion.promote(name, wanted, by="ada", reason="Looked at the faces that it gets wrong."))
        done += 1
    print(promotion.rollback(models[0], by="ada", reason="It fails on small faces."))


if __name__ == "__main__":
    main()
