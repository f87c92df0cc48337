"""Page events: an upload or a camera picture to HTML, or a sentence on failure."""

import base64
import binascii
import logging
from collections.abc import Callable
from typing import Any, Final

from mien.app.answers import Answerer
from mien.app.cards import live_answer, notice, photo_answer, video_answer
from mien.app.clip import watch
from mien.app.pictures import shown_photo
from mien.app.turns import Refused
from mien.app.uploads import Uploads

log = logging.getLogger(__name__)
FAILED: Final = "Something went wrong on this server; there is no answer."
NO_CARD: Final = "This model has no card."


def in_a_sentence(answer: Callable[[], str]) -> str:
    """The answer, or the sentence of what went wrong: no visitor sees more than that."""
    try:
        return answer()
    except Refused as refused:
        return notice(str(refused))
    except Exception:
        log.exception("An answer failed.")
        return notice(FAILED)


class Visitor:
    """The events of the page."""

    def __init__(self, answerer: Answerer, uploads: Uploads) -> None:
        self._answerer = answerer
        self._uploads = uploads

    def photo(self, upload: dict[str, Any] | None) -> tuple[str, None]:
        """The answer to an uploaded photo, and an empty drop zone for the next one."""
        return in_a_sentence(lambda: self._photo(upload)), None

    def video(self, upload: dict[str, Any] | None) -> tuple[str, None]:
        """The answer to an uploaded video, and an empty drop zone for the next one."""
        return in_a_sentence(lambda: self._video(upload)), None

    def frame(self, picture: dict[str, Any] | None) -> str:
        """The answer to a picture of the camera, as the browser sends it: in a data: address."""
        return in_a_sentence(lambda: self._frame(picture))

    def card(self) -> str:
        """The card of the model of this moment, Markdown."""
        return self._answerer.current.model.card or NO_CARD

    def _photo(self, upload: dict[str, Any] | None) -> str:
        data = self._uploads.read(upload)
        answer = self._answerer.answer(data, heat=True)
        photos = self._answerer.photos
        return photo_answer(answer, shown_photo(data, answer, photos.max_megapixels), photos.unsure_below)

    def _video(self, upload: dict[str, Any] | None) -> str:
        watched = watch(self._answerer, self._uploads.file(upload))
        return video_answer(watched, self._answerer.photos.unsure_below)

    def _frame(self, picture: dict[str, Any] | None) -> str:
        data = _of_data_address((picture or {}).get("url"))
        answer = self._answerer.answer(data)
        photos = self._answerer.photos
        return live_answer(answer, shown_photo(data, answer, photos.max_megapixels), photos.unsure_below)


def _of_data_address(url: Any) -> bytes:
    """The bytes in `data:image/jpeg;base64,...`."""
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise Refused("The camera sent no picture.", 400)
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise Refused("The camera sent no picture.", 400) from error
