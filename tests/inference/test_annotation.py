"""What is drawn into pictures of every size."""

import numpy as np
import pytest

from mien.inference.annotation import COLOURS, READABLE, draw_faces, draw_into
from mien.runtime.cut import Box


def _share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=-1) <= 2).mean())


YELLOW = (0xF0, 0xE4, 0x42)


@pytest.mark.parametrize("side", [48, 300, 1200, 4000])
def test_box_and_tag_are_drawn_on_a_picture_of_any_size(side: int) -> None:
    picture = np.full((side, side, 3), 128, np.uint8)
    box = Box(side // 3, side // 3, side * 2 // 3, side * 2 // 3)
    drawn = draw_faces(picture, [(box, "1  happy 90%", "happy")])
    assert (picture == 128).all()
    assert min(drawn.shape[:2]) >= min(max(side, READABLE), side * 10)
    by = drawn.shape[0] // side
    tag = drawn[: box.top * by, box.left * by : box.right * by]
    assert _share(tag, YELLOW) > 0.02
    assert (tag == 0).any()  # letters
    inside = drawn[(box.top + side // 9) * by : (box.bottom - side // 9) * by, (box.left + side // 9) * by :][
        :, : side // 9
    ]
    assert _share(inside, (128, 128, 128)) == 1


@pytest.mark.parametrize("box", [(0, 0, 60, 60), (40, 40, 100, 100), (0, 0, 100, 100), (90, 90, 100, 100)])
def test_a_tag_at_the_edge_stays_in_the_picture(box: tuple[int, ...]) -> None:
    drawn = draw_faces(np.zeros((100, 100, 3), np.uint8), [(Box(*box), "12  unsure: surprise 100%", "surprise")])
    assert _share(drawn, (0xE6, 0x9F, 0x00)) > 0.005


def test_tags_of_neighbours_do_not_hide_each_other() -> None:
    """The first one's tag has no place but below, where the second one's would stand above."""
    picture = np.full((600, 600, 3), 128, np.uint8)
    one = draw_faces(picture, [(Box(0, 200, 300, 300), "1  happy 90%", "happy")])
    both = draw_faces(
        picture, [(Box(0, 200, 300, 300), "1  happy 90%", "happy"), (Box(330, 210, 450, 310), "2", "sad")]
    )
    assert _share(both, YELLOW) == pytest.approx(_share(one, YELLOW), rel=0.02)


def test_every_expression_has_a_colour_and_so_has_one_of_another_name() -> None:
    assert len(set(COLOURS.values())) == 7
    picture = np.zeros((500, 500, 3), np.uint8)
    draw_into(picture, [(Box(100, 100, 300, 300), "1  contempt 50%", "contempt")])
    assert _share(picture, (0x56, 0xB4, 0xE9)) > 0.01


def test_a_picture_of_a_pixel_can_be_drawn_on() -> None:
    assert draw_faces(np.zeros((1, 1, 3), np.uint8), [(Box(0, 0, 1, 1), "1  happy 90%", "happy")]).shape[2] == 3
