"""A row of a data set that cannot be used: why, and as much of it as could be read."""

from typing import Any

from mien.expressions import EXPRESSIONS


class BadRow(Exception):
    """A row that is set aside: a reason in one fixed word, a sentence, and as much of the row as could be read."""

    def __init__(self, reason: str, detail: str, row: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.row = row or {}

    def problem(self, where: str) -> dict[str, str]:
        """The row as one of `Ingested.problems`; `where` names file and line."""
        label = self.row.get("label")
        return {
            "where": where,
            "face_id": str(self.row.get("face_id", "")),
            "image": str(self.row.get("image", "")),
            "label": "" if label is None else EXPRESSIONS[label],
            "reason": self.reason,
            "detail": self.detail,
        }
