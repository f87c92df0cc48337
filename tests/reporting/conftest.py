from tests.evaluation.conftest import evaluation, pixels
from tests.registry.conftest import strong, weak

__all__ = ["evaluation", "pixels", "strong", "weak"]
