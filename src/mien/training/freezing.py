"""Transfer learning in two steps: first the new head alone, then the whole network (Yosinski et al., 2014)."""

import pytorch_lightning as pl
from torch import nn

from mien.errors import UserError
from mien.models.catalogue import Network


class FreezeBackbone(pl.Callback):
    """Keeps the backbone as it came, running statistics of its normalisation included, for the first epochs.

    Which epoch it is decides, so that a training that was killed continues as it would have gone on.
    """

    def __init__(self, backbone: nn.Module, epochs: int) -> None:
        self.backbone = backbone
        self.epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze or release."""
        frozen = trainer.current_epoch < self.epochs
        self.backbone.requires_grad_(not frozen)
        self.backbone.train(not frozen)


def freezing(model: nn.Module, epochs: int) -> list[pl.Callback]:
    """The callback for `epochs` epochs with a frozen backbone; none for 0.

    Raises:
        UserError: the network has no backbone.
    """
    if not epochs:
        return []
    backbone = model.backbone if isinstance(model, Network) else None
    if backbone is None:
        raise UserError(
            f"train.freeze_epochs is {epochs}, and this network has no backbone to freeze; say 0, "
            "or choose a model that has one, such as mobilenetv2."
        )
    return [FreezeBackbone(backbone, epochs)]
