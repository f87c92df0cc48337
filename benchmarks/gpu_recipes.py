"""Faces, networks and batched augmentation for the screening of recipes on a GPU (`gpu_screening`)."""

import csv
import dataclasses
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, CLASSES = 48, 7
DRAWS = 15  # uniform numbers that a face needs


@dataclasses.dataclass(frozen=True)
class Job:
    """One training. Angles in degrees, shifts and areas as shares of the face, spans in epochs or shares of the run."""

    name: str
    network: str = "resnet"  # or vgg
    width: int = 16  # channels of the first stage; each of the other three doubles them
    blocks: int = 1  # residual blocks, or convolutions of vgg, per stage
    stem_stride: int = 2
    size: int = SIDE  # side of the random crop
    epochs: int = 20
    seed: int = 0
    batch: int = 128
    optimizer: str = "adamw"  # or sgd: Nesterov, momentum 0.9
    rate: float = 0.004
    decay: float = 0.05
    warmup: float = 0.05
    smoothing: float = 0.05
    dropout: float = 0.1
    ema_epochs: float = 0.5  # the averaged weights' time constant
    rotation: float = 15.0
    shift: float = 0.1
    zoom: float = 0.1
    warp: float = 1.0  # probability of rotation, shift and zoom
    light: float = 0.2
    erasing: float = 0.0  # probability
    mixup: float = 0.0  # alpha of Beta(alpha, alpha)
    cutmix: float = 0.0  # likewise
    mix_until: float = 0.8  # no mixup or cutmix after this share of the run
    teachers: tuple[str, ...] = ()  # jobs of the same list whose averaged weights give the targets
    compile: bool = False
    graph: bool = True
    bare: bool = False  # the same prepared batch in each step: the speed without augmentation and indexing


class Data:
    """Clean training faces and PublicTest on a device: `(N, 1, 48, 48)` uint8 and labels `(N,)`."""

    def __init__(self, path: Path, device: torch.device, rows: int | None) -> None:
        faces, labels, usages = read_faces(path)
        train, validation = clean_rows(faces, usages)[:rows], np.flatnonzero(usages == "PublicTest")[:rows]
        self.faces, self.validation = (torch.tensor(faces[i][:, None], device=device) for i in (train, validation))
        self.labels, self.truth = (torch.tensor(labels[i].astype(np.int64), device=device) for i in (train, validation))
        self.mean, self.std = float(faces[train].mean()), float(faces[train].std())

    def normalise(self, faces: Tensor) -> Tensor:
        """Float faces of zero mean and unit variance."""
        return (faces.float() - self.mean) / self.std


def read_faces(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces `(N, 48, 48)` uint8, labels and usages of FER2013's csv."""
    with path.open(newline="") as file:
        rows = [(r["pixels"], int(r["emotion"]), r["Usage"]) for r in csv.DictReader(file)]
    faces = np.stack([np.array(pixels.split(), dtype=np.uint8) for pixels, _, _ in rows]).reshape(-1, SIDE, SIDE)
    return faces, np.array([r[1] for r in rows]), np.array([r[2] for r in rows])


def clean_rows(faces: np.ndarray, usages: np.ndarray) -> np.ndarray:
    """Training rows that are not black, nor equal to a test face of either part, nor to an earlier row."""
    seen = {face.tobytes() for face in faces[usages != "Training"]}
    rows = []
    for row in np.flatnonzero(usages == "Training"):
        face = faces[row].tobytes()
        if face not in seen and faces[row].any():
            rows.append(row)
        seen.add(face)
    return np.array(rows)


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut: mien's residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs, stride), conv(outputs, outputs)[:2]
        self.shortcut = conv(inputs, outputs, stride, 1)[:2] if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def build(job: Job) -> nn.Module:
    """Normalised grey faces `(B, 1, H, W)` to logits. ResNet-18 is width 64, 2 blocks, stem stride 1."""
    widths = [job.width * 2**i for i in range(4)]
    if job.network == "vgg":
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([1, *widths]):
            layers += [conv(inputs if i == 0 else outputs, outputs) for i in range(job.blocks)]
            layers.append(nn.MaxPool2d(2))
        hidden = nn.Linear(4 * widths[-1], 1024)
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(job.dropout), hidden, nn.ReLU()]
        return nn.Sequential(*layers, *head, nn.Dropout(job.dropout), nn.Linear(1024, CLASSES))
    layers = [conv(1, job.width, job.stem_stride)]
    for inputs, outputs in pairwise([job.width, *widths]):
        layers.append(Block(inputs, outputs, 1 if outputs == job.width else 2))
        layers += [Block(outputs, outputs, 1) for _ in range(job.blocks - 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(job.dropout)]
    return nn.Sequential(*layers, *head, nn.Linear(widths[-1], CLASSES))


def box(x: Tensor, y: Tensor, width: Tensor, height: Tensor, size: int) -> Tensor:
    """`(B, 1, size, size)` bool: the inside of boxes with these centres and sides `(B,)`, as shares of `size`."""
    line = (torch.arange(size, device=x.device) + 0.5) / size
    columns, rows = (line - x[:, None]).abs() < width[:, None] / 2, (line - y[:, None]).abs() < height[:, None] / 2
    return columns[:, None, None, :] & rows[:, None, :, None]


def augment(faces: Tensor, draws: Tensor, job: Job) -> Tensor:
    """Normalised `(B, 1, 48, 48)` to changed `(B, 1, size, size)`; `draws` `(B, DRAWS)` are uniform in [0, 1)."""
    u, s = draws.unbind(1), (2 * draws - 1).unbind(1)
    warp = (u[0] < job.warp).float()
    angle, zoom = warp * math.radians(job.rotation) * s[1], job.size / SIDE * (1 + warp * job.zoom * s[2])
    slack = (SIDE - job.size) / 2  # whole pixels: a face that is only shifted stays sharp
    shifts = [(warp * job.shift * SIDE * s[i] + slack * s[i + 2]).round() * 2 / SIDE for i in (3, 4)]
    cos, sin, mirror = zoom * angle.cos(), zoom * angle.sin(), 1 - 2 * (u[7] < 0.5).float()
    theta = torch.stack([mirror * cos, -sin, shifts[0], mirror * sin, cos, shifts[1]], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [len(faces), 1, job.size, job.size], align_corners=False)
    faces = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    faces = faces * (1 + job.light * s[8])[:, None, None, None] + (job.light * s[9])[:, None, None, None]
    if job.erasing:
        area, ratio = 0.02 + 0.2 * u[10], torch.exp(s[11] * math.log(3.0))
        erased = box(u[12], u[13], (area * ratio).sqrt(), (area / ratio).sqrt(), job.size)
        faces = faces.masked_fill(erased & (u[14] < job.erasing)[:, None, None, None], 0.0)
    return faces


def mix(faces: Tensor, targets: Tensor, draws: Tensor, share: Tensor, job: Job) -> tuple[Tensor, Tensor]:
    """Faces and targets `(B, 7)` after mixup (Zhang et al., 2018) or cutmix (Yun et al., 2019); `share` is `(1,)`."""
    if job.cutmix:
        side = (1 - share).sqrt()
        cut = box(draws[:1, 12], draws[:1, 13], side, side, job.size)
        faces, share = torch.where(cut, faces.flip(0), faces), 1 - cut.float().mean()
    elif job.mixup:
        faces = share * faces + (1 - share) * faces.flip(0)
    return faces, share * targets + (1 - share) * targets.flip(0)


def schedules(job: Job, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each step: learning rate (warm-up, then cosine), and the share that mixup or cutmix leave of a face."""
    done, alpha = np.arange(total) / total, job.mixup or job.cutmix
    warmup, cosine = (done + 1 / total) / job.warmup, 0.5 + 0.5 * np.cos(np.pi * done)
    shares = np.random.default_rng(job.seed).beta(alpha, alpha, total) if alpha else np.ones(total)
    return job.rate * np.minimum(np.minimum(warmup, 1.0), cosine), np.where(done < job.mix_until, shares, 1.0)


@torch.no_grad()
def answers(net: nn.Module, faces: Tensor, size: int) -> dict[str, Tensor]:
    """Probabilities `(N, 7)` of normalised faces, by view.

    `centre` is the central crop, `flip` its mean with the mirror image, `ten` the mean of five crops with theirs,
    `whole` that of the uncropped face with its own.
    """

    def answer(crops: Tensor) -> Tensor:
        return torch.cat([logits_of(net, part).softmax(1) for part in torch.split(crops, 1200)])

    def both(crops: Tensor) -> Tensor:
        return (answer(crops) + answer(crops.flip(3))) / 2

    slack = SIDE - size
    corners = {(y, x) for y in (0, slack) for x in (0, slack)} | {(slack // 2, slack // 2)}
    crops = {(y, x): faces[:, :, y : y + size, x : x + size] for y, x in corners}
    centre = crops[slack // 2, slack // 2]
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):
        ten = torch.stack([both(crop) for crop in crops.values()]).mean(0)
        return {"centre": answer(centre), "flip": both(centre), "ten": ten, "whole": both(faces)}


def logits_of(net: nn.Module, faces: Tensor) -> Tensor:
    """Float logits of normalised faces, computed in bfloat16 with channels last."""
    faces = faces.contiguous(memory_format=torch.channels_last)
    with torch.autocast(faces.device.type, torch.bfloat16, cache_enabled=False):
        logits: Tensor = net(faces)
    return logits.float()
