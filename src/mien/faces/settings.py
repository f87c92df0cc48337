"""What `conf/crop/*.yaml` and `conf/split/*.yaml` may say."""

from dataclasses import dataclass

COLOURS = ("rgb", "grey")


@dataclass
class CropConfig:
    """How photos become faces of one size."""

    size: int = 64  # pixels; faces are size x size
    colour: str = "rgb"
    min_confidence: float = 30.0  # keep faces above it; a face without a confidence is kept
    max_rows: int = 0  # 0: all; else a random sample of so many rows after the filter
    sample_seed: int = 42
    margin: float = 0.0  # added on each side, as a share of the box's size
    square: bool = False  # widen the shorter side, so that the face is not stretched
    scaled_decoding: bool = True  # JPEG's own 1/2, 1/4, 1/8 decoding where the face is much larger than needed
    apply_exif_rotation: bool = False  # True where boxes were drawn on the photo as viewers show it
    max_megapixels: float = 100.0  # a larger photo is quarantined unread
    workers: int = 0  # 0: one per core

    def __post_init__(self) -> None:
        """Refuse what cannot be cropped."""
        if not 16 <= self.size <= 512:
            raise ValueError(f"size must be 16 to 512 pixels, not {self.size}")
        if self.colour not in COLOURS:
            raise ValueError(f"colour must be one of {', '.join(COLOURS)}, not {self.colour!r}")
        for key in ("max_rows", "workers"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be negative, as {getattr(self, key)} is")
        if not 0 <= self.margin <= 2:
            raise ValueError(f"margin is a share of the box, 0 to 2, not {self.margin}")
        if self.max_megapixels <= 0:
            raise ValueError(f"max_megapixels must be above 0, not {self.max_megapixels}")


@dataclass
class SplitConfig:
    """How faces are shared out to train, validation and test."""

    train: float = 0.70
    val: float = 0.15
    test: float = 0.15
    seed: int = 42
    near_duplicates: bool = True
    similarity: float = 0.98  # correlation of 16 x 16 grey thumbnails from which two crops are one photo
    aligned_similarity: float = 0.95  # the same of two crops laid over each other at the best shift and scale
    min_per_class: int = 2  # faces of each class that every part must hold
    keep_official: bool = True  # a split that the data set brings is kept
    clean_training: bool = False  # leave out of training: copies of val or test faces, repeats, constant faces

    def __post_init__(self) -> None:
        """Refuse shares that are no shares."""
        shares = (self.train, self.val, self.test)
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"train, val and test must be above 0 and add up to 1, not {shares}")
        for key in ("similarity", "aligned_similarity"):
            if not 0.5 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} is a correlation from 0.5 to 1, not {getattr(self, key)}")
        if self.min_per_class < 1:
            raise ValueError(f"min_per_class must be at least 1, not {self.min_per_class}")
