"""First the head alone, then the whole network."""

import dataclasses
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from mien.base.errors import UserError
from mien.models.description import ModelSpec
from mien.training.dataset import LabelledFaces
from mien.training.fit import fit
from mien.training.optimizers import make_optimizer
from mien.training.recipe import Recipe


@pytest.fixture
def transfer(spec: ModelSpec, recipe: Recipe) -> tuple[ModelSpec, Recipe]:
    changed = {"model.name": "mobilenetv2", "model.input_size": 32, "model.dropout": 0.0, "train.epochs": 2}
    short = recipe.with_values({**changed, "train.ema": 0.0, "optim.lr": 1e-3})
    return dataclasses.replace(spec, architecture=dataclasses.asdict(short.model)), short


def body(
    spec: ModelSpec, recipe: Recipe, faces: LabelledFaces, val: LabelledFaces, to: Path
) -> dict[str, torch.Tensor]:
    return fit(spec, recipe, faces, val, to, verbose=False).model.state_dict()


def test_a_frozen_backbone_stays_as_it_came_and_then_learns(
    transfer: tuple[ModelSpec, Recipe], train: LabelledFaces, val: LabelledFaces, tmp_path: Path
) -> None:
    spec, recipe = transfer
    torch.manual_seed(recipe.train.seed)
    fresh = spec.build().state_dict()
    frozen = body(spec, recipe.with_values({"train.freeze_epochs": 2}), train, val, tmp_path / "frozen")
    names = [name for name in fresh if ".backbone." in name and "num_batches" not in name]
    assert all(torch.equal(fresh[name], frozen[name]) for name in names)  # running statistics too
    assert not torch.equal(fresh["body.head.0.weight"], frozen["body.head.0.weight"])


class LastWeights(pl.Callback):
    """The weights after the last epoch: `fit` gives back those of the best one."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stem = pl_module.state_dict()["model.body.backbone.conv_stem.weight"].clone()


def test_a_released_backbone_learns(
    transfer: tuple[ModelSpec, Recipe], train: LabelledFaces, val: LabelledFaces, tmp_path: Path
) -> None:
    spec, recipe = transfer
    torch.manual_seed(recipe.train.seed)
    fresh = spec.build().state_dict()["body.backbone.conv_stem.weight"]
    last = LastWeights()
    for epochs, same in ((2, True), (1, False)):
        frozen = recipe.with_values({"train.freeze_epochs": epochs})
        fit(spec, frozen, train, val, tmp_path / str(epochs), callbacks=[last], verbose=False)
        assert torch.equal(fresh, last.stem) is same


def test_the_backbone_learns_at_its_own_rate(transfer: tuple[ModelSpec, Recipe]) -> None:
    spec, recipe = transfer
    model = spec.build()
    slow = dataclasses.replace(recipe.optim, lr=0.01, backbone_lr=0.1)
    rates = {p: group["lr"] for group in make_optimizer(model, slow).param_groups for p in group["params"]}
    assert model.backbone is not None
    assert {round(rates[p], 9) for p in model.backbone.parameters()} == {0.001}
    assert {rates[p] for name, p in model.named_parameters() if ".head." in name} == {0.01}
    assert len(rates) == len(list(model.parameters()))


def test_a_network_without_a_backbone_cannot_freeze_one(
    spec: ModelSpec, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"train.freeze_epochs is 1, and this network has no backbone"):
        fit(spec, recipe.with_values({"train.freeze_epochs": 1}), train, val, tmp_path)
