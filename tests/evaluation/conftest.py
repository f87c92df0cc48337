import numpy as np
import pytest

from tests.evaluation.drawing import drawn


@pytest.fixture
def labels_and_logits() -> tuple[np.ndarray, np.ndarray]:
    return drawn(400)
