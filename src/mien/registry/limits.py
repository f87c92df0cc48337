"""How large an image the registered model takes; saved with the model, and overruled by whoever serves it."""

from collections.abc import Mapping
from typing import Any, Final

from mien.errors import UserError

# Each is of a picture of ONE face; a request in flight may hold one decoded: 3 bytes a pixel.
LIMITS: Final = {"max_megapixels": 50.0, "max_megabytes": 20.0}


def limits_from(given: Mapping[str, Any] | None) -> dict[str, float]:
    """The limits of a model's configuration in MLflow; those that it does not name are LIMITS.

    Raises:
        UserError: a limit is no number above 0.
    """
    limits = {name: (given or {}).get(name, default) for name, default in LIMITS.items()}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise UserError(f"the model's configuration {name} must be a number above 0, not {value!r}.")
    return {name: float(value) for name, value in limits.items()}
