"""Pictures of test faces, where the crop that they were cut in is at hand."""

from collections.abc import Iterable
from pathlib import Path

from mien.comparison.subject import Subject
from mien.errors import UserError
from mien.evaluation.report import data_uri, face_png
from mien.faces.packed import PackedFaces, open_faces


def face_pictures(root: Path, subjects: Iterable[Subject], face_ids: Iterable[str]) -> dict[str, str]:
    """The faces as data addresses by face_id, from the crop of one of the subjects' data; empty where none is here.

    Looked at are `build/crop` of the checkout `root` and of the folders that subjects were read from.
    """
    given = list(subjects)
    digests = {one.facts.get("mien.data_digest") for one in given}
    folders = [root, *(Path(one.source) for one in given if Path(one.source).is_absolute())]
    for folder in dict.fromkeys(folders):
        packed = _open(folder / "build/crop")
        if packed is not None and packed.spec["digest"] in digests:
            rows = {str(face): row for row, face in enumerate(packed.index["face_id"])}
            known = [face for face in face_ids if face in rows]
            return {face: data_uri(face_png(packed.pixels[rows[face]])) for face in known}
    return {}


def _open(folder: Path) -> PackedFaces | None:
    """The packed faces, or None where they are not whole: a comparison is worth having without pictures."""
    try:
        return open_faces(folder)
    except (UserError, OSError, ValueError, KeyError):
        return None
