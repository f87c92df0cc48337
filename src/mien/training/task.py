"""Lightning module: a network that learns the expressions."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision, MulticlassRecall

from mien.training.dataset import Batch
from mien.training.optimizers import make_optimizer, make_schedule
from mien.training.recipe import OptimConfig


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Weights `(classes,)` float32, the inverse of each class's share of `labels`; 1 on average over the faces."""
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.tensor(len(labels) / (present * np.maximum(counts, 1)), dtype=torch.float32)


class ExpressionTask(pl.LightningModule):
    """Cross entropy on the training faces; loss, accuracy, macro precision, recall and F1 on the validation faces."""

    def __init__(
        self,
        model: nn.Module,
        optim: OptimConfig,
        *,
        classes: int,
        seed: int = 0,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.optim = optim
        self.seed = seed
        self.label_smoothing = label_smoothing
        self.channels_last = channels_last
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.scores = MetricCollection(
            {
                "val_accuracy": MulticlassAccuracy(classes, average="micro"),
                "val_macro_precision": MulticlassPrecision(classes, average="macro"),
                "val_macro_recall": MulticlassRecall(classes, average="macro"),
                "val_macro_f1": MulticlassF1Score(classes, average="macro"),
            }
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Start each step from its own seed: a resumed training then draws the same dropout masks.

        Each step rather than each epoch, since Lightning and the loaders draw from the same generator in between,
        and not the same number of times after a resume.
        """
        torch.manual_seed(self.seed + self.global_step)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `(B, classes)`."""
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.model(pixels)
        return logits

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss that is minimised: cross entropy against the label, or against the soft label where there is one."""
        pixels, labels = batch
        weights = self.class_weights if isinstance(self.class_weights, Tensor) else None
        loss = functional.cross_entropy(self(pixels), labels, weights, label_smoothing=self.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Plain cross entropy, unsmoothed and unweighted, so that runs with other losses compare."""
        pixels, labels = batch
        logits = self(pixels).float()
        self.scores.update(logits, labels)
        self.log("val_loss", functional.cross_entropy(logits, labels), batch_size=len(labels))

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's scores."""
        self.log_dict(self.scores.compute())
        self.scores.reset()

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule of the configuration."""
        optimizer = make_optimizer(self.model, self.optim)
        epochs = self.trainer.max_epochs or 1
        steps = max(int(self.trainer.estimated_stepping_batches) // epochs, 1)
        schedule = make_schedule(optimizer, self.optim, epochs, steps)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}
