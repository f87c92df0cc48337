import numpy as np
import pytest

from mien.evaluation.scoring import EvaluateConfig, Evaluation
from tests.evaluation.drawing import drawn, evaluate_logits, index_of


@pytest.fixture
def labels_and_logits() -> tuple[np.ndarray, np.ndarray]:
    return drawn(400)


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    """Of 120 faces, ten of them leaked, by an overconfident model."""
    val_labels, val_logits = drawn(200, 1)
    labels, logits = drawn(120, 2)
    index = index_of(labels)
    index.loc[:9, "leaked"] = True
    return evaluate_logits(3 * val_logits, val_labels, 3 * logits, index, EvaluateConfig(bootstrap=200))


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """A face for each of the evaluation's, (120, 48, 48, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (120, 48, 48, 3), dtype=np.uint8)
