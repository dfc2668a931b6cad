"""Small pieces that the performers share: what is said of an error, and how long a server asks us to wait."""

import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

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


def retry_after_ms(headers: Mapping[str, str], now_s: float) -> int | None:
    """What Retry-After asks for (RFC 9110, 10.2.3: seconds or a date), or OpenAI's retry-after-ms; None where absent or not readable.

    `headers` has lower-case names; `now_s` is the time in seconds since the epoch.
    """
    for name, unit in (("retry-after-ms", 1), ("retry-after", 1000)):
        asked = headers.get(name, "").strip()
        if asked.replace(".", "", 1).isdecimal() and asked.isascii():
            return round(min(float(asked), 1e9) * unit)
    try:
        return max(0, round((parsedate_to_datetime(headers["retry-after"]).timestamp() - now_s) * 1000))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
