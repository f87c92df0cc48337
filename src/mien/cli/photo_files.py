"""The photos that a command's arguments name: files, folders, and globs that the shell left alone."""

from pathlib import Path
from typing import Final

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".mpo")


def find_photos(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """The files in the order of the arguments, each once, and a sentence for each argument that names none."""
    files: dict[Path, None] = {}
    problems = []
    for argument in arguments:
        found, problem = _photos_of(argument)
        files.update(dict.fromkeys(found))
        if problem:
            problems.append(problem)
    return list(files), problems


def _photos_of(argument: str) -> tuple[list[Path], str]:
    path = Path(argument)
    if path.is_dir():
        found = sorted(p for p in path.rglob("[!.]*") if p.suffix.lower() in SUFFIXES and p.is_file())
        return found, "" if found else f"{argument}: no photo in this folder (of {', '.join(SUFFIXES)})."
    if path.exists():
        return [path], ""
    if any(sign in argument for sign in "*?["):
        root = Path(path.anchor)  # "" for a relative pattern
        photos = sorted(p for p in root.glob(str(path.relative_to(root))) if p.is_file())
        return photos, "" if photos else f"{argument}: no file matches."
    return [], f"{argument}: there is no such file."
