"""The face detectors by name."""

from mien.predict.cascade import SEARCHED, CascadeDetector
from mien.predict.detection import Detector
from mien.predict.detector_files import file_of
from mien.predict.settings import PredictConfig


def build_detector(config: PredictConfig) -> Detector:
    """The detector that `conf/predict.yaml` or an option chose.

    Raises:
        UserError: its file is missing or cannot be read.
    """
    longest = max(SEARCHED, config.min_face)
    if config.detector == "haar":
        return CascadeDetector(smallest=config.min_face, longest=longest)
    file = file_of(config.detector, config.detector_file)
    if config.detector == "lbp":
        return CascadeDetector(file, name="LBP cascade", smallest=config.min_face, longest=longest)
    from mien.predict.yunet import YuNetDetector

    return YuNetDetector(file, min_score=config.min_score, smallest=config.min_face)
