"""What `conf/predict.yaml` may say: how faces are found in photos, and how much of a photo is taken at all."""

from dataclasses import dataclass
from typing import Final

DETECTORS: Final = ("haar", "lbp", "yunet")


@dataclass(frozen=True)
class PredictConfig:
    """The same for the command line, videos and the web page."""

    detector: str = "haar"
    detector_file: str = ""  # of lbp and yunet; "" is where `mien detector` puts it
    min_face: int = 40  # pixels of the shorter side of a box
    min_score: float = 0.7  # of detectors that give one, from 0 to 1
    max_faces: int = 200  # in a photo; the largest are kept
    max_megapixels: float = 100.0
    max_megabytes: float = 50.0  # of a photo's file
    unsure_below: float = 0.5  # an answer whose likeliest expression is below this is called unsure

    def __post_init__(self) -> None:
        """Refuse what no detector and no probability has."""
        if self.detector not in DETECTORS:
            raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, not {self.detector!r}")
        if self.min_face < 20:
            raise ValueError(f"min_face must be at least 20 pixels, not {self.min_face}")
        for key in ("min_score", "unsure_below"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be from 0 to 1, not {getattr(self, key):g}")
        for key in ("max_faces", "max_megapixels", "max_megabytes"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key):g}")
