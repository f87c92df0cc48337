"""Facial-expression prediction for photos: decode, detect, crop, classify."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import cv2
import numpy as np

from mien.base.errors import UserError
from mien.inference.classifier import LoadedModel
from mien.inference.picture import Photo, Picture, picture_of, read_pixels
from mien.runtime.cut import Box, cut_face, face_box
from mien.runtime.spec import CutSpec
from mien.sources.detect import Detection, Detector, PredictConfig, build_detector, largest_of

if TYPE_CHECKING:
    from PIL import Image

PICTURES_A_BATCH: Final = 32
MEASURED: Final = CutSpec(48, "grey")  # the pixels whose sharpness is measured
INNER: Final = slice(8, 40)  # of them: hair and background do not count
# Where the models in the package are right less often: docs/evidence/pretrained.md, benchmarks/face_quality.py.
SMALL: Final = 24  # pixels, and smaller faces
BLURRED: Final = 0.15  # below it
TURNED: Final = 0.25  # above it


class Quality(NamedTuple):
    """What speaks for or against the answer to a face."""

    size: int  # pixels of the shorter side of its box in the photo
    sharpness: float | None  # as of `sharpness_of`; None where it was not measured
    turn: float | None  # from 0, seen from the front, to 1, in profile; None where the detector cannot say

    @property
    def reasons(self) -> list[str]:
        """`too small`, `blurred`, `turned away`: why the answer is less often right; mostly none."""
        found = {
            "too small": self.size <= SMALL,
            "blurred": self.sharpness is not None and self.sharpness < BLURRED,
            "turned away": self.turn is not None and self.turn > TURNED,
        }
        return [reason for reason, holds in found.items() if holds]


def sharpness_of(face: np.ndarray) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., 2000) of a face's inner part, divided by its grey values' own.

    `face` is (48, 48, 1) uint8. The division lets a dark or pale photo be as sharp as a bright one.
    """
    laplacian = cv2.Laplacian(face, cv2.CV_64F)
    return round(float(laplacian[INNER, INNER].var() / max(face[INNER, INNER].var(), 1.0)), 4)


@dataclass(frozen=True)
class FoundFaces:
    """The faces of a photo, before anything is predicted."""

    detections: list[Detection]  # from left to right
    pixels: np.ndarray  # (N, size, size, C) uint8, as the network takes them
    left_out: int = 0  # faces beyond `max_faces`, the smallest ones
    problem: str = ""  # a sentence, where there is none


@dataclass(frozen=True)
class FacePrediction:
    """The expression of one face."""

    box: Box  # as the detector found it, in pixels of the photo
    score: float | None  # the detector's, from 0 to 1; None: it gives none
    label: str  # the most probable expression
    unsure: bool  # the label's probability is below `unsure_below`
    probabilities: dict[str, float]  # of each class, in the model's order; they add up to 1
    quality: Quality
    photo: np.ndarray | None = field(default=None, repr=False, compare=False)  # (H, W, 3) uint8 RGB, of Python alone

    @classmethod
    def of(cls, face: Detection, row: np.ndarray, classes: Sequence[str], unsure_below: float) -> Self:
        """The prediction that a face's row of probabilities (classes,) makes."""
        label, unsure = classes[int(row.argmax())], bool(row.max() < unsure_below)
        quality = Quality(face.box.shorter_side, face.sharpness, face.turn)
        return cls(face.box, face.score, label, unsure, dict(zip(classes, row.tolist(), strict=True)), quality)

    def caption(self, number: int) -> str:
        """`2  happy 93%`, as it is written on a picture."""
        return f"{number}  {'unsure: ' * self.unsure}{self.label} {self.probabilities[self.label]:.0%}"

    def to_dict(self) -> dict[str, Any]:
        """The face as programs read it; the box is top, left, right, bottom in pixels of the photo as it is shown."""
        said = {"box": list(self.box), "score": self.score, "label": self.label, "unsure": self.unsure}
        quality = {**self.quality._asdict(), "reasons": self.quality.reasons}
        return {**said, "quality": quality, "probabilities": dict(self.probabilities)}

    def plot(self) -> "Image.Image":
        """The photo with this face alone drawn in; a UserError for a face that came without its photo."""
        if self.photo is None:
            raise UserError("this face came without its photo, so there is nothing to draw it into.")
        return Faces([self], self.photo, "").plot()


class Faces(list[FacePrediction]):
    """The faces of a photo, from left to right; empty where there is none."""

    def __init__(self, faces: Iterable[FacePrediction], photo: np.ndarray, model: str) -> None:
        super().__init__(replace(face, photo=photo) for face in faces)
        self.photo = photo  # (H, W, 3) uint8 RGB, as it was searched
        self.model = model  # that spoke, for people

    def to_dict(self) -> dict[str, Any]:
        """The model and the faces, as JSON can hold them."""
        return {"model": self.model, "faces": [face.to_dict() for face in self]}

    def plot(self) -> "Image.Image":
        """The photo with each face's box, number, label and probability."""
        from PIL import Image

        from mien.inference.annotation import draw_faces

        tags = [(face.box, face.caption(number), face.label) for number, face in enumerate(self, start=1)]
        return Image.fromarray(draw_faces(self.photo, tags, list(self[0].probabilities) if self else ()))


class Predictor:
    """A model behind a face detector.

    Faces are cut by the function that cuts the training's faces, so that a face with the same box gives the same
    pixels in training, on the command line, on the web page and in a video.
    """

    def __init__(
        self, model: LoadedModel, detector: Detector | None = None, settings: PredictConfig | None = None
    ) -> None:
        self.model = model
        self.settings = settings or PredictConfig()
        self.detector = detector or build_detector(self.settings)

    def predict(self, photo: Photo) -> Faces:
        """The faces of a photo that `picture_of` understands, whose errors it raises, and those of `read_pixels`."""
        pixels = read_pixels(picture_of(photo), self.settings)
        found = self.find_faces(pixels)
        answers = self.describe(found.detections, self.model.probabilities(found.pixels))
        return Faces(answers, pixels, self.model.says)

    def find_faces(self, photo: np.ndarray) -> FoundFaces:
        """The faces that the detector finds, the largest `max_faces` of them, cut as the network takes them."""
        everything = self.detector.detect(photo)
        largest = largest_of(everything, self.settings.max_faces)
        pixels = self.cut(photo, [face.box for face in largest])
        return FoundFaces(self._measured(photo, largest, pixels), pixels, len(everything) - len(largest))

    def whole_face(self, photo: np.ndarray) -> FoundFaces:
        """As `find_faces`, for a photo that is one face already."""
        box = Box(0, 0, photo.shape[1], photo.shape[0])
        pixels = cut_face(photo, box, self.model.spec.cut)[None]
        return FoundFaces(self._measured(photo, [Detection(box)], pixels), pixels)

    def cut(self, photo: np.ndarray, boxes: Sequence[Sequence[int]], spec: CutSpec | None = None) -> np.ndarray:
        """Faces in boxes (top, left, right, bottom), (N, size, size, C) uint8, by default as the network takes them.

        BoxOutside for a box beside the photo.
        """
        spec = spec or self.model.spec.cut
        placed = (face_box(box, *photo.shape[:2], margin=spec.margin, square=spec.square) for box in boxes)
        faces = [cut_face(photo, box, spec) for box in placed]
        return np.array(faces, np.uint8).reshape(-1, *spec.shape)  # also of no faces

    def _measured(self, photo: np.ndarray, faces: Sequence[Detection], pixels: np.ndarray) -> list[Detection]:
        """The faces with their sharpness; `pixels` are theirs as the network takes them."""
        seen = pixels if self.model.spec.cut == MEASURED else self.cut(photo, [face.box for face in faces], MEASURED)
        return [face._replace(sharpness=sharpness_of(cut)) for face, cut in zip(faces, seen, strict=True)]

    def probabilities(self, photos: Sequence[FoundFaces]) -> list[np.ndarray]:
        """Calibrated probabilities (N, classes) float64 of the faces of each photo; all photos share a batch."""
        together = self.model.probabilities(np.concatenate([faces.pixels for faces in photos]))
        ends = np.cumsum([len(faces.detections) for faces in photos])
        return np.split(together, ends[:-1])

    def describe(self, detections: Sequence[Detection], probabilities: np.ndarray) -> list[FacePrediction]:
        """A prediction for each face, from its row of probabilities (N, classes)."""
        about = self.model.spec.classes, self.settings.unsure_below
        return [FacePrediction.of(face, row, *about) for face, row in zip(detections, probabilities, strict=True)]


@dataclass(frozen=True)
class PhotoPrediction:
    """The answer to a picture: at least one face, or a sentence that says why there is none."""

    picture: Picture
    faces: list[FacePrediction]
    problem: str = ""
    left_out: int = 0  # faces beyond `max_faces`, the smallest ones

    def without_frame(self) -> Self:
        """The same without a video's pixels, of which many would fill the memory."""
        return replace(self, picture=replace(self.picture, frame=None))


def predict_pictures(
    predictor: Predictor, pictures: Iterable[Picture], *, cropped: bool = False
) -> Iterator[PhotoPrediction]:
    """A prediction for each picture, in their order; with `cropped` each is taken as one face already."""
    remaining = iter(pictures)
    while batch := list(islice(remaining, PICTURES_A_BATCH)):
        found = [find_faces(predictor, picture, cropped=cropped) for picture in batch]
        for picture, faces, probabilities in zip(batch, found, predictor.probabilities(found), strict=True):
            answers = predictor.describe(faces.detections, probabilities)
            yield PhotoPrediction(picture, answers, faces.problem, faces.left_out)


def find_faces(predictor: Predictor, picture: Picture, *, cropped: bool) -> FoundFaces:
    """A picture's faces, or none of them and the problem."""
    try:
        photo = read_pixels(picture, predictor.settings)
    except UserError as error:
        return FoundFaces([], np.empty((0, *predictor.model.spec.cut.shape), np.uint8), problem=str(error))
    found = predictor.whole_face(photo) if cropped else predictor.find_faces(photo)
    if found.detections:
        return found
    side = predictor.detector.smallest(*photo.shape[:2])
    searched = f"{predictor.detector.name}, at least {side} x {side} pixels"
    hint = "try --cropped if the photo is a face already"
    return replace(found, problem=f"{picture.says}: no face found ({searched}); {hint}.")
