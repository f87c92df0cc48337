"""The face detectors by name."""

from mien.errors import UserError
from mien.predict.cascade import CascadeDetector
from mien.predict.detection import Detector
from mien.predict.settings import PredictConfig


def build_detector(config: PredictConfig) -> Detector:
    """The detector that `conf/predict.yaml` or an option chose.

    Raises:
        UserError: its file is missing or cannot be read.
    """
    if config.detector == "haar":
        return CascadeDetector(smallest=config.min_face)
    raise UserError(f"detector {config.detector} cannot be used yet; haar can.")
