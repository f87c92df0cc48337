"""Data set and data loaders of labelled faces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mien.training.augmentation import Augmentation
from mien.training.recipe import TrainConfig, refuse_larger_batch
from mien.training.seeds import ORDER, stream

# (B, C, H, W) uint8 pixels and (B,) int64 labels, or (B, classes) float32 soft labels
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LabelledFaces:
    """Faces of one part, as rows of one packed array; training learns the votes where there are some."""

    pixels: np.ndarray  # (N, H, W, C) uint8, a memory map
    rows: np.ndarray  # (n,), the part's rows in it
    labels: np.ndarray  # (n,), positions of classes
    votes: np.ndarray | None = None  # soft labels, (n, classes) float32 with rows of sum 1

    def __len__(self) -> int:
        """How many faces."""
        return len(self.rows)


def soft_labels(votes: Sequence[Sequence[float] | None], labels: np.ndarray, classes: int) -> np.ndarray | None:
    """Annotators' votes as shares, `(n, classes)` float32 with rows of sum 1; None where no face has votes.

    A face without votes gets its whole share at its label.
    """
    if all(given is None for given in votes):
        return None
    whole = np.eye(classes)
    given = [whole[label] if one is None else one for one, label in zip(votes, labels, strict=True)]
    shares = np.array(given, np.float32)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


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


def training_loader(faces: LabelledFaces, augmentation: Augmentation, settings: TrainConfig) -> DataLoader[Batch]:
    """Shuffled, augmented batches; the last, smaller one is left out (batch normalisation needs company).

    Raises:
        UserError: there are fewer faces than one batch needs.
    """
    refuse_larger_batch(settings.batch_size, len(faces))
    return DataLoader(
        FaceDataset(faces, augmentation),
        batch_size=settings.batch_size,
        sampler=EpochSampler(len(faces), settings.seed),
        drop_last=True,
        num_workers=settings.workers,
    )


def validation_loader(faces: LabelledFaces, batch_size: int = 256) -> DataLoader[Batch]:
    """Batches in order, unchanged, with hard labels: what is reported compares with data sets without votes."""
    return DataLoader(FaceDataset(replace(faces, votes=None)), batch_size=batch_size)
