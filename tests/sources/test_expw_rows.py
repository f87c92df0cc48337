import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.sources.expw import parse_row
from mien.sources.table import BadRow

GOOD = "a.jpg 2 28 113 226 141 22.9362 0"


def test_the_order_is_top_left_right_bottom() -> None:
    row = parse_row(GOOD)
    assert (row["top"], row["left"], row["right"], row["bottom"]) == (28, 113, 226, 141)
    assert (row["face_id"], row["image"], row["confidence"], row["label"]) == ("a.jpg:2", "a.jpg", 22.9362, 0)


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ("a.jpg 0 1 2 3", "malformed_row", "5 fields where 8"),
        ("a b.jpg 0 1 2 30 40 50 0", "malformed_row", "9 fields where 8"),
        ("a.jpg x 1 2 30 40 50 0", "malformed_row", "face_id_in_image 'x'"),
        ("a.jpg 0 1.5 2 30 40 50 0", "malformed_row", "top '1.5'"),
        ("a.jpg 0 1 2 99999999999 40 50 0", "malformed_row", "right 99999999999"),
        ("a.jpg 0 1 2 30 40 high 0", "malformed_row", "confidence 'high'"),
        ("a.jpg 0 1 2 30 40 nan 0", "malformed_row", "finite"),
        ("../a.jpg 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("/etc/passwd 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("C:\\a.jpg 0 1 2 30 40 50 0", "malformed_row", "leads out"),
        ("a\ufffd.jpg 0 1 2 30 40 50 0", "malformed_row", "UTF-8"),
        ("a.jpg 0 1 2 30 40 50 7", "unknown_label", "label '7' is not one of 0 to 6"),
        ("a.jpg 0 1 2 30 40 50 happy", "unknown_label", "'happy'"),
        ("a.jpg 0 1 2 30 40 50 -1", "unknown_label", "'-1'"),
        ("a.jpg 0 1 30 2 40 50 0", "swapped_box", "right 2 is less than left 30"),
        ("a.jpg 0 40 2 30 1 50 0", "swapped_box", "bottom 1 is less than top 40"),
        ("a.jpg 0 1 2 2 40 50 0", "empty_box", "both 2"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(line: str, reason: str, says: str) -> None:
    with pytest.raises(BadRow) as caught:
        parse_row(line)
    assert caught.value.reason == reason
    assert says in caught.value.detail


@given(st.text(alphabet=st.characters(blacklist_characters="\n"), max_size=60))
def test_any_text_is_a_row_or_a_bad_row(line: str) -> None:
    try:
        row = parse_row(line)
    except BadRow as bad:
        assert bad.reason and bad.detail
    else:
        assert row["top"] < row["bottom"] and row["left"] < row["right"] and 0 <= row["label"] <= 6


@given(st.lists(st.integers(-300, 300), min_size=4, max_size=4), st.integers(0, 6))
def test_a_box_is_kept_as_written_or_named(box: list[int], label: int) -> None:
    top, left, right, bottom = box
    line = f"a.jpg 0 {top} {left} {right} {bottom} 31.5 {label}"
    if top < bottom and left < right:
        assert [parse_row(line)[k] for k in ("top", "left", "right", "bottom")] == box
    else:
        with pytest.raises(BadRow, match=r"less than|both"):
            parse_row(line)
