"""`mien card`."""

from pathlib import Path

from tests.cli.conftest import Command
from tests.inference.conftest import write_model


def test_the_champions_card_is_markdown_where_no_terminal_is(mien: Command, two_champions: Path) -> None:
    done = mien("card")
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("# Model card: mien-tiny\n") and done.out.endswith("bit for bit.\n")
    assert mien("card", "models:/mien-tiny/2").out == done.out
    assert mien("card", "models:/mien-tiny/1").out != done.out


def test_a_model_without_a_card_and_no_model_are_sentences(mien: Command, two_champions: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "old")
    done = mien("card", folder)
    assert (done.code, done.out) == (1, "") and f"{folder} brings no model card" in done.err
    (folder / "card.md").write_text("# Mine\n")
    assert mien("card", folder).out == "# Mine\n"
    gone = mien("card", "models:/mien-other@champion")
    assert gone.code == 1 and "there is no models:/mien-other@champion yet" in gone.err
