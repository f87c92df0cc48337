"""Request bodies: limits on size and duration."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

from mien.app.turns import Refused

GONE: Final[Message] = {"type": "http.disconnect"}


class Body:
    """Receives for an application, which sees a client that left where a limit is passed; `refused` says which.

    `count` is told the bytes of each part, and answers whether the server can hold so many on their way.
    """

    def __init__(self, receive: Receive, most: int, seconds: float, count: Callable[[int], bool]) -> None:
        self.refused: Refused | None = None
        self._receive = receive
        self._most = most
        self._count = count
        self._got = 0
        self._whole = False
        self._until = asyncio.get_running_loop().time() + seconds
        self._seconds = seconds

    async def __call__(self) -> Message:
        """The next part, or a client that left."""
        if self.refused:
            return GONE
        if self._whole:  # from now on it is only asked whether the client is still there
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            return self._refuse(f"The upload took longer than {self._seconds:g} seconds.", 408)
        return self._looked_at(message)

    def _looked_at(self, message: Message) -> Message:
        part = len(message.get("body", b""))
        self._got += part
        self._whole = not message.get("more_body", False)
        if self._got > self._most:
            return self._refuse(f"An upload may have at most {self._most / 1e6:,.1f} MB.", 413)
        if not self._count(part):
            return self._refuse("Too many uploads at once; please try again in a moment.", 503)
        return message

    def _refuse(self, sentence: str, status: int) -> Message:
        self.refused = Refused(sentence, status)
        return GONE
