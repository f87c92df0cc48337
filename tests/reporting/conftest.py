from tests.evaluation.conftest import evaluation, pixels

__all__ = ["evaluation", "pixels"]
