"""Data set and data loaders of labelled faces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, get_worker_info

from mien.base.errors import UserError
from mien.training.augmentation import Augmentation

# (B, C, H, W) uint8 pixels and (B,) int64 labels, or (B, classes) float32 soft labels
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LabelledFaces:
    """Faces of one part, as rows of one packed array.

    `pixels` is `(N, H, W, C)` uint8 (a memory map), `rows` `(n,)` the part's rows in it, `labels` `(n,)` int64.
    `votes` are soft labels, `(n, classes)` float32 with rows of sum 1, or None where the data set has none; they are
    what training learns, while validation goes by `labels`.
    """

    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    votes: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse rows that the array does not have."""
        if len(self.rows) != len(self.labels) or len(self.rows) == 0:
            raise ValueError(f"{len(self.rows)} rows and {len(self.labels)} labels: need as many, and at least one")
        if self.votes is not None and len(self.votes) != len(self.rows):
            raise ValueError(f"{len(self.rows)} rows and {len(self.votes)} rows of votes: need as many")
        if self.rows.max() >= len(self.pixels) or self.rows.min() < 0:
            raise ValueError(f"rows 0 to {len(self.pixels) - 1} exist, and row {self.rows.max()} is asked for")

    def __len__(self) -> int:
        """How many faces."""
        return len(self.rows)


def soft_labels(votes: Sequence[Sequence[float] | None], labels: np.ndarray, classes: int) -> np.ndarray | None:
    """Annotators' votes as shares, `(n, classes)` float32 with rows of sum 1; None where no face has votes.

    A face without votes gets its whole share at its label.
    """
    if all(given is None for given in votes):
        return None
    shares = np.zeros((len(labels), classes), np.float32)
    for row, given in enumerate(votes):
        if given is None:
            shares[row, labels[row]] = 1
        else:
            shares[row] = given
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


class FaceDataset(Dataset[Batch]):
    """One labelled face at a time, augmented where an augmentation is given."""

    def __init__(self, faces: LabelledFaces, augmentation: Augmentation | None, seed: int) -> None:
        self.faces = faces
        self.augmentation = augmentation
        self.seed = seed

    def start_epoch(self, epoch: int) -> None:
        """Random changes depend on seed, epoch and worker alone, so that a resumed training repeats none."""
        if self.augmentation is not None:
            worker = get_worker_info()
            self.augmentation.seed(self.seed, epoch, worker.id if worker else 0)

    def __len__(self) -> int:
        """How many faces."""
        return len(self.faces)

    def __getitem__(self, i: int) -> Batch:
        """Pixels `(C, H, W)` uint8 and label, or soft label `(classes,)` where there are votes."""
        face = np.asarray(self.faces.pixels[self.faces.rows[i]])
        if self.augmentation is not None:
            face = self.augmentation(face)
        pixels = np.array(face.transpose(2, 0, 1), order="C")  # a copy: the memory map is read-only
        if self.faces.votes is not None:
            return torch.from_numpy(pixels), torch.from_numpy(self.faces.votes[i])
        return torch.from_numpy(pixels), torch.tensor(int(self.faces.labels[i]))


class EpochSampler(DistributedSampler[Batch]):
    """Shuffles each epoch by seed and epoch alone, and tells the data set which epoch begins."""

    def __init__(self, dataset: FaceDataset, seed: int) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, shuffle=True, seed=seed)
        self._faces = dataset

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also after a resume."""
        super().set_epoch(epoch)
        self._faces.start_epoch(epoch)


def refuse_larger_batch(batch_size: int, faces: LabelledFaces) -> None:
    """Raise a UserError where a batch would need more faces than there are."""
    if batch_size > len(faces):
        raise UserError(
            f"train.batch_size: {batch_size:,} is more than the {len(faces):,} faces of the training part; "
            f"say at most {len(faces):,}."
        )


def refuse_longer_average(ema: float, epochs: int, batch_size: int, faces: LabelledFaces) -> None:
    """Raise a UserError where the average of the weights would reach back to before the training."""
    steps, averaged = epochs * (len(faces) // batch_size), 1 / (1 - ema)
    if ema and averaged > steps:
        raise UserError(
            f"train.ema: {ema:g} averages the weights of about {averaged:,.0f} steps, and {epochs} epochs of "
            f"{len(faces):,} faces in batches of {batch_size:,} have {steps:,}; set less, or 0.0 for no average."
        )


def training_loader(
    faces: LabelledFaces, augmentation: Augmentation, *, batch_size: int, seed: int, workers: int
) -> DataLoader[Batch]:
    """Shuffled, augmented batches; the last, smaller one is left out (batch normalisation needs company).

    Raises:
        UserError: there are fewer faces than one batch needs.
    """
    refuse_larger_batch(batch_size, faces)
    dataset = FaceDataset(faces, augmentation, seed)
    sampler = EpochSampler(dataset, seed)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=True,
        num_workers=workers,
        worker_init_fn=partial(_start_worker, sampler) if workers else None,
    )


def _start_worker(sampler: EpochSampler, worker: int) -> None:
    info = get_worker_info()
    if info is not None and isinstance(info.dataset, FaceDataset):
        info.dataset.start_epoch(sampler.epoch)


def validation_loader(faces: LabelledFaces, batch_size: int = 256) -> DataLoader[Batch]:
    """Batches in order, unchanged, with hard labels: what is reported compares with data sets without votes."""
    return DataLoader(FaceDataset(replace(faces, votes=None), None, 0), batch_size=batch_size)
