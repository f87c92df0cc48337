"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", ICONIP 2013), as it is distributed.

One csv with a row per face of 48 x 48 grey pixels, `emotion,pixels,Usage`, or with the columns in another order.
Its official split is kept: Training, PublicTest as validation, PrivateTest as test.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from mien.errors import UserError
from mien.sources.fer2013_csv import Row, read_csv, row_name
from mien.sources.fer2013_file import find_csv
from mien.sources.fer2013_photos import RowPhotos, unpack_pixels
from mien.sources.protocol import Source
from mien.sources.table import WHOLE_PHOTO, Ingested, faces_table, problems_table


@dataclass(frozen=True)
class Fer2013:
    """The source `fer2013`: a face's id and photo are its row, `row-00000` the first after the header."""

    expects: ClassVar[str] = "fer2013.csv, plain, .gz, .xz or in fer2013.tar.gz; or icml_face_data.csv"

    def ingest(self, folder: Path) -> Ingested:
        """Every usable row of the csv, and every row that was set aside; memory does not hold the pixels.

        Raises:
            UserError: the csv is missing, stands there twice, is damaged or empty, lacks a column, or no row can
                be used.
        """
        file = find_csv(folder)
        rows: list[Row] = []
        problems: list[dict[str, str]] = []
        for chunk in read_csv(file):
            rows += [row._replace(pixels=b"") for row in chunk.rows]
            problems += chunk.problems
        if not rows:
            if not problems:
                raise UserError(f"{file} holds a header and no row; it needs a row for each face.")
            first = f"the first: {problems[0]['where']}: {problems[0]['detail']}"
            raise UserError(f"{file} has no usable row ({len(problems)} were set aside; {first}).")
        names: list[object] = [row_name(row.number) for row in rows]
        edges = dict(zip(("top", "left", "right", "bottom"), ([edge] * len(rows) for edge in WHOLE_PHOTO), strict=True))
        columns: dict[str, list[object]] = {
            "face_id": names,
            "image": names,
            **{edge: list(values) for edge, values in edges.items()},
            "label": [row.label for row in rows],
            "source_split": [row.part for row in rows],
        }
        return Ingested(faces_table(columns), problems_table(problems))

    def photos(self, folder: Path, unpack_to: Path) -> RowPhotos:
        """The faces as photos, their pixels kept below `unpack_to` as one array (83 MB for the whole set).

        Raises:
            UserError: as `ingest`.
        """
        return RowPhotos(unpack_pixels(find_csv(folder), unpack_to))


SOURCE: Final[type[Source]] = Fer2013
