"""Training learns, repeats itself bit for bit, and continues after a kill as if nothing had happened."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from mien.base.classes import WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.files import PARTIAL
from mien.evaluation.measures import fit_temperature
from mien.models.weights import predict_logits
from mien.training.dataset import LabelledFaces
from mien.training.fit import LAST, AtomicCheckpoints, fit
from mien.training.recipe import Recipe
from tests.training.tasks import RECIPE, SPEC, TRAIN, VAL, Epochs, bars, killed


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def loss(model: torch.nn.Module, val: LabelledFaces = VAL) -> float:
    logits = torch.from_numpy(predict_logits(model, val.pixels))
    return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(val.labels)))


def test_training_learns_and_bf16_is_close_to_float32(tmp_path: Path) -> None:
    fitted, rounded = (
        fit(SPEC, RECIPE.with_values({"trainer.precision": precision}), TRAIN, VAL, tmp_path / precision)
        for precision in ("32", "bf16")
    )
    accuracy, close = ((predict_logits(f.model, VAL.pixels).argmax(1) == VAL.labels).mean() for f in (fitted, rounded))
    assert accuracy > 0.8 and close > 0.8 and rounded.history != fitted.history
    assert [row["epoch"] for row in fitted.history] == list(range(6))
    assert fitted.best_epoch == int(np.argmin([row["val_loss"] for row in fitted.history]))
    assert fitted.history[fitted.best_epoch]["val_accuracy"] == pytest.approx(accuracy, abs=0.02)


WORSE = dataclasses.replace(VAL, labels=np.roll(VAL.labels, 1))  # the first epoch is the best one


def train_until_killed(folder: Path, recipe: Recipe, val: LabelledFaces) -> None:
    fit(SPEC, recipe, TRAIN, val, folder, listener=Epochs(die_at=3))


@pytest.mark.parametrize(("ema", "gets"), [(0.0, "better"), (0.9, "better"), (0.0, "worse")])
def test_a_killed_training_continues_from_its_last_epoch_bit_for_bit(ema: float, gets: str, tmp_path: Path) -> None:
    recipe = RECIPE.with_values({"train.ema": ema, "augment.batched": ema > 0})
    val = WORSE if gets == "worse" else VAL
    undisturbed = fit(SPEC, recipe, TRAIN, val, tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    killed(train_until_killed, folder, recipe, val)
    assert (folder / LAST).exists()
    heard = Epochs()
    continued = fit(SPEC, recipe, TRAIN, val, folder, listener=heard)
    assert heard.epochs == [3, 4, 5]
    assert continued.history == undisturbed.history
    assert same_weights(continued.model, undisturbed.model)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def flip_a_bit(file: Path) -> None:
    """In the weights: the file opens, and torch would read it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_training_whose_minutes_are_up_stops_after_an_epoch_and_says_so(tmp_path: Path) -> None:
    short = RECIPE.with_values({"train.minutes": 1e-6})
    fitted = fit(SPEC, short, TRAIN, VAL, tmp_path)
    assert (len(fitted.history), fitted.stopped) == (1, "stopped by train.minutes after epoch 1 of 6")
    assert len(fit(SPEC, short, TRAIN, VAL, tmp_path).history) == 1  # the time before counts
    more = fit(SPEC, RECIPE.with_values({"train.minutes": 5.0}), TRAIN, VAL, tmp_path)
    assert (len(more.history), more.stopped) == (6, "")


@pytest.mark.parametrize("damage", [cut, flip_a_bit])
def test_a_damaged_checkpoint_is_told_and_the_result_is_as_undisturbed(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = RECIPE.with_values({"train.epochs": 3})
    first = fit(SPEC, recipe, TRAIN, VAL, tmp_path)
    damage(tmp_path / LAST)
    heard = Epochs()
    again = fit(SPEC, recipe, TRAIN, VAL, tmp_path, listener=heard)
    assert "last.ckpt is damaged; training starts over." in capsys.readouterr().err
    assert heard.epochs == [0, 1, 2]
    assert again.history == first.history
    assert same_weights(first.model, again.model)


def train_until_killed_in_writing(folder: Path) -> None:
    write = AtomicCheckpoints.save_checkpoint

    def save(self: AtomicCheckpoints, checkpoint: dict[str, Any], path: Path, storage_options: Any = None) -> None:
        if Path(path).name == LAST and checkpoint["epoch"] == 3:
            os._exit(9)
        write(self, checkpoint, path, storage_options)

    AtomicCheckpoints.save_checkpoint = save  # type: ignore[assignment, method-assign]
    fit(SPEC, RECIPE, TRAIN, VAL, folder)


def test_a_killed_epoch_that_comes_out_worse_when_trained_again_is_not_handed_on(tmp_path: Path) -> None:
    """As on a GPU, where an epoch does not repeat itself: here the faces that judge it are others."""
    killed(train_until_killed_in_writing, tmp_path)
    continued = fit(SPEC, RECIPE, TRAIN, WORSE, tmp_path)
    assert [row["epoch"] for row in continued.history] == list(range(6))
    assert continued.best_epoch < 3
    assert loss(continued.model) == pytest.approx(continued.history[continued.best_epoch]["val_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("monitor", "best", "ema"),
    [
        ("val_loss", np.argmin, 0.9),
        ("val_calibrated_loss", np.argmin, 0.0),
        ("val_accuracy", np.argmax, 0.0),
        ("val_macro_f1", np.argmax, 0.0),
    ],
)
def test_the_monitored_score_chooses_the_epoch_and_stops(
    monitor: str, best: Callable[[list[float]], int], ema: float, tmp_path: Path
) -> None:
    changed = {"train.monitor": monitor, "train.epochs": 40, "train.patience": 3, "train.ema": ema, "optim.lr": 0.03}
    fitted = fit(SPEC, RECIPE.with_values(changed), TRAIN, VAL, tmp_path)
    assert fitted.best_epoch == best([row[monitor] for row in fitted.history])
    assert len(fitted.history) == fitted.best_epoch + 4 < 40
    assert loss(fitted.model) == pytest.approx(fitted.history[fitted.best_epoch]["val_loss"], rel=1e-4)
    calibrated = fit_temperature(predict_logits(fitted.model, VAL.pixels), VAL.labels)
    found = fitted.history[fitted.best_epoch]["val_calibrated_loss"]
    assert calibrated.note or found == pytest.approx(calibrated.nll_after, rel=1e-3)


def test_the_last_epoch_is_kept_where_asked_for(tmp_path: Path) -> None:
    fitted = fit(SPEC, RECIPE.with_values({"train.keep": "last"}), TRAIN, WORSE, tmp_path)
    assert fitted.best_epoch == 5 > int(np.argmin([row["val_loss"] for row in fitted.history]))
    assert loss(fitted.model, WORSE) == pytest.approx(fitted.history[5]["val_loss"], rel=1e-4)


def test_reference_systems_without_early_stopping_keep_their_last_epoch() -> None:
    kept = {file.stem: yaml.safe_load(file.read_text()) for file in Path("conf/train").glob("*.yaml")}
    assert all((settings["keep"] == "last") == (settings["patience"] == 0) for settings in kept.values())


def test_checkpoints_are_whole_under_their_names_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two halves of a write, as seen by who looks then: what has its name opens."""
    real = Path.replace
    seen: list[str] = []

    def replace(path: Path, target: Path) -> Path:
        if path.parent.name.startswith(PARTIAL):
            assert path.parent.parent == Path(target).parent == tmp_path
            torch.load(path, weights_only=True)  # whole before it gets the name
            seen.append(Path(target).name)
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    fit(SPEC, RECIPE.with_values({"train.epochs": 1}), TRAIN, VAL, tmp_path)
    assert seen == [LAST]


@pytest.mark.parametrize("patience", [0, 2])
def test_a_training_killed_after_its_end_trains_no_epoch_more(patience: int, tmp_path: Path) -> None:
    recipe = RECIPE.with_values({"train.epochs": 30 if patience else 2, "train.patience": patience})
    first, again = (fit(SPEC, recipe, TRAIN, WORSE, tmp_path) for _ in range(2))
    assert again.history == first.history
    assert same_weights(first.model, again.model)


def test_class_weights_help_a_rare_class(tmp_path: Path) -> None:
    faces = bars(400, 2)
    rare = np.flatnonzero(faces.labels == 1)[:4]
    rows = np.sort(np.concatenate([np.flatnonzero(faces.labels != 1), rare]))
    skewed = LabelledFaces(faces.pixels, rows, faces.labels[rows])
    short = RECIPE.with_values({"train.epochs": 3, "optim.lr": 0.002})
    weighted = short.with_values({"train.class_weights": True})
    share = [
        (predict_logits(fit(SPEC, r, skewed, VAL, tmp_path / n).model, VAL.pixels).argmax(1) == 1).mean()
        for n, r in (("plain", short), ("weighted", weighted))
    ]
    assert share[1] > share[0]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_every_optimizer_and_schedule_trains(optimizer: str, schedule: str, tmp_path: Path) -> None:
    changed = RECIPE.with_values({"optim.name": optimizer, "optim.schedule": schedule, "train.epochs": 2})
    history = fit(SPEC, changed, TRAIN, VAL, tmp_path).history
    assert history[1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_asking_for_a_gpu_where_there_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sees no GPU"):
        fit(SPEC, RECIPE.with_values({"trainer.accelerator": "gpu"}), TRAIN, VAL, tmp_path)


def test_a_network_learns_an_eighth_class(tmp_path: Path) -> None:
    with_contempt = dataclasses.replace(SPEC, classes=WITH_CONTEMPT)
    labels = np.where(TRAIN.labels == 6, 7, TRAIN.labels)
    fitted = fit(with_contempt, RECIPE, dataclasses.replace(TRAIN, labels=labels), VAL, tmp_path)
    answers = predict_logits(fitted.model, TRAIN.pixels[TRAIN.rows[labels == 7]])
    assert answers.shape[1] == 8
    assert (answers.argmax(1) == 7).mean() > 0.8


def test_a_training_that_diverges_says_so_and_keeps_no_broken_checkpoint(tmp_path: Path) -> None:
    wild = RECIPE.with_values({"optim.lr": 1e30, "optim.schedule": "constant"})
    for _ in range(2):  # the same command again ends alike
        with pytest.raises(UserError, match=r"diverged: \w+_loss is nan in epoch 1, .*lower optim.lr"):
            fit(SPEC, wild, TRAIN, VAL, tmp_path)
    assert not (tmp_path / LAST).exists()
