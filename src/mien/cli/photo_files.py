"""What a command's arguments name: files, folders, globs that the shell left alone, and standard input."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PHOTOS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".mpo")
VIDEOS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv", ".ts")
STDIN: Final = "-"


@dataclass
class Named:
    """What was found, in the order of the arguments, each file once."""

    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # a sentence for each argument that names nothing
    remarks: list[str] = field(default_factory=list)  # what was passed over, and is no failure


def find_photos(arguments: list[str]) -> Named:
    """The files that the arguments name; of a folder its photos, to its depths, and "-" as it stands."""
    named = Named()
    files: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if argument != STDIN and path.is_dir():
            found = _in_folder(path, named)
        elif argument == STDIN or path.exists():
            found = [path]
        else:
            found = _matching(argument, named)
        files.update(dict.fromkeys(found))
    named.files = list(files)
    return named


def is_video(file: Path) -> bool:
    """Whether a file's name is that of a video."""
    return file.suffix.lower() in VIDEOS


def standard_input(at_most: int) -> bytes:
    """What was piped in, up to one byte more than `at_most`, so that a photo too large is told from one that fits."""
    return sys.stdin.buffer.read(at_most + 1)


def _in_folder(folder: Path, named: Named) -> list[Path]:
    everything = sorted(file for file in folder.rglob("[!.]*") if file.is_file())
    photos = [file for file in everything if file.suffix.lower() in PHOTOS]
    others = len(everything) - len(photos)
    if not photos:
        named.problems.append(f"{folder}: no photo in this folder (of {', '.join(PHOTOS)}).")
    elif others:
        videos = sum(is_video(file) for file in everything)
        seen = f", {videos:,} of them video{'s' * (videos != 1)} (a video is taken when it is named)" if videos else ""
        named.remarks.append(f"{folder}: skipped {others:,} file{'s' * (others != 1)} other than photos{seen}.")
    return photos


def _matching(argument: str, named: Named) -> list[Path]:
    path = Path(argument)
    if any(sign in argument for sign in "*?["):
        root = Path(path.anchor)  # "" for a relative pattern
        found = sorted(file for file in root.glob(str(path.relative_to(root))) if file.is_file())
        if not found:
            named.problems.append(f"{argument}: no file matches.")
        return found
    named.problems.append(f"{argument}: there is no such file.")
    return []
