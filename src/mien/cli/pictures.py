"""The pictures behind the files that a command was given: photos, standard input, and frames of videos."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mien.base.errors import UserError
from mien.cli.photo_files import STDIN, is_video, standard_input
from mien.inference.predictor import Picture

if TYPE_CHECKING:
    from mien.inference.detectors import PredictConfig
    from mien.inference.predictor import PhotoPrediction


class Pictures:
    """Reads each picture when it is its turn."""

    def __init__(self, files: list[Path], limits: "PredictConfig", every: float) -> None:
        self._files = files
        self._limits = limits
        self._every = every
        self.expected = sum(1 if not is_video(file) else 10 for file in files)  # enough of them for a bar
        self.problems: list[str] = []  # a sentence for each video of which not all could be read

    def __iter__(self) -> Iterator[Picture]:
        """Each photo, and of each video a frame in `every` seconds."""
        for file in self._files:
            if str(file) == STDIN:
                yield Picture(file, data=standard_input(int(self._limits.max_megabytes * 1e6)))
            elif is_video(file):
                yield from self._frames(file)
            else:
                yield Picture(file)

    def without_a_face(self, found: "list[PhotoPrediction]") -> list[str]:
        """A sentence for each video in which no frame that was looked at had a face."""
        frames: dict[Path, list[bool]] = {}
        for one in found:
            if one.picture.time is not None:
                frames.setdefault(one.picture.file, []).append(bool(one.faces))
        return [
            f"{file}: no face found in {len(seen):,} frame{'s' * (len(seen) != 1)}, one in {self._every:g} s."
            for file, seen in frames.items()
            if not any(seen)
        ]

    def _frames(self, file: Path) -> Iterator[Picture]:
        from mien.inference.video import opened

        try:
            with opened(file) as video:
                for frame in video.frames(every=self._every):
                    yield Picture(file, frame=frame.pixels, time=frame.time)
                if video.problem:
                    self.problems.append(video.problem)
        except UserError as error:
            self.problems.append(str(error))
