"""What went wrong with a store: in a few words, and whether the store was reached at all."""

import re
from typing import Final

# What stands in MLflow's messages, which quote whole chains of exceptions, and what it means.
KNOWN: Final = {
    "Connection refused": "Connection refused",
    "timed out": "timed out",
    "too many 500 error responses": "too many 500 error responses",
    "error code 401": "it wants another MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "error code 403": "it does not allow this user, or this name of the server",
}
# MLflow's client says so where a request got no answer, and where 5xx is all that it got.
NO_ANSWER: Final = ("failed with exception", "failed with timeout exception")


def first_line(error: BaseException) -> str:
    """What an exception says, in a few words."""
    text = str(error).strip() or type(error).__name__
    known = [meaning for words, meaning in KNOWN.items() if words in text]
    return known[0] if known else text.splitlines()[0][:200]


def shown(uri: str) -> str:
    """A store's address as people and logs may see it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def is_unreachable(uri: str, error: BaseException) -> bool:
    """Whether a server gave no answer, so that the same request may do later; never of an sqlite file.

    An answer that refuses (a wrong password, a missing right, a wrong address) is no failure to reach it.
    """
    if uri.startswith(("http://", "https://")):
        text = str(error)
        return any(words in text for words in NO_ANSWER) or isinstance(error, ConnectionError | TimeoutError)
    return not uri.startswith("sqlite:") and "OperationalError" in f"{type(error).__name__} {error}"
