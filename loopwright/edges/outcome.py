"""Small pieces that the performers share: what is said of an error, and how long it took."""

import time
from collections.abc import Iterable

from loopwright.masking import masked

LONGEST_MESSAGE = 300


def said(text: object, secrets: Iterable[str] = ()) -> str:
    """`text` on one line of at most 300 characters, with each of `secrets` and whatever looks like one masked."""
    line = " ".join(unicode(str(text)).split())
    for secret in secrets:
        line = line.replace(secret, "***") if secret else line
    line = masked(line)
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def unicode(text: str) -> str:
    """`text` without lone surrogates, as which bytes of a header that are not UTF-8 come in; they cannot go out as JSON."""
    return text.encode(errors="replace").decode()


def since_ms(started: float) -> int:
    """Whole milliseconds since `started`, a reading of time.monotonic()."""
    return round((time.monotonic() - started) * 1000)
