"""Grad-CAM heat maps (Selvaraju et al., 2017, arXiv:1610.02391); docs/howto/explain.md says what they show."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from mien.base.errors import UserError
from mien.inference.predictor import FacePrediction, FoundFaces, Predictor
from mien.reporting.images import as_rgb
from mien.reporting.style import LIGHT, drawing, png

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mien.models.networks import Network

BATCH: Final = 64  # faces at a time: gradients need more memory than answers
# The residual net's very last stage has 3 x 3 places for a face of 48 pixels: its maps miss by twice as much.
CELLS: Final = 5
CAPTION: Final = {"fontsize": 12, "fontweight": "normal", "color": LIGHT.muted, "pad": 8}


@dataclass(frozen=True)
class Explanation:
    """A face with what speaks for one class."""

    face: np.ndarray  # (size, size, C) uint8, as the network saw it
    heat: np.ndarray  # (size, size) float32 from 0 to 1
    asked: str  # the class
    prediction: FacePrediction


def explain_faces(predictor: Predictor, found: FoundFaces, asked: str | None = None) -> list[Explanation]:
    """An explanation of each face, of its own answer or a class by name; errors of `network` and `heat_maps`."""
    names = predictor.model.spec.classes
    predictions = predictor.describe(found.detections, predictor.model.probabilities(found.pixels))
    classes = [asked or prediction.label for prediction in predictions]
    maps = heat_maps(predictor.model.network(), found.pixels, np.array([names.index(name) for name in classes], int))
    return [Explanation(*row) for row in zip(found.pixels, maps, classes, predictions, strict=True)]


def heat_maps(network: "Network", faces: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much each place of a face speaks for a class, (N, size, size) float32, the most in each map being 1.

    A map is 0 where nothing that the network found speaks for the class. `faces` are (N, size, size, C) uint8, as the
    predictor cuts them; `classes` (N,) places among the network's. Nobody else may ask the network meanwhile, which
    `LoadedModel.network` gives for this call alone. A UserError without a convolutional stage.
    """
    import torch
    from captum.attr import LayerGradCam
    from torch.nn import functional

    size = faces.shape[1]
    if not len(faces):
        return np.empty((0, size, size), np.float32)
    if members := getattr(network.body, "members", None):  # of an ensemble
        mean = np.mean([heat_maps(member, faces, classes) for member in members], axis=0)
        most = mean.max(axis=(1, 2), keepdims=True)
        return np.asarray(mean / np.where(most > 0, most, 1))
    maps = []
    with torch.inference_mode(False), torch.enable_grad():
        network.eval()
        pixels = torch.tensor(faces).permute(0, 3, 1, 2).float()
        grad_cam = LayerGradCam(lambda faces: network.body(network.normalise(faces)), _last_stage(network, pixels[:1]))
        for batch, asked in zip(torch.split(pixels, BATCH), torch.split(torch.tensor(classes), BATCH), strict=True):
            found = grad_cam.attribute(batch, asked, relu_attributions=True).detach()
            if network.flip:
                found += grad_cam.attribute(batch.flip(-1), asked, relu_attributions=True).detach().flip(-1)
            found = functional.interpolate(found, (size, size), mode="bilinear", align_corners=False)[:, 0]
            most = found.amax(dim=(1, 2), keepdim=True)
            maps.append((found / most.where(most > 0, 1.0)).numpy())
    return np.concatenate(maps)


def _last_stage(network: "Network", face: "Tensor") -> "nn.Module":
    """The last step whose output for a face (1, C, size, size) has at least `CELLS` places in each direction."""
    from torch import nn

    convolutional = (nn.Conv2d, nn.modules.batchnorm.BatchNorm2d, nn.ReLU, nn.ReLU6)
    stages = []

    def note(step: "nn.Module", inputs: object, output: "Tensor") -> None:
        places = output.shape[-1] if output.ndim == 4 else 0
        if places >= CELLS and any(isinstance(module, convolutional) for module in step.modules()):
            stages.append(step)

    hooks = [step.register_forward_hook(note) for step in _steps(network.backbone)]
    network(face)
    for hook in hooks:
        hook.remove()
    if not stages:
        raise UserError("this network has no convolutional stage, which Grad-CAM needs.")
    return stages[-1]


def _steps(body: "nn.Module") -> "Iterator[nn.Module]":
    """What a network does, step by step: a residual block is a step, a sequence is its steps."""
    from torch import nn

    for part in body.children():
        yield from _steps(part) if isinstance(part, nn.Sequential) else [part]


def explanation_figure(explanations: list[Explanation], title: str, subtitle: str) -> bytes:
    """PNG, a row for each face: what the network saw, where it looked, and all its probabilities."""
    hue = to_rgb(LIGHT.second)  # one hue, so that light and dark of the face stay
    glow = LinearSegmentedColormap.from_list("glow", [(*hue, 0.0), (*hue, 0.85)])
    n = len(explanations)
    row = max(3.15, 0.3 * len(explanations[0].prediction.probabilities) + 0.75)  # inches, for a bar of each class
    with drawing(LIGHT, 11, 1.9 + row * n) as figure:
        figure.suptitle(title, x=0.02, ha="left", fontsize=17, fontweight="bold", parse_math=False)
        figure.supxlabel(subtitle, x=0.02, ha="left", fontsize=12, color=LIGHT.muted, parse_math=False)
        panels = figure.subplots(n, 3, squeeze=False)
        for number, (explanation, (seen, looked, bars)) in enumerate(zip(explanations, panels, strict=True), start=1):
            for axes in (seen, looked):
                axes.imshow(as_rgb(explanation.face), interpolation="nearest")
                axes.set_axis_off()
            seen.set_title(f"face {number}, as the network saw it", **CAPTION)
            heat = looked.imshow(explanation.heat, cmap=glow, vmin=0, vmax=1, interpolation="bilinear")
            speaks = "for" if explanation.heat.any() else "nothing speaks for"
            looked.set_title(f"{speaks} {explanation.asked}", **CAPTION)
            prediction, shares = explanation.prediction, explanation.prediction.probabilities
            colours = [LIGHT.second if name == explanation.asked else LIGHT.muted for name in shares]
            lengths = bars.barh(list(shares), list(shares.values()), color=colours, height=0.62)
            bars.bar_label(lengths, fmt="{:.0%}", padding=4, fontsize=12)
            answer = f"{prediction.label} {shares[prediction.label]:.0%}{', unsure' * prediction.unsure}"
            bars.set_title(answer, fontsize=14, pad=8)
            bars.set(xlim=(0, 1.2), xticks=[])
            bars.tick_params(length=0)
            bars.invert_yaxis()
            bars.spines[:].set_visible(False)
        legend = "from nothing to most of this face"
        figure.colorbar(heat, ax=looked, location="bottom", aspect=16, ticks=[], label=legend)
        return png(figure)
