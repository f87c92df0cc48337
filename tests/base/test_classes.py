"""The classes: seven, or eight with contempt."""

import pytest

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT, class_names


def test_a_position_means_the_same_expression_in_every_set_of_classes() -> None:
    assert class_names(7) == EXPRESSIONS == WITH_CONTEMPT[:7]
    assert class_names(8) == WITH_CONTEMPT


def test_other_numbers_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="6 classes are not supported, only 7 or 8"):
        class_names(6)
