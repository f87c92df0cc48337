"""Networks by name: residual and reference networks, ensembles, and their cost."""

from collections.abc import Callable, Sequence
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.base.errors import UserError
from mien.base.settings import build_settings
from mien.models.description import ENSEMBLE, FACES, ModelConfig
from mien.models.mobilenet import FEATURES, mobilenet_v2
from mien.models.timm_backbone import timm_backbone
from mien.runtime.spec import CutSpec


class Normalise(nn.Module):
    """`(B, C, H, W)` uint8 or float pixels from 0 to 255 to float32 of zero mean and unit variance.

    Those of the training faces, one number for all channels: colour casts stay visible. Buffers are saved with weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(127.5))
        self.register_buffer("std", torch.tensor(64.0))

    def measure(self, faces: np.ndarray, rows: np.ndarray) -> None:
        """Take mean and standard deviation from the faces in `rows` of `(N, H, W, C)` uint8."""
        histogram = np.zeros(256, dtype=np.int64)
        for start in range(0, len(rows), 4096):  # a memory map larger than the memory is read in parts
            histogram += np.bincount(np.asarray(faces[rows[start : start + 4096]]).ravel(), minlength=256)
        values = np.arange(256)
        mean = float(np.average(values, weights=histogram))
        std = float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))
        self.mean.fill_(mean)
        self.std.fill_(max(std, 1.0))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels, same shape, float32."""
        return (pixels.float() - self.mean) / self.std


class Dropout(nn.Module):
    """Dropout (Srivastava et al., 2014) with masks of random bytes, which a CPU draws faster than random numbers.

    The probability is rounded to whole 256ths, and what is left is enlarged by exactly what the rounded one takes.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped = round(probability * 256)  # values of a byte that drop a number

    def forward(self, x: Tensor) -> Tensor:
        """`x`, with numbers set to 0 in training."""
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        laid_out = torch.empty_like(x, dtype=torch.uint8).stride()  # as x lies: multiplying across layouts is slow
        kept = words.view(torch.uint8)[: x.numel()].as_strided(x.shape, laid_out) >= self.dropped
        return x * (256 / (256 - self.dropped)) * kept


def vgg64(config: ModelConfig, cut: CutSpec, classes: int) -> nn.Module:
    """The net of the system expw-vgg64: 64 x 64 RGB, valid padding, 4,967,623 parameters.

    The two dropouts after pooling are the system's .25; `dropout` is the last one, .5 there.
    """
    return nn.Sequential(
        *_conv(cut.channels, 32, 0),
        *_pooled_conv(32, 64, 0),
        Dropout(0.25),
        *_pooled_conv(64, 128, 0),
        *_pooled_conv(128, 128, 0),
        Dropout(0.25),
        nn.Flatten(),
        *_linear(128 * 6 * 6, 1024),
        Dropout(config.dropout),
        nn.Linear(1024, classes),
    )


def cnn48(config: ModelConfig, cut: CutSpec, classes: int) -> nn.Module:
    """The net of the system expw-cnn48: 48 x 48 grey, same padding, 2,513,543 parameters."""
    return nn.Sequential(
        *_pooled_conv(cut.channels, 32, 1),
        *_pooled_conv(32, 64, 1),
        nn.Flatten(),
        *_linear(64 * 12 * 12, 256),
        *_linear(256, 512),
        Dropout(config.dropout),
        nn.Linear(512, classes),
    )


def lenet48(config: ModelConfig, cut: CutSpec, classes: int) -> nn.Module:
    """The net of the system folder-cnn, "LeNet-like", 48 x 48 grey: LeNet-5's sizes (LeCun et al., 1998).

    Its report gives no sizes. ReLU and maxima stand for LeNet's own activation and averages; 168,971 parameters.
    """
    return nn.Sequential(
        *_pooled_conv(cut.channels, 6, 0, 5),
        *_pooled_conv(6, 16, 0, 5),
        nn.Flatten(),
        *_linear(16 * 9 * 9, 120),
        *_linear(120, 84),
        Dropout(config.dropout),
        nn.Linear(84, classes),
    )


def cnn5x5(config: ModelConfig, cut: CutSpec, classes: int) -> nn.Module:
    """The net of the system folder-cnn5x5: 48 x 48 grey, valid padding, 1,375,175 parameters; dropout .4 there."""
    return nn.Sequential(
        *_conv(cut.channels, 64, 0, 5),
        *_pooled_conv(64, 64, 0, 5),
        Dropout(config.dropout),
        *_conv(64, 128, 0),
        *_pooled_conv(128, 128, 0),
        Dropout(config.dropout),
        nn.Flatten(),
        *_linear(128 * 8 * 8, 128),
        nn.Linear(128, classes),
    )


def _conv(inputs: int, outputs: int, padding: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, padding=padding), nn.ReLU(inplace=True)


def _pooled_conv(inputs: int, outputs: int, padding: int, size: int = 3) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Convolution, maxima of 2 x 2, ReLU: pooled first, since both orders give the same and this one works on less."""
    convolution, relu = _conv(inputs, outputs, padding, size)
    return convolution, nn.MaxPool2d(2), relu


def _linear(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(inputs, outputs), nn.ReLU()


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, batch-normalised."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def residual_net(config: ModelConfig, cut: CutSpec, classes: int) -> nn.Module:
    """Four stages of `blocks` residual blocks, of `width` to `8 * width` channels; any input from 16 x 16 pixels.

    With `stem_stride` 2 the first convolution halves the resolution already: a quarter of the multiply-adds.
    """
    widths = [config.width * 2**stage for stage in range(4)]
    stem = nn.Conv2d(cut.channels, widths[0], 3, config.stem_stride, 1, bias=False)
    layers = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inputs, outputs in zip([widths[0], *widths], widths, strict=False):
        layers.append(ResidualBlock(inputs, outputs, 1 if inputs == outputs else 2))
        layers += [ResidualBlock(outputs, outputs, 1) for _ in range(config.blocks - 1)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dropout(config.dropout), nn.Linear(widths[-1], classes))
    return nn.Sequential(*layers, *head)


class Transfer(nn.Module):
    """A backbone that may have learnt elsewhere and a new head: `(B, 1 or 3, H, W)` normalised faces to logits.

    Faces are enlarged here rather than stored large: 48 pixels in grey become 224 in RGB at a sixty-fifth of the disk.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, input_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.input_size = input_size  # pixels; 0: as they come

    def forward(self, faces: Tensor) -> Tensor:
        """Logits in the order of the classes."""
        if self.input_size and faces.shape[-1] != self.input_size:
            size = (self.input_size, self.input_size)
            faces = functional.interpolate(faces, size, mode="bilinear", align_corners=False)
        if faces.shape[1] == 1:
            faces = faces.expand(-1, 3, -1, -1)
        logits: Tensor = self.head(self.backbone(faces.contiguous(memory_format=torch.channels_last)))
        return logits


def _mobilenet(config: ModelConfig, _: CutSpec, classes: int) -> Transfer:
    """With the head of the system fer2013-mobilenetv2: features - 128 - 64 - classes, with ReLU between."""
    backbone = mobilenet_v2()  # before the head: the order decides which random weights each gets
    head = nn.Sequential(*_linear(FEATURES, 128), *_linear(128, 64), Dropout(config.dropout), nn.Linear(64, classes))
    return Transfer(backbone, head, config.input_size)


def _timm(config: ModelConfig, cut: CutSpec, classes: int) -> Transfer:
    size = config.input_size or cut.size
    backbone, features = timm_backbone(config.backbone, size)
    head = nn.Sequential(Dropout(config.dropout), nn.Linear(features, classes))
    return Transfer(backbone, head, size)


class Ensemble(nn.Module):
    """Networks that answer together: the logarithm of the mean of their probabilities, `(B, classes)`."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels as of a `Network`: each member normalises them as it learnt."""
        answers = torch.stack([functional.softmax(member(pixels).float(), dim=1) for member in self.members])
        return answers.mean(dim=0).clamp_min(torch.finfo(torch.float32).tiny).log()


def _ensemble(config: ModelConfig, cut: CutSpec, classes: int) -> Ensemble:
    built = [member for member in config.members if isinstance(member, dict)]
    if len(built) < len(config.members):
        raise UserError("its members decide: only `train` looks up what they are.")
    members = [build_settings(ModelConfig, member, "members", complete=False) for member in built]
    return Ensemble([build_model(member, cut, classes) for member in members])


MODELS: Final[dict[str, Callable[[ModelConfig, CutSpec, int], nn.Module]]] = {  # from settings, cut, number of classes
    "resnet": residual_net,
    "vgg64": vgg64,
    "cnn48": cnn48,
    "lenet48": lenet48,
    "cnn5x5": cnn5x5,
    "mobilenetv2": _mobilenet,
    "timm": _timm,
    ENSEMBLE: _ensemble,
}


class Network(nn.Module):
    """`(B, channels, size, size)` pixels from 0 to 255, uint8 or float, to `(B, classes)` logits."""

    def __init__(self, body: nn.Module, flip: bool = False) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.body = body
        self.flip = flip

    @property
    def backbone(self) -> nn.Module:
        """All but the head: the part that may have learnt elsewhere."""
        return self.body.backbone if isinstance(self.body, Transfer) else cast(nn.Sequential, self.body)[:-1]

    @property
    def last_layer(self) -> str:
        """The name of the module whose outputs are the logits."""
        names: list[str] = [name for name, module in self.named_modules() if isinstance(module, nn.Linear)]
        return names[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits in the order of the classes; with `flip`, outside training, the means of a face and its mirror."""
        faces = self.normalise(pixels)
        logits: Tensor = self.body(faces)
        if self.flip and not self.training:
            logits = (logits + self.body(faces.flip(-1))) / 2
        return logits


def build_model(config: ModelConfig, cut: CutSpec, classes: int) -> Network:
    """A network with fresh weights for these classes and this cut; a UserError where it takes other faces."""
    wanted = FACES[config.name]
    if wanted.size not in (None, cut.size) or wanted.colour not in (None, cut.colour):
        needs = f"model {config.name} takes faces of {wanted.size} pixels in {wanted.colour}"
        raise UserError(f"{needs}, and the crop gives {cut.size} pixels in {cut.colour}: choose a crop that fits.")
    network = Network(MODELS[config.name](config, cut, classes), config.flip)
    if config.name == ENSEMBLE:  # whose members normalise
        network.normalise.mean.fill_(0)
        network.normalise.std.fill_(1)
    return network


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def multiply_adds(network: nn.Module, cut: CutSpec) -> int:
    """Multiplications, each with its addition, for one face: of convolutions and linear layers.

    What else there is, such as normalisation and activation, is little beside them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    training = network.training
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, cut.channels, cut.size, cut.size))
    network.train(training)
    return int(counter.get_total_flops()) // 2
