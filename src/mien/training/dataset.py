"""Data set and data loaders of labelled faces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mien.training.augmentation import Augmentation
from mien.training.recipe import refuse_larger_batch
from mien.training.seeds import ORDER, stream

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

    def __init__(self, faces: LabelledFaces, augmentation: Augmentation | None = None) -> None:
        self.faces = faces
        self.augmentation = augmentation

    def __len__(self) -> int:
        """How many faces."""
        return len(self.faces)

    def __getitem__(self, place: int) -> Batch:
        """Pixels `(C, H, W)` uint8 and label, or soft label `(classes,)` where there are votes.

        `place` counts on over the epochs, as `EpochSampler` does: the loaders' processes learn the epoch from it.
        """
        epoch, i = divmod(place, len(self))
        row = int(self.faces.rows[i])
        face = np.asarray(self.faces.pixels[row])
        if self.augmentation is not None:
            face = self.augmentation(face, epoch, row)
        pixels = np.array(face.transpose(2, 0, 1), order="C")  # a copy: the memory map is read-only
        if self.faces.votes is not None:
            return torch.from_numpy(pixels), torch.from_numpy(self.faces.votes[i])
        return torch.from_numpy(pixels), torch.tensor(int(self.faces.labels[i]))


class EpochSampler(Sampler[int]):
    """Each epoch's places in its own order, which seed and epoch alone decide."""

    def __init__(self, faces: int, seed: int) -> None:
        self._faces = faces
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also after a resume."""
        self._epoch = epoch

    def __len__(self) -> int:
        """How many faces an epoch has."""
        return self._faces

    def __iter__(self) -> Iterator[int]:
        """Places from `epoch * faces` on, shuffled."""
        order = np.random.default_rng(stream(self._seed, ORDER, self._epoch)).permutation(self._faces)
        return iter((self._epoch * self._faces + order).tolist())


def training_loader(
    faces: LabelledFaces, augmentation: Augmentation, *, batch_size: int, seed: int, workers: int
) -> DataLoader[Batch]:
    """Shuffled, augmented batches; the last, smaller one is left out (batch normalisation needs company).

    Raises:
        UserError: there are fewer faces than one batch needs.
    """
    refuse_larger_batch(batch_size, len(faces))
    return DataLoader(
        FaceDataset(faces, augmentation),
        batch_size=batch_size,
        sampler=EpochSampler(len(faces), seed),
        drop_last=True,
        num_workers=workers,
    )


def validation_loader(faces: LabelledFaces, batch_size: int = 256) -> DataLoader[Batch]:
    """Batches in order, unchanged, with hard labels: what is reported compares with data sets without votes."""
    return DataLoader(FaceDataset(replace(faces, votes=None)), batch_size=batch_size)
