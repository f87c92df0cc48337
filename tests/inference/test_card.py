"""The model card that a model brings: read where it is there, and no obstacle where it is not."""

from pathlib import Path

from mien.inference.address import load_model_of
from mien.inference.classifier import LONGEST_CARD, read_card
from mien.models.description import CARD
from tests.inference.conftest import write_model


def test_the_card_lies_beside_the_weights(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    assert load_model_of(str(model)).card == ""
    (model / CARD).write_text("# mien-tiny: größer\n", encoding="utf-8")
    assert load_model_of(str(model)).card == "# mien-tiny: größer\n"


def test_a_damaged_card_stops_no_model(tmp_path: Path) -> None:
    (tmp_path / CARD).write_bytes(b"# A card\xff\xfe\n")
    assert read_card(tmp_path) == "# A card\ufffd\ufffd\n"
    (tmp_path / CARD).write_bytes(b"x" * (LONGEST_CARD + 10))
    assert len(read_card(tmp_path)) == LONGEST_CARD
    (tmp_path / CARD).unlink()
    (tmp_path / CARD).mkdir()
    assert read_card(tmp_path) == ""
