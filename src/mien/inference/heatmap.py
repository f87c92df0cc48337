"""Heat maps of where a network looked: Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391).

docs/EXPLAIN.md says what such a map shows, and what it does not.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from mien.base.errors import UserError
from mien.inference.predictor import FacePrediction, FoundFaces, Predictor
from mien.reporting.images import as_rgb
from mien.reporting.style import LIGHT, Theme, drawing, png

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.models.networks import Network

BATCH: Final = 64  # faces at a time: gradients need more memory than answers
# The residual net's very last stage has 3 x 3 places for a face of 48 pixels: its maps miss by twice as much.
CELLS: Final = 5
WIDTH: Final = 11.0  # inches, as the following
HEAD: Final = 1.15
ROW: Final = 3.15
FACE: Final = 2.5
FOOT: Final = 0.75


@dataclass(frozen=True)
class Explanation:
    """A face with what speaks for one class."""

    face: np.ndarray  # (size, size, C) uint8, as the network saw it
    heat: np.ndarray  # (size, size) float32 from 0 to 1
    asked: str  # the class
    prediction: FacePrediction


def explain_faces(predictor: Predictor, found: FoundFaces, asked: str | None = None) -> list[Explanation]:
    """An explanation of each face, of its own answer or of a class by name.

    Raises:
        UserError: the model is an ONNX file alone, or captum is not installed.
    """
    names = predictor.model.spec.classes
    predictions = predictor.describe(found.detections, predictor.model.probabilities(found.pixels))
    classes = [asked or prediction.label for prediction in predictions]
    maps = heat_maps(predictor.model.network(), found.pixels, np.array([names.index(name) for name in classes], int))
    return [Explanation(*row) for row in zip(found.pixels, maps, classes, predictions, strict=True)]


def heat_maps(network: "Network", faces: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much each place of a face speaks for a class, (N, size, size) float32, the most in each map being 1.

    A map is 0 everywhere where nothing that the network found speaks for the class.

    Args:
        network: of this call alone, such as `LoadedModel.network` gives: it must not be asked by others meanwhile.
        faces: (N, size, size, C) uint8, as the predictor cuts them.
        classes: (N,) integers, each a place among the network's classes.

    Raises:
        UserError: the network has no convolutional stage, or captum is not installed.
        ValueError: there are not as many classes as faces.
    """
    if importlib.util.find_spec("captum") is None:
        raise UserError("heat maps need captum, which is not installed: `pip install -c constraints.txt '.[explain]'`.")
    if len(classes) != len(faces):
        raise ValueError(f"{len(classes)} classes for {len(faces)} faces")
    import torch

    size = faces.shape[1]
    if not len(faces):
        return np.empty((0, size, size), np.float32)
    maps = []
    with torch.inference_mode(False), torch.enable_grad():
        network.eval()
        pixels = torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float()
        stage = last_stage(network, pixels[:1])
        for start in range(0, len(faces), BATCH):
            batch = pixels[start : start + BATCH]
            asked = torch.from_numpy(np.asarray(classes[start : start + BATCH], np.int64))
            maps.append(_maps(network, stage, batch, asked, size))
    return np.concatenate(maps)


def last_stage(network: "Network", face: "Tensor") -> "nn.Module":
    """The last part whose output for a face (1, C, size, size) has places, at least `CELLS` in each direction.

    Raises:
        UserError: there is none.
    """
    sizes: dict[nn.Module, int] = {}

    def note(part: "nn.Module", inputs: object, output: "Tensor") -> None:
        if output.ndim == 4:
            sizes[part] = output.shape[-1]

    parts = list(_parts(network.backbone or network.body))
    hooks = [part.register_forward_hook(note) for part in parts]
    network(face)
    for hook in hooks:
        hook.remove()
    large = [part for part in parts if sizes.get(part, 0) >= CELLS]
    while large and not _computes(large[-1]):
        large.pop()
    if not large:
        raise UserError("this network has no convolutional stage, so that Grad-CAM cannot say where it looked.")
    return large[-1]


def _parts(body: "nn.Module") -> "Iterator[nn.Module]":
    """What a network does, step by step: a residual block is a step, a sequence is its steps."""
    from torch import nn

    for part in body.children():
        if isinstance(part, nn.Sequential):
            yield from _parts(part)
        else:
            yield part


def _computes(part: "nn.Module") -> bool:
    """Whether it is a convolution, a block with one, or the normalisation or activation of one."""
    from torch import nn

    kinds = (nn.Conv2d, nn.modules.batchnorm.BatchNorm2d, nn.ReLU, nn.ReLU6)
    return any(isinstance(module, kinds) for module in part.modules())


def _maps(network: "Network", stage: "nn.Module", faces: "Tensor", classes: "Tensor", size: int) -> np.ndarray:
    from captum.attr import LayerGradCam
    from torch.nn import functional

    device = next(network.parameters()).device
    found = LayerGradCam(network, stage).attribute(faces.to(device), classes.to(device), relu_attributions=True)
    found = functional.interpolate(found.detach(), (size, size), mode="bilinear", align_corners=False)[:, 0]
    most = found.amax(dim=(1, 2), keepdim=True)
    maps: np.ndarray = (found / most.where(most > 0, 1.0)).cpu().numpy()
    return maps


def explanation_figure(explanations: list[Explanation], title: str, subtitle: str, theme: Theme = LIGHT) -> bytes:
    """PNG, a row for each face: what the network saw, where it looked, and its probabilities."""
    height = HEAD + ROW * len(explanations) + FOOT
    with drawing(theme, WIDTH, height) as figure:
        figure.set_layout_engine("none")
        figure.text(0.35 / WIDTH, 1 - 0.5 / height, title, fontsize=17, fontweight="bold")
        figure.text(0.35 / WIDTH, 1 - 0.83 / height, subtitle, fontsize=12, color=theme.muted)
        for number, explanation in enumerate(explanations, start=1):
            _row(figure, number, explanation, theme)
        _legend(figure, theme)
        return png(figure)


def _row(figure: Figure, number: int, explanation: Explanation, theme: Theme) -> None:
    height = figure.get_size_inches()[1]
    bottom = height - HEAD - ROW * number + 0.2
    seen = as_rgb(explanation.face)
    looked = f"for {explanation.asked}" if explanation.heat.any() else f"nothing speaks for {explanation.asked}"
    for left, caption in ((0.35, f"face {number}, as the network saw it"), (3.3, looked)):
        axes = figure.add_axes((left / WIDTH, bottom / height, FACE / WIDTH, FACE / height))
        axes.imshow(seen, interpolation="nearest")
        if left > 1:
            axes.imshow(explanation.heat, cmap=_glow(theme), vmin=0, vmax=1, interpolation="bilinear")
        axes.set_axis_off()
        figure.text(left / WIDTH, (bottom + FACE + 0.1) / height, caption, fontsize=12, color=theme.muted)
    _bars(figure.add_axes((7.3 / WIDTH, bottom / height, 2.9 / WIDTH, FACE / height)), explanation, theme)
    label = explanation.prediction.label
    answer = f"{label} {explanation.prediction.probabilities[label]:.0%}"
    answer += ", unsure" if explanation.prediction.unsure else ""
    figure.text(7.3 / WIDTH, (bottom + FACE + 0.1) / height, answer, fontsize=14, fontweight="bold")


def _bars(axes: Axes, explanation: Explanation, theme: Theme) -> None:
    """Every probability; the class that the map is about in the map's colour."""
    shares = explanation.prediction.probabilities
    colours = [theme.second if name == explanation.asked else theme.muted for name in shares]
    places = np.arange(len(shares))
    axes.barh(places, list(shares.values()), color=colours, height=0.62)
    axes.set_yticks(places, list(shares), fontsize=12)
    for place, share in enumerate(shares.values()):
        axes.text(share + 0.02, place, f"{share:.0%}", va="center", fontsize=12)
    axes.set_xlim(0, 1.15)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _legend(figure: Figure, theme: Theme) -> None:
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((3.3 / WIDTH, 0.42 / height, FACE / WIDTH, 0.14 / height))
    axes.imshow(np.linspace(0, 1, 64)[None], cmap=_glow(theme), aspect="auto", vmin=0, vmax=1)
    axes.set_axis_off()
    for left, caption, side in ((3.3, "nothing", "left"), (3.3 + FACE, "most of this face", "right")):
        figure.text(left / WIDTH, 0.2 / height, caption, fontsize=11, color=theme.muted, ha=side)


def _glow(theme: Theme) -> Colormap:
    """From nothing over the face to the second series' colour: one hue, so that light and dark of the face stay."""
    hue = to_rgb(theme.second)
    return LinearSegmentedColormap.from_list("glow", [(*hue, 0.0), (*hue, 0.85)])
