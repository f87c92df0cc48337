"""The truth about a training: one row of numbers per epoch, each of them a number."""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from mien.errors import UserError

EpochListener = Callable[[int, Mapping[str, float]], None]


class Diverged(UserError):
    """A loss became infinite or no number at all; the checkpoints are those of the epochs before."""


class History(pl.Callback):
    """Collects each epoch's metrics, prints a line, and tells whoever listens.

    It travels in the checkpoints: after a resume the rows of the epochs before are still there.
    """

    def __init__(self, listener: EpochListener | None = None, *, verbose: bool = True) -> None:
        self.rows: list[dict[str, float]] = []
        self._listener = listener
        self._verbose = verbose

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch; training and validation of it are both done here.

        Raises:
            Diverged: a loss of this epoch is not finite. Checkpoints are written after the callbacks, so none has it.
        """
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        metrics["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        epoch = trainer.current_epoch
        self.rows = [*(row for row in self.rows if row["epoch"] < epoch), {"epoch": epoch, **metrics}]
        if self._verbose:
            print(_line(epoch, trainer.max_epochs or 0, metrics), file=sys.stderr, flush=True)
        if self._listener is not None:
            self._listener(epoch, metrics)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(metrics[name]):
                raise Diverged(
                    f"the training diverged: {name} is {metrics[name]} in epoch {epoch + 1}, at a learning rate of "
                    f"{metrics['lr']:.2g}; lower optim.lr, raise optim.warmup_epochs, or say train.precision: 32."
                )

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = list(state_dict["rows"])


def _line(epoch: int, epochs: int, metrics: Mapping[str, float]) -> str:
    return (
        f"epoch {epoch + 1:3d}/{epochs}  train loss {metrics['train_loss']:.3f}  "
        f"val loss {metrics['val_loss']:.3f}  val accuracy {metrics['val_accuracy']:.3f}  "
        f"val macro F1 {metrics['val_macro_f1']:.3f}"
    )
