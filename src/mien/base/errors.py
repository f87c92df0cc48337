"""Errors that a user can fix, and safe printing of foreign text."""


class UserError(ValueError):
    """Wrong data, configuration or state: its message is one sentence that says what would be right.

    Stages and commands print it and exit with 1, without a traceback.
    """


class WrongSettings(UserError):
    """Wrong values in the configuration: a sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\nmien: ".join(mistakes))
        self.mistakes = mistakes


def printable(text: object) -> str:
    """The text in which nothing acts on a terminal or breaks a line: such characters are written as escapes.

    A name that is no UTF-8, which Python holds as lone surrogates, becomes printable too: `\\xff`.
    """
    return "".join(one if one.isprintable() else _escape(one) for one in str(text))


def _escape(one: str) -> str:
    raw = ord(one) - 0xDC00  # the byte behind a surrogate that stands for one
    return f"\\x{raw:02x}" if 0x80 <= raw <= 0xFF else one.encode("unicode_escape").decode()
