"""What a training learns from: faces in their order, votes in the loss, optimisers, frozen backbones."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import scipy.stats
import torch
from torch.nn import functional

from mien.base.errors import UserError
from mien.models.description import ModelSpec
from mien.models.networks import Dropout
from mien.models.weights import predict_logits
from mien.training.augmentation import Augmentation, BatchAugmentation, augmented_examples
from mien.training.dataset import EpochBatches, LabelledFaces, soft_labels, training_loader
from mien.training.fit import fit
from mien.training.recipe import AugmentConfig, Recipe
from mien.training.task import class_weights, make_optimizer, make_schedule, training_loss
from tests.training.tasks import RECIPE, SPEC, TRAIN, VAL


def test_a_memory_map_goes_to_another_process_as_its_path(tmp_path: Path) -> None:
    np.save(tmp_path / "faces.npy", TRAIN.pixels)
    mapped = dataclasses.replace(TRAIN, pixels=np.load(tmp_path / "faces.npy", mmap_mode="r"))
    sent = pickle.dumps(mapped)
    assert len(sent) < 10_000 < TRAIN.pixels.nbytes
    assert np.array_equal(pickle.loads(sent).pixels, TRAIN.pixels)
    assert isinstance(pickle.loads(sent).pixels, np.memmap)
    assert np.array_equal(pickle.loads(pickle.dumps(TRAIN)).pixels, TRAIN.pixels)


def test_faces_that_stay_on_a_device_are_those_that_are_read() -> None:
    few = dataclasses.replace(TRAIN, rows=TRAIN.rows[10:60], labels=TRAIN.labels[10:60])
    cpu, room = torch.device("cpu"), few.pixels[:50].nbytes
    resident = few.resident(cpu, room)
    assert few.resident(cpu, room - 1) is None
    read, stayed = (training_loader(few, NOTHING, RECIPE, resident=where) for where in (None, resident))
    for (one, label), (other, same) in zip(read, stayed, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(label, same)


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


def test_the_backbone_learns_at_its_own_rate_and_biases_and_normalisation_are_not_decayed(
    transfer: tuple[ModelSpec, Recipe],
) -> None:
    spec, recipe = transfer
    model = spec.build()
    slow = dataclasses.replace(recipe.optim, lr=0.01, backbone_lr=0.1, weight_decay=0.2)
    groups = {p: group for group in make_optimizer(model, slow).param_groups for p in group["params"]}
    assert {(p.ndim > 1, group["weight_decay"]) for p, group in groups.items()} == {(True, 0.2), (False, 0.0)}
    rates = {p: group["lr"] for p, group in groups.items()}
    assert {round(rates[p], 9) for p in model.backbone.parameters()} == {0.001}
    assert {rates[p] for name, p in model.named_parameters() if ".head." in name} == {0.01}
    assert len(rates) == len(list(model.parameters()))


NOTHING = Augmentation(AugmentConfig(strength=0.0), 3)


def test_the_number_of_workers_changes_no_result(tmp_path: Path) -> None:
    recipes = [RECIPE.with_values({"train.epochs": 2, "trainer.workers": n}) for n in (0, 2)]
    alone, helped = (fit(SPEC, r, TRAIN, VAL, tmp_path / str(r.trainer.workers), verbose=False) for r in recipes)
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
    sampler = EpochBatches(160, 16, seed)
    sampler.set_epoch(epoch)
    places = [place for batch in sampler for place in batch]
    assert sorted(places) == list(range(160 * epoch, 160 * epoch + 160))
    return places


def test_without_augmentation_pixels_stay() -> None:
    seen = torch.cat([pixels for pixels, _ in training_loader(TRAIN, NOTHING, RECIPE)])
    assert {face.numpy().tobytes() for face in seen[:, 0]} == {face.tobytes() for face in TRAIN.pixels}


SQUARE = np.full((60, 60, 1), 50, np.uint8)
SQUARE[20:40, 20:40] = 150
STILL = dict.fromkeys(("flip", "rotate", "shift", "zoom", "brightness", "contrast"), 0.0)


def changed(face: np.ndarray, strength: float, n: int, *, batched: bool, **amounts: Any) -> np.ndarray:
    """`n` changed pictures of a grey face, (n, H, W) float."""
    config = AugmentConfig(strength, **{**STILL, **amounts}, batched=batched)
    if not batched:
        augmentation = Augmentation(config, 0)
        return np.stack([augmentation(face, 0, row)[..., 0] for row in range(n)]).astype(float)
    faces = torch.from_numpy(face).permute(2, 0, 1).expand(n, -1, -1, -1)
    return BatchAugmentation(config, 0)(faces, 0, 0, slice(n), n)[:, 0].numpy().astype(float)


def changed_squares(strength: float, n: int = 300, *, batched: bool, **amounts: Any) -> np.ndarray:
    return changed(SQUARE, strength, n, batched=batched, **amounts)


both_ways = pytest.mark.parametrize("batched", [False, True])


@both_ways
def test_zoom_keeps_proportions(batched: bool) -> None:
    inside = changed_squares(1.0, zoom=0.3, batched=batched) > 100
    heights, widths = inside.any(axis=2).sum(axis=1), inside.any(axis=1).sum(axis=1)
    assert np.abs(heights - widths).max() <= 1
    assert (heights.min(), heights.max()) == (pytest.approx(14, abs=1), pytest.approx(26, abs=1))


@both_ways
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_strength_scales_every_amount(strength: float, batched: bool) -> None:
    light = changed_squares(strength, brightness=0.1, batched=batched)[:, 0, 0] - 50
    assert np.abs(light).max() == pytest.approx(0.1 * strength * 255, rel=0.1)
    contrast = changed_squares(strength, contrast=0.2, batched=batched)
    assert np.abs((contrast[:, 30, 30] - contrast[:, 0, 0]) / 100 - 1).max() == pytest.approx(0.2 * strength, rel=0.1)
    moved = (changed_squares(strength, shift=0.1, batched=batched) > 100).any(axis=2).argmax(axis=1) - 20
    assert np.abs(moved).max() == pytest.approx(6 * strength, abs=1)
    sizes = (changed_squares(strength, zoom=0.2, batched=batched) > 100).any(axis=2).sum(axis=1)
    assert sizes.max() == pytest.approx(20 * (1 + 0.2 * strength), abs=1)
    turned = (changed_squares(strength, rotate=15.0, batched=batched) > 100).any(axis=2).sum(axis=1)
    angle = np.radians(15 * strength)
    assert turned.max() == pytest.approx(20 * (np.sin(angle) + np.cos(angle)), abs=2)


@both_ways
@pytest.mark.parametrize(("strength", "share"), [(0.1, 0.05), (1.0, 0.5), (3.0, 0.5)])
def test_flips_become_as_rare_as_strength_says_and_never_the_rule(strength: float, share: float, batched: bool) -> None:
    half = np.zeros((8, 8, 1), np.uint8)
    half[:, :4] = 200
    flipped = changed(half, strength, 600, batched=batched, flip=0.5)[:, 0, 0] < 1
    assert flipped.mean() == pytest.approx(share, abs=0.06)


def test_batches_and_single_faces_are_changed_alike() -> None:
    amounts = {"flip": 0.5, "rotate": 15.0, "shift": 0.1, "zoom": 0.1, "brightness": 0.2, "contrast": 0.2}
    soft = cv2.GaussianBlur(SQUARE, (0, 0), 4)[..., None]
    soft[:, 30:] //= 2
    singly, together = (changed(soft, 1.0, 4000, batched=batched, **amounts) for batched in (False, True))
    assert np.abs(singly.mean(axis=0) - together.mean(axis=0)).max() < 4  # grey levels, pixel by pixel
    assert np.abs(singly.std(axis=0) - together.std(axis=0)).max() < 4
    assert scipy.stats.ks_2samp(singly.mean(axis=(1, 2)), together.mean(axis=(1, 2))).pvalue > 0.01


def test_a_share_of_a_batch_gets_the_pictures_of_the_whole_batch() -> None:
    augment = BatchAugmentation(AugmentConfig(batched=True), 5)
    faces = torch.from_numpy(TRAIN.pixels[:16]).permute(0, 3, 1, 2)
    halves = [augment(faces[places], 1, 2, places, 16) for places in (slice(0, 8), slice(8, 16))]
    assert torch.equal(augment(faces, 1, 2, slice(None), 16), torch.cat(halves))


def test_transforms_of_albumentations_are_listed_by_name() -> None:
    blurred = AugmentConfig(1.0, **STILL, transforms=[{"name": "GaussianBlur", "sigma_limit": [2, 2], "p": 1.0}])
    rim = [Augmentation(config, 0)(SQUARE, 0, 0)[20, 30, 0] for config in (AugmentConfig(1.0, **STILL), blurred)]
    assert rim[0] == 150
    assert 80 < rim[1] < 120
    for listed, said in (
        ({"name": "GausianBlur"}, "has no transform 'GausianBlur' .did you mean GaussianBlur"),
        ({"p": 1.0}, "has no transform ''"),
        ({"name": "GaussianBlur", "sigma": 3}, "GaussianBlur: Argument.*sigma"),
        ({"name": "GaussianBlur", "p": 2.0}, "GaussianBlur: .*p"),
    ):
        with pytest.raises(UserError, match=f"augment.transforms: .*{said}"):
            Augmentation(AugmentConfig(transforms=[listed]), 0)
    smaller = AugmentConfig(transforms=[{"name": "CenterCrop", "height": 8, "width": 8}])
    with pytest.raises(UserError, match=r"augment.transforms: a face of \(60, 60, 1\) becomes"):
        Augmentation(smaller, 0)(SQUARE, 0, 0)


def test_dropout_takes_the_share_that_it_says_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout, ones = Dropout(0.3), torch.ones(8, 5, 99, 101).contiguous(memory_format=torch.channels_last)
    dropped = dropout(ones)
    assert float((dropped == 0).float().mean()) == pytest.approx(77 / 256, abs=0.003)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.005)
    assert dropped.stride() == ones.stride()
    assert torch.equal(dropout.eval()(ones), ones)


class Rates(pl.Callback):
    """Each step's learning rate by parameter group."""

    def on_train_start(self, *_: object) -> None:
        self.rates: list[list[float]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def test_normalisation_is_measured_on_the_training_faces_alone(tmp_path: Path) -> None:
    others = np.full_like(TRAIN.pixels, 255)
    among = dataclasses.replace(TRAIN, pixels=np.concatenate([others, TRAIN.pixels]), rows=TRAIN.rows + len(others))
    model = fit(SPEC, RECIPE.with_values({"train.epochs": 1}), among, VAL, tmp_path, verbose=False).model
    assert float(model.normalise.mean) == pytest.approx(TRAIN.pixels.mean(), rel=1e-4)


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


def test_a_batch_of_more_faces_than_there_are_is_refused() -> None:
    few = LabelledFaces(TRAIN.pixels, TRAIN.rows[:20], TRAIN.labels[:20])
    assert len(training_loader(few, NOTHING, RECIPE.with_values({"train.batch_size": 20}))) == 1
    with pytest.raises(UserError, match=r"train.batch_size: 21 is more than the 20 faces"):
        training_loader(few, NOTHING, RECIPE.with_values({"train.batch_size": 21}))


@both_ways
def test_the_report_shows_faces_as_a_training_sees_them(batched: bool) -> None:
    config = AugmentConfig(batched=batched)
    recipe = dataclasses.replace(RECIPE, augment=config).with_values({"train.seed": 3})
    shown = augmented_examples(TRAIN.pixels[:5], recipe)
    assert (shown.shape, shown.dtype) == ((5, 8, 24, 24, 1), np.uint8)
    assert np.array_equal(shown[:, 0], TRAIN.pixels[:5])
    assert len({face.tobytes() for face in shown.reshape(40, -1)}) == 40
    if not batched:
        assert np.array_equal(shown[2, 4], Augmentation(config, 3)(TRAIN.pixels[2], 3, 2))
