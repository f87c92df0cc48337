"""Training of one network on labelled faces: loop, checkpoints and history."""

import io
import logging
import math
import sys
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy, Strategy
from torch import Tensor, nn

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.listener import Listener, Step, on_terminal, progress_bar
from mien.models.description import ENSEMBLE, ModelSpec
from mien.models.networks import Ensemble, Network, build_model
from mien.models.weights import Parents, load_initial
from mien.training.augmentation import Augmentation
from mien.training.dataset import LabelledFaces, training_loader, validation_loader
from mien.training.hardware import keep_freed_memory, made_on, to_channels_last
from mien.training.recipe import Recipe, TrainConfig, TrainerConfig, cost, refuse_longer_average
from mien.training.task import ExpressionTask, FreezeBackbone, class_weights, validation_scores

LAST: Final = "last.ckpt"
TOLD: Final = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")  # of each epoch, where no bar is drawn


class Diverged(UserError):
    """A loss became infinite or NaN; the checkpoints are those of the epochs before."""


@dataclass(frozen=True)
class Fitted:
    """A trained network (the weights of the epoch that `train.keep` says, on the CPU) and its history."""

    model: nn.Module
    history: list[dict[str, float]]  # a row per epoch
    best_epoch: int  # whose weights these are, counted from 0
    made_on: dict[str, Any]  # as of the function; all machines, where it was continued on another
    stopped: str = ""  # a sentence, where train.minutes ended the training


def fit(
    spec: ModelSpec,
    recipe: Recipe,
    train: LabelledFaces,
    val: LabelledFaces,
    folder: Path,
    *,
    parents: Parents | None = None,
    listener: Listener | None = None,
    callbacks: Sequence[pl.Callback] = (),
    verbose: bool = True,
    rank: int = 0,
) -> Fitted:
    """Train until the epochs are over or `train.monitor` has not become better for `train.patience` epochs.

    `spec.architecture` is `recipe.model`, and `val` chooses the epoch. The checkpoint is in `folder`: a training killed
    there is continued, on the CPU bit for bit; on another kind of machine too, which `made_on` then says. The
    `listener` hears each row of the history, `callbacks` are further ones of Lightning, such as a search's pruning, and
    `verbose` draws a bar on a terminal, elsewhere prints a line per epoch. `rank` is the number of this process among
    those that `recipe.trainer` asks for (`rank.py` starts them): each trains on its share of every batch. `parents` are
    the trained models that the recipe names. An ensemble's are put together, and nothing is trained.

    Diverged where a loss becomes infinite or NaN. A UserError where a batch or the average of the weights needs more
    faces than there are, a GPU is asked for and there is none, or a parent does not fit.
    """
    if recipe.model.name == ENSEMBLE:
        return _assembled(spec, recipe, val, parents or {}, listener or Listener())
    _silence_lightning()
    keep_freed_memory()
    settings = recipe.train
    refuse_longer_average(settings, len(train))
    checkpoint, machine = checkpoint_to_continue(folder, recipe.trainer)
    torch.set_num_threads(machine["threads"])
    torch.manual_seed(settings.seed)
    task = _task(spec, recipe, train, rank, parents or {})
    history = History(settings, listener or Listener(), machine, verbose=verbose)
    freeze = [FreezeBackbone(cast(Network, task.model), settings.freeze_epochs)] if settings.freeze_epochs else []
    trainer = _trainer(recipe, machine, folder, [history, *freeze, *callbacks])
    resident = None  # the training faces on the GPU, where they are changed there, if they fit
    if machine["device"] == "gpu" and not (recipe.augment.face_by_face or recipe.trainer.workers):
        device = torch.device("cuda", rank % recipe.trainer.devices)
        resident = train.resident(device, int(recipe.trainer.resident * torch.cuda.mem_get_info(device)[1]))
    loader = training_loader(train, Augmentation(recipe.augment, settings.seed), recipe, task.share, resident)
    mine = slice(rank, None, task.ranks)
    validated = LabelledFaces(val.pixels, val.rows[mine], val.labels[mine])
    with progress_bar("train", settings.epochs, shown=verbose) as history.step:
        trainer.fit(task, loader, validation_loader(validated), ckpt_path=checkpoint)
    task.model.load_state_dict(history.weights)
    return Fitted(task.model.cpu().eval(), history.rows, history.chosen_epoch, machine, history.stopped)


def _assembled(spec: ModelSpec, recipe: Recipe, val: LabelledFaces, parents: Parents, listener: Listener) -> Fitted:
    model = spec.build()
    members = [parents[str(address)].load(spec, "model.members") for address in recipe.model.members]
    cast(Ensemble, model.body).members = nn.ModuleList(members)
    with torch.inference_mode():
        batches = [(model.eval()(pixels), labels) for pixels, labels in validation_loader(val)]
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    row = {"epoch": 0} | {name: float(value) for name, value in sorted(validation_scores(logits, labels).items())}
    listener.epoch(row)
    return Fitted(model, [row], 0, made_on(recipe.trainer))


def _task(spec: ModelSpec, recipe: Recipe, train: LabelledFaces, rank: int, parents: Parents) -> ExpressionTask:
    model = build_model(recipe.model, spec.cut, len(spec.classes))
    load_initial(model, recipe.model, spec.classes, parents)
    if recipe.model.init_from != "model":
        model.normalise.measure(train.pixels, np.sort(train.rows))
    to_channels_last(model)
    weights = None
    if recipe.train.class_weights:
        hard = np.bincount(train.labels, minlength=len(spec.classes))
        weights = class_weights(hard if train.votes is None else train.votes.sum(axis=0, dtype=np.float64))
    teachers = [parents[name].load(spec, "train.teachers").requires_grad_(False) for name in recipe.train.teachers]
    for teacher in teachers:
        teacher.flip = False  # it teaches of each face alone, which augmentation mirrors often enough
        to_channels_last(teacher)
    return ExpressionTask(model, recipe, class_weights=weights, rank=rank, teachers=teachers)


def _trainer(recipe: Recipe, machine: Mapping[str, Any], folder: Path, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    ema = recipe.train.ema
    checkpoint = ModelCheckpoint(folder, LAST.removesuffix(".ckpt"), enable_version_counter=False)
    # after History, which copies the averaged weights while they are in place
    averaging = [EMAWeightAveraging(decay=ema)] if ema else []
    strategy: Strategy | str = "auto"
    if machine["devices"] > 1:
        backend = "nccl" if machine["device"] == "gpu" else "gloo"
        strategy = DDPStrategy(process_group_backend=backend, find_unused_parameters=recipe.train.freeze_epochs > 0)
    return pl.Trainer(
        accelerator=machine["device"],
        devices=recipe.trainer.devices,
        num_nodes=recipe.trainer.nodes,
        strategy=strategy,
        sync_batchnorm=machine["devices"] > 1 and machine["device"] == "gpu",  # PyTorch has none for the CPU
        use_distributed_sampler=False,  # the loaders give each process its share themselves
        precision="bf16-mixed" if machine["precision"] == "bf16" else "32-true",
        max_epochs=recipe.train.epochs,
        callbacks=[*callbacks, checkpoint, *averaging],
        plugins=[AtomicCheckpoints()],
        logger=False,
        default_root_dir=folder,
        deterministic="warn",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _silence_lightning() -> None:
    """Lightning's hints are for authors of a Trainer, not for its users."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


class History(pl.Callback):
    """Each epoch's metrics and the weights of the chosen one; shows the progress, calls the listener, stops early.

    It travels in the checkpoint: after a kill metrics and weights are of the same epochs, as a GPU never repeats them.
    """

    step: Step

    def __init__(self, settings: TrainConfig, listener: Listener, machine: Mapping[str, Any], *, verbose: bool) -> None:
        self.rows: list[dict[str, float]] = []
        self.weights: dict[str, Tensor] = {}
        self._settings = settings
        self._listener = listener
        self._machine = dict(machine)
        self._verbose = verbose and not on_terminal()
        self._started = self._speed = 0.0
        self._spent = 0.0  # seconds, also before a kill

    @property
    def best_epoch(self) -> int:
        """The first epoch with the best value of what is monitored."""
        monitor = self._settings.monitor
        return int(min(self.rows, key=lambda row: cost(monitor, row[monitor]))["epoch"])

    @property
    def chosen_epoch(self) -> int:
        """The epoch whose weights are handed on."""
        return self.best_epoch if self._settings.keep == "best" else int(self.rows[-1]["epoch"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not continue a training that had stopped: it would have one epoch more than an undisturbed one."""
        self.step(trainer.current_epoch, self._reached())
        self._stop_early(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure the speed."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show how far the epoch is; its speed is that of all its batches, without the validation."""
        done, batches = batch_idx + 1, int(trainer.num_training_batches)
        if done == batches and pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # the last batches may still be computed
        self._speed = done * self._settings.batch_size / (time.perf_counter() - self._started)
        self.step(trainer.current_epoch + done / batches, self._reached())

    def _reached(self) -> str:
        words = f"{self._speed:,.0f} images/s" if self._speed else ""
        if not self.rows:
            return words
        monitor, last, best = self._settings.monitor, self.rows[-1], self.rows[self.best_epoch]
        return f"{words}  loss {last['train_loss']:.3f}  {monitor} {last[monitor]:.3f}, best {best[monitor]:.3f}"

    def _stop_early(self, trainer: pl.Trainer) -> None:
        settings, done = self._settings, len(self.rows)
        trainer.should_stop |= self._patience_is_over
        if settings.minutes and done < settings.epochs:
            # of several processes, each with a clock of its own, the first decides
            trainer.should_stop |= trainer.strategy.broadcast(self._spent >= 60 * settings.minutes)

    @property
    def _patience_is_over(self) -> bool:
        patience = self._settings.patience
        return bool(patience and self.rows) and self.rows[-1]["epoch"] - self.best_epoch >= patience

    @property
    def stopped(self) -> str:
        """A sentence, where the minutes ended the training before the epochs or the patience did."""
        settings, done = self._settings, len(self.rows)
        if not settings.minutes or done >= settings.epochs or self._patience_is_over:
            return ""
        return f"stopped by train.minutes after epoch {done} of {settings.epochs}"

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the weights that were validated, the averaged ones where there is an average."""
        network = cast(ExpressionTask, pl_module).model
        self._validated = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch, whose training and validation are both done by now.

        Diverged where a loss is not finite: checkpoints are written after the callbacks, so none has this epoch.
        """
        epoch = trainer.current_epoch
        row = {"epoch": epoch} | {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows = [*(earlier for earlier in self.rows if earlier["epoch"] < epoch), row]
        if self._verbose:
            told = [f"{name.replace('_', ' ')} {row[name]:.3f}" for name in TOLD]
            print(f"epoch {epoch + 1:3d}/{trainer.max_epochs}", *told, sep="  ", file=sys.stderr, flush=True)
        self.step(epoch + 1, self._reached())
        self._listener.epoch({**row, "images_per_second": self._speed})
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(row[name]):
                raise Diverged(
                    f"the training diverged: {name} is {row[name]} in epoch {epoch + 1}, at a learning rate of "
                    f"{row['lr']:.2g}; lower optim.lr, raise optim.warmup_epochs, or set trainer.precision: 32."
                )
        if self.chosen_epoch == epoch:
            self.weights = self._validated
        self._spent += time.perf_counter() - self._started
        self._stop_early(trainer)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows, "weights": self.weights, "spent": self._spent, "made_on": self._machine}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows, self.weights = list(state_dict["rows"]), dict(state_dict["weights"])
        self._spent = state_dict["spent"]


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its name and renames it.

    Lightning writes into the system's temporary folder and moves: to another disk that is a copy, which a kill cuts.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write all of it, then give it its name."""
        content = io.BytesIO()  # on a full disk torch.save ends with an error that hides the disk's
        torch.save(checkpoint, content)
        with replacing(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


def checkpoint_to_continue(folder: Path, trainer: TrainerConfig) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint of a training that was killed, if it can be read, and what the training is made on in all.

    A damaged checkpoint is removed, with a sentence.
    """
    checkpoint = folder / LAST
    if not checkpoint.exists():
        return None, made_on(trainer)
    try:
        with zipfile.ZipFile(checkpoint) as archive:  # torch overlooks a flipped bit, the zip file's checksums do not
            damaged = archive.testzip()
        before = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"][History.__name__]["made_on"]
    except Exception:  # zipfile and torch.load raise whatever the damage provokes
        damaged, before = LAST, None
    if damaged is None:
        return checkpoint, made_on(trainer, before)
    print(f"mien: {checkpoint} is damaged; training starts over.", file=sys.stderr)
    checkpoint.unlink()
    return None, made_on(trainer)
