"""What a training learns from: faces in their order, votes in the loss, optimisers, frozen backbones."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from mien.base.errors import UserError
from mien.models.description import ModelSpec
from mien.models.weights import predict_logits
from mien.training.augmentation import Augmentation
from mien.training.dataset import LabelledFaces, soft_labels, training_loader, validation_loader
from mien.training.fit import fit
from mien.training.optimizers import make_optimizer
from mien.training.recipe import AugmentConfig, Recipe
from tests.training.tasks import RECIPE, SPEC, TRAIN, VAL


def one_hot(labels: np.ndarray, share: float) -> np.ndarray:
    """`share` at the label, the rest at the class after it."""
    votes = np.zeros((len(labels), 7), np.float32)
    votes[np.arange(len(labels)), labels] = share
    votes[np.arange(len(labels)), (labels + 1) % 7] += 1 - share
    return votes


def probabilities(model: torch.nn.Module, faces: LabelledFaces) -> np.ndarray:
    logits = predict_logits(model, faces.pixels)
    return functional.softmax(torch.from_numpy(np.asarray(logits, np.float32)), dim=1).numpy()


def test_votes_teach_the_network_their_shares(tmp_path: Path) -> None:
    longer = RECIPE.with_values({"train.epochs": 12})
    second = []
    for share in (1.0, 0.6):
        voted = dataclasses.replace(TRAIN, votes=one_hot(TRAIN.labels, share))
        found = probabilities(fit(SPEC, longer, voted, VAL, tmp_path / str(share)).model, VAL)
        assert (found.argmax(1) == VAL.labels).mean() > 0.8
        second.append(found[np.arange(len(VAL)), (VAL.labels + 1) % 7].mean())
    assert second[0] < 0.1
    assert second[1] == pytest.approx(0.4, abs=0.12)


def test_validation_goes_by_the_hard_label(tmp_path: Path) -> None:
    voted = dataclasses.replace(VAL, votes=one_hot(VAL.labels, 0.1))
    _, labels = next(iter(validation_loader(voted, batch_size=len(VAL))))
    assert labels.tolist() == VAL.labels.tolist()
    short = RECIPE.with_values({"train.epochs": 1})
    histories = [fit(SPEC, short, TRAIN, part, tmp_path / n).history for n, part in (("a", VAL), ("b", voted))]
    assert histories[0] == histories[1]


def test_faces_without_votes_keep_their_label() -> None:
    labels = np.array([2, 0])
    assert soft_labels([None, None], labels, 7) is None
    mixed = soft_labels([None, [0.5, 0.25, 0.25, 0, 0, 0, 0]], labels, 7)
    assert mixed is not None and mixed.dtype == np.float32
    assert mixed.tolist() == [[0, 0, 1, 0, 0, 0, 0], [0.5, 0.25, 0.25, 0, 0, 0, 0]]


def test_votes_of_another_number_of_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="160 rows and 3 rows of votes"):
        dataclasses.replace(TRAIN, votes=np.ones((3, 7), np.float32))


@pytest.fixture
def transfer() -> tuple[ModelSpec, Recipe]:
    changed = {"model.name": "mobilenetv2", "model.input_size": 32, "model.dropout": 0.0, "train.epochs": 2}
    short = RECIPE.with_values({**changed, "train.ema": 0.0, "optim.lr": 1e-3})
    return dataclasses.replace(SPEC, architecture=dataclasses.asdict(short.model)), short


def test_a_frozen_backbone_stays_as_it_came_and_then_learns(transfer: tuple[ModelSpec, Recipe], tmp_path: Path) -> None:
    spec, recipe = transfer
    torch.manual_seed(recipe.train.seed)
    fresh = spec.build().state_dict()
    fitted = fit(spec, recipe.with_values({"train.freeze_epochs": 2}), TRAIN, VAL, tmp_path, verbose=False)
    frozen = fitted.model.state_dict()
    names = [name for name in fresh if ".backbone." in name and "num_batches" not in name]
    assert all(torch.equal(fresh[name], frozen[name]) for name in names)  # running statistics too
    assert not torch.equal(fresh["body.head.0.weight"], frozen["body.head.0.weight"])


class LastWeights(pl.Callback):
    """The weights after the last epoch: `fit` gives back those of the best one."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stem = pl_module.state_dict()["model.body.backbone.conv_stem.weight"].clone()


def test_a_released_backbone_learns(transfer: tuple[ModelSpec, Recipe], tmp_path: Path) -> None:
    spec, recipe = transfer
    torch.manual_seed(recipe.train.seed)
    fresh = spec.build().state_dict()["body.backbone.conv_stem.weight"]
    last = LastWeights()
    for epochs, same in ((2, True), (1, False)):
        frozen = recipe.with_values({"train.freeze_epochs": epochs})
        fit(spec, frozen, TRAIN, VAL, tmp_path / str(epochs), callbacks=[last], verbose=False)
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


def test_a_network_without_a_backbone_cannot_freeze_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.freeze_epochs is 1, and this network has no backbone"):
        fit(SPEC, RECIPE.with_values({"train.freeze_epochs": 1}), TRAIN, VAL, tmp_path)


NOTHING = Augmentation(AugmentConfig(strength=0.0))


def epoch_pixels(faces: LabelledFaces, epoch: int, *, strength: float = 1.0, workers: int = 0) -> torch.Tensor:
    loader = training_loader(
        faces, Augmentation(AugmentConfig(strength=strength)), batch_size=16, seed=3, workers=workers
    )
    loader.sampler.set_epoch(epoch)
    return torch.cat([pixels for pixels, _ in loader])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_repeats_and_the_next_differs(workers: int) -> None:
    first = epoch_pixels(TRAIN, 0, workers=workers)
    assert torch.equal(first, epoch_pixels(TRAIN, 0, workers=workers))
    assert not torch.equal(first, epoch_pixels(TRAIN, 1, workers=workers))


def test_no_augmentation_leaves_every_pixel() -> None:
    seen = epoch_pixels(TRAIN, 0, strength=0.0)
    original = torch.from_numpy(TRAIN.pixels).permute(0, 3, 1, 2)
    assert {p.numpy().tobytes() for p in seen} <= {p.contiguous().numpy().tobytes() for p in original}


def test_augmentation_keeps_shape_and_type_and_changes_pixels() -> None:
    face = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    changed = Augmentation(AugmentConfig(erase=1.0))(face)
    assert changed.shape == face.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, face)


def test_a_batch_carries_the_labels_of_its_faces() -> None:
    pixels, labels = next(iter(validation_loader(TRAIN)))
    assert pixels.dtype == torch.uint8
    bright = pixels[:, 0].float().mean(dim=2).unflatten(1, (8, 3)).mean(dim=2).argmax(dim=1)
    assert torch.equal(bright, labels)


def test_a_batch_of_more_faces_than_there_are_is_refused() -> None:
    few = LabelledFaces(TRAIN.pixels, TRAIN.rows[:20], TRAIN.labels[:20])
    assert len(training_loader(few, NOTHING, batch_size=20, seed=3, workers=0)) == 1
    with pytest.raises(UserError, match=r"train.batch_size: 21 is more than the 20 faces .* say at most 20\."):
        training_loader(few, NOTHING, batch_size=21, seed=3, workers=0)


def test_rows_outside_the_array_are_refused() -> None:
    with pytest.raises(ValueError, match="row 160 is asked for"):
        LabelledFaces(TRAIN.pixels, np.array([160]), np.array([0]))
