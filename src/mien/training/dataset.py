"""Data set and data loaders of labelled faces."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from mien.training.augmentation import Augmentation
from mien.training.recipe import ORDER, Recipe, refuse_larger_batch, stream

# (B, C, H, W) uint8 pixels and (B,) int64 labels, or (B, classes) float32 soft labels
Batch = tuple[Tensor, Tensor]
WHOLE: Final = slice(None)  # of a batch, where one process trains


@dataclass(frozen=True)
class LabelledFaces:
    """Faces of one part, as rows of one packed array; training learns the votes where there are some."""

    pixels: np.ndarray  # (N, H, W, C) uint8, a memory map
    rows: np.ndarray  # (n,), the part's rows in it
    labels: np.ndarray  # (n,), positions of classes
    votes: np.ndarray | None = None  # soft labels, (n, classes) float32 with rows of sum 1

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        """A memory map goes to another process as its path: pickled, it would be copied."""
        return {**vars(self), "pixels": getattr(self.pixels, "filename", self.pixels)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        pixels = state["pixels"]
        self.__dict__.update(state, pixels=pixels if isinstance(pixels, np.ndarray) else np.load(pixels, mmap_mode="r"))

    def first_faces(self) -> np.ndarray:
        """The first face of each class, `(n, H, W, C)` uint8."""
        return np.asarray(self.pixels[self.rows[np.unique(self.labels, return_index=True)[1]]])

    def resident(self, device: torch.device, most: int) -> Tensor | None:
        """The part's faces on a device, `(n, H, W, C)` uint8; None where they take more than `most` bytes of it."""
        shape = (len(self), *self.pixels.shape[1:])
        if math.prod(shape) > most:
            return None
        faces = torch.empty(shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), 4096):
            rows = self.rows[start : start + 4096]
            faces[start : start + len(rows)] = torch.from_numpy(np.asarray(self.pixels[rows]))
        return faces


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
    """Batches of labelled faces, each face augmented where an augmentation is given."""

    def __init__(
        self, faces: LabelledFaces, augmentation: Augmentation | None = None, resident: Tensor | None = None
    ) -> None:
        self.faces = faces
        self.augmentation = augmentation
        self.resident = resident  # the same faces on a GPU

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, places: Sequence[int]) -> Batch:
        """Pixels `(B, C, H, W)` uint8, channels last in memory, and labels, soft where there are votes.

        A place counts on over the epochs, as in `EpochBatches`: the loaders' processes learn the epoch from it.
        """
        epochs, at = np.divmod(np.asarray(places), len(self))
        labels = self.faces.labels[at].astype(np.int64) if self.faces.votes is None else self.faces.votes[at]
        if self.resident is not None:
            chosen = self.resident[torch.from_numpy(at).to(self.resident.device)]
            return chosen.permute(0, 3, 1, 2), torch.from_numpy(labels)
        rows = self.faces.rows[at]
        pixels = np.asarray(self.faces.pixels[rows])
        if self.augmentation is not None:
            for i, (epoch, row) in enumerate(zip(epochs.tolist(), rows.tolist(), strict=True)):
                pixels[i] = self.augmentation(pixels[i], epoch, row)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(labels)


class EpochBatches(Sampler[list[int]]):
    """Each epoch's batches in an order of its own, which seed and epoch alone decide.

    The last, smaller batch is left out (batch normalisation needs company). `share` is the part of each that is taken.
    """

    def __init__(self, faces: int, batch_size: int, seed: int, share: slice = WHOLE) -> None:
        self._faces = faces
        self._batch_size = batch_size
        self._seed = seed
        self._share = share
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also after a resume."""
        self._epoch = epoch

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self._faces // self._batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Batches of places from `epoch * faces` on, shuffled."""
        order = np.random.default_rng(stream(self._seed, ORDER, self._epoch)).permutation(self._faces)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            batch = order[start : start + self._batch_size][self._share]
            yield (self._epoch * self._faces + batch).tolist()


def training_loader(
    faces: LabelledFaces, changes: Augmentation, recipe: Recipe, share: slice = WHOLE, resident: Tensor | None = None
) -> DataLoader[Batch]:
    """Shuffled batches, augmented face by face; `share` as in `EpochBatches`, `resident` as in `FaceDataset`."""
    settings = recipe.train
    refuse_larger_batch(settings.batch_size, len(faces))
    batches = EpochBatches(len(faces), settings.batch_size, settings.seed, share)
    # The batches are the `sampler`, because Lightning tells only that one of a new epoch.
    dataset = FaceDataset(faces, changes, resident)
    return DataLoader(dataset, batch_size=None, sampler=batches, num_workers=recipe.trainer.workers)


def validation_loader(faces: LabelledFaces, batch_size: int = 256) -> DataLoader[Batch]:
    """Batches in order, unchanged, with hard labels: what is reported compares with data sets without votes."""
    batches = BatchSampler(range(len(faces)), batch_size, drop_last=False)
    return DataLoader(FaceDataset(replace(faces, votes=None)), batch_size=None, sampler=batches)
