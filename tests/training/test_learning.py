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
from mien.training.dataset import EpochSampler, LabelledFaces, soft_labels, training_loader, validation_loader
from mien.training.fit import fit
from mien.training.optimizers import make_optimizer, make_schedule
from mien.training.recipe import AugmentConfig, Recipe, TrainConfig
from mien.training.task import class_weights, training_loss
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


@pytest.fixture
def transfer() -> tuple[ModelSpec, Recipe]:
    changed = {"model.name": "mobilenetv2", "model.input_size": 32, "model.dropout": 0.0, "train.epochs": 2}
    short = RECIPE.with_values({**changed, "train.ema": 0.0, "optim.lr": 1e-3})
    return dataclasses.replace(SPEC, architecture=dataclasses.asdict(short.model)), short


class LastWeights(pl.Callback):
    """The weights after the last epoch: `fit` gives back those of the best one."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stem = pl_module.state_dict()["model.body.backbone.conv_stem.weight"].clone()


def test_a_frozen_backbone_stays_as_it_came_and_a_released_one_learns(
    transfer: tuple[ModelSpec, Recipe], tmp_path: Path
) -> None:
    spec, recipe = transfer
    torch.manual_seed(recipe.train.seed)
    fresh, last, fitted = spec.build().state_dict(), LastWeights(), {}
    for epochs in (2, 1):
        frozen = recipe.with_values({"train.freeze_epochs": epochs})
        fitted[epochs] = fit(spec, frozen, TRAIN, VAL, tmp_path / str(epochs), callbacks=[last], verbose=False)
        assert torch.equal(fresh["body.backbone.conv_stem.weight"], last.stem) is (epochs == 2)
    weights = fitted[2].model.state_dict()
    names = [name for name in fresh if ".backbone." in name and "num_batches" not in name]
    assert all(torch.equal(fresh[name], weights[name]) for name in names)  # running statistics too
    assert not torch.equal(fresh["body.head.0.weight"], weights["body.head.0.weight"])


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


NOTHING = Augmentation(AugmentConfig(strength=0.0), 3)


def epoch_pixels(epoch: int, *, strength: float = 1.0, workers: int = 0) -> torch.Tensor:
    augmentation = Augmentation(AugmentConfig(strength=strength), 3)
    loader = training_loader(TRAIN, augmentation, TrainConfig(batch_size=16, seed=3, workers=workers))
    loader.sampler.set_epoch(epoch)
    return torch.cat([pixels for pixels, _ in loader])


def test_an_epoch_repeats_with_any_number_of_workers_and_the_next_differs() -> None:
    first = epoch_pixels(1)
    assert all(torch.equal(first, epoch_pixels(1, workers=workers)) for workers in (0, 1, 2))
    assert not torch.equal(first, epoch_pixels(2))


def test_the_number_of_workers_changes_no_result(tmp_path: Path) -> None:
    short = RECIPE.with_values({"train.epochs": 2})
    alone, helped = (
        fit(SPEC, short.with_values({"train.workers": n}), TRAIN, VAL, tmp_path / str(n), verbose=False) for n in (0, 2)
    )
    assert alone.history == helped.history


class StepSeeds(pl.Callback):
    """The seed that each step draws its dropout from."""

    def __init__(self) -> None:
        self.seeds: set[int] = set()

    def on_train_batch_end(self, *_: object) -> None:
        self.seeds.add(torch.initial_seed())


def test_neighbouring_seeds_share_neither_order_nor_changes_nor_dropout(tmp_path: Path) -> None:
    orders = {tuple(i % 160 for i in order(epoch, seed)) for seed in (42, 43) for epoch in range(4)}
    assert len(orders) == 8
    changed = {
        Augmentation(AugmentConfig(), seed)(TRAIN.pixels[0], epoch, row).tobytes()
        for seed in (42, 43)
        for epoch in (0, 1)
        for row in (0, 1)
    }
    assert len(changed) == 8
    drawn = []
    for seed in (42, 43):
        steps = StepSeeds()
        once = RECIPE.with_values({"train.epochs": 1, "train.seed": seed})
        fit(SPEC, once, TRAIN, VAL, tmp_path / str(seed), callbacks=[steps], verbose=False)
        drawn.append(steps.seeds)
    assert len(drawn[0] | drawn[1]) == 20


def order(epoch: int, seed: int) -> list[int]:
    sampler = EpochSampler(160, seed)
    sampler.set_epoch(epoch)
    places = list(sampler)
    assert sorted(places) == list(range(160 * epoch, 160 * epoch + 160))
    return places


def test_augmentation_keeps_shape_and_type_and_changes_pixels_and_none_leaves_them() -> None:
    seen = epoch_pixels(0, strength=0.0)
    original = torch.from_numpy(TRAIN.pixels).permute(0, 3, 1, 2)
    assert {p.numpy().tobytes() for p in seen} <= {p.contiguous().numpy().tobytes() for p in original}
    face = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    changed = Augmentation(AugmentConfig(erase=1.0), 0)(face, 0, 0)
    assert (changed.shape, changed.dtype) == (face.shape, np.uint8)
    assert not np.array_equal(changed, face)


SQUARE = np.full((60, 60, 1), 50, np.uint8)
SQUARE[20:40, 20:40] = 150
STILL = dict.fromkeys(("flip", "rotate", "shift", "zoom", "brightness", "contrast", "erase"), 0.0)


def changed_squares(strength: float, n: int = 300, **amounts: float) -> np.ndarray:
    """`n` changed pictures of one square, (n, 60, 60) float."""
    augmentation = Augmentation(AugmentConfig(strength, **{**STILL, **amounts}), 0)
    return np.stack([augmentation(SQUARE, 0, row)[..., 0] for row in range(n)]).astype(float)


def test_zoom_keeps_proportions() -> None:
    inside = changed_squares(1.0, zoom=0.3) > 100
    heights, widths = inside.any(axis=2).sum(axis=1), inside.any(axis=1).sum(axis=1)
    assert np.abs(heights - widths).max() <= 1
    assert (heights.min(), heights.max()) == (pytest.approx(14, abs=1), pytest.approx(26, abs=1))


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_strength_scales_every_amount(strength: float) -> None:
    light = changed_squares(strength, brightness=0.1)[:, 0, 0] - 50
    assert np.abs(light).max() == pytest.approx(0.1 * strength * 255, rel=0.1)
    contrast = changed_squares(strength, contrast=0.2)
    assert np.abs((contrast[:, 30, 30] - contrast[:, 0, 0]) / 100 - 1).max() == pytest.approx(0.2 * strength, rel=0.1)
    moved = (changed_squares(strength, shift=0.1) > 100).any(axis=2).argmax(axis=1) - 20
    assert np.abs(moved).max() == pytest.approx(6 * strength, abs=1)
    sizes = (changed_squares(strength, zoom=0.2) > 100).any(axis=2).sum(axis=1)
    assert sizes.max() == pytest.approx(20 * (1 + 0.2 * strength), abs=1)
    turned = (changed_squares(strength, rotate=15.0) > 100).any(axis=2).sum(axis=1)
    angle = np.radians(15 * strength)
    assert turned.max() == pytest.approx(20 * (np.sin(angle) + np.cos(angle)), abs=2)
    erased = (changed_squares(strength, erase=0.3) != SQUARE[..., 0]).any(axis=(1, 2)).mean()
    assert erased == pytest.approx(0.3 * strength, abs=0.08)


@pytest.mark.parametrize(("strength", "share"), [(0.1, 0.05), (1.0, 0.5), (3.0, 0.5)])
def test_flips_become_as_rare_as_strength_says_and_never_the_rule(strength: float, share: float) -> None:
    augmentation = Augmentation(AugmentConfig(strength, **{**STILL, "flip": 0.5}), 0)
    half = np.zeros((8, 8, 1), np.uint8)
    half[:, :4] = 200
    flipped = np.mean([augmentation(half, 0, row)[0, 0, 0] == 0 for row in range(600)])
    assert flipped == pytest.approx(share, abs=0.06)


class Rates(pl.Callback):
    """Each step's learning rate by parameter group."""

    def on_train_start(self, *_: object) -> None:
        self.rates: list[list[float]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_every_groups_learning_rate_follows_its_formula(
    schedule: str, transfer: tuple[ModelSpec, Recipe], tmp_path: Path
) -> None:
    spec, recipe = transfer
    changed = {"optim.schedule": schedule, "optim.warmup_epochs": 0.5, "optim.backbone_lr": 0.01, "optim.lr": 0.002}
    rates = Rates()
    fit(spec, recipe.with_values(changed), TRAIN, VAL, tmp_path, callbacks=[rates], verbose=False)
    step = np.arange(20)  # two epochs of ten, the first five of them warm up
    cosine = 0.01 + 0.99 * (1 + np.cos(np.pi * (step - 5) / 15)) / 2
    share = np.ones(20) if schedule == "constant" else np.where(step < 5, 0.1 + 0.9 * step / 5, cosine)
    expected = share[:, None] * [0.002, 0.002, 0.00002, 0.00002]  # head and backbone, each with and without decay
    np.testing.assert_allclose(rates.rates, expected, rtol=1e-6)


@pytest.mark.parametrize(("monitor", "standing", "better"), [("val_loss", 1.0, 0.5), ("val_accuracy", 0.5, 0.9)])
def test_a_plateau_halves_every_groups_rate_after_four_epochs_without_a_better_score(
    monitor: str, standing: float, better: float, transfer: tuple[ModelSpec, Recipe]
) -> None:
    spec, recipe = transfer
    config = dataclasses.replace(recipe.optim, schedule="plateau", lr=0.01, backbone_lr=0.1)
    optimizer = make_optimizer(spec.build(), config)
    plan = make_schedule(optimizer, config, 9, 10, monitor)
    assert plan is not None and plan["monitor"] == monitor
    seen = []
    for score in (standing, better, *[standing] * 5):
        plan["scheduler"].step(score)
        seen.append([group["lr"] for group in optimizer.param_groups])
    own = np.array([0.01, 0.01, 0.001, 0.001])
    np.testing.assert_allclose(seen, [own] * 5 + [own / 2] * 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_soft_labels_give_the_loss_of_the_same_hard_labels(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(8, 7), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])  # mostly of the frequent class
    weights = class_weights(np.array([90, 5, 5, 0, 0, 0, 0]))
    soft = functional.one_hot(labels, 7).float()
    hard_loss, soft_loss = (training_loss(logits, given, weights, smoothing) for given in (labels, soft))
    torch.testing.assert_close(soft_loss, hard_loss)


def test_class_weights_are_the_inverse_of_each_classs_share() -> None:
    weights = class_weights(np.array([10, 30, 0]))
    np.testing.assert_allclose(weights, [2, 2 / 3, 0])
    np.testing.assert_allclose(class_weights(np.array([0.5, 1.5])), weights[:2])  # votes weigh as labels do


def test_a_batch_carries_the_labels_of_its_faces() -> None:
    pixels, labels = next(iter(validation_loader(TRAIN)))
    assert pixels.dtype == torch.uint8
    bright = pixels[:, 0].float().mean(dim=2).unflatten(1, (8, 3)).mean(dim=2).argmax(dim=1)
    assert torch.equal(bright, labels)


def test_a_batch_of_more_faces_than_there_are_is_refused() -> None:
    few = LabelledFaces(TRAIN.pixels, TRAIN.rows[:20], TRAIN.labels[:20])
    assert len(training_loader(few, NOTHING, TrainConfig(batch_size=20))) == 1
    with pytest.raises(UserError, match=r"train.batch_size: 21 is more than the 20 faces .* use at most 20\."):
        training_loader(few, NOTHING, TrainConfig(batch_size=21))
