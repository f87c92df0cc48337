"""Independent random streams of one training: order of the faces, augmentation, dropout."""

from typing import Final

from numpy.random import SeedSequence

ORDER: Final = 1  # of the faces in an epoch
AUGMENT: Final = 2  # of one face in an epoch
DROPOUT: Final = 3  # of one step


def stream(seed: int, kind: int, *place: int) -> SeedSequence:
    """The stream at a place, such as an epoch, of the training with this seed.

    Nothing is added up: the second epoch of seed 42 would then be the first of seed 43, and trainings with
    neighbouring seeds would differ less than trainings do.
    """
    return SeedSequence([seed, kind, *place])


def derived_seed(*parts: int) -> int:
    """A seed for each list of numbers, of which neighbouring ones are independent."""
    return int(SeedSequence(parts).generate_state(1)[0])
