"""How long to wait before the next attempt. Pure: the jitter comes from a hash of what is retried, so that a replay waits the same."""

import hashlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_MS = 3_600_000


def backoff_ms(attempt: int, key: str, *, initial_ms: int, max_ms: int, multiplier: float = 2.0, retry_after_ms: int | None = None) -> int:
    """Milliseconds before attempt `attempt` + 1, where `attempt` >= 1 have failed.

    Exponential, with half of it jittered (AWS Architecture Blog, "Exponential Backoff And Jitter"). A Retry-After asks for at least
    that long; it is honoured up to an hour.
    """
    ceiling = min(float(max_ms), initial_ms * multiplier ** min(attempt - 1, 64))
    waited = int(ceiling / 2 + ceiling / 2 * _share(f"{key}/{attempt}"))
    return max(waited, min(retry_after_ms or 0, LONGEST_RETRY_AFTER_MS))


def spread_ms(wait_ms: int, key: str) -> int:
    """`wait_ms` and up to a quarter more (or half a second), by `key`: those who were told the same time do not come back all at once."""
    return wait_ms + int(max(500, wait_ms / 4) * _share(key))


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """What Retry-After asks for (RFC 9110, 10.2.3: seconds or a date), or OpenAI's retry-after-ms; None where absent or not readable.

    `headers` has lower-case names; `now_ms` is the time in ms since the epoch.
    """
    for name, unit in (("retry-after-ms", 1), ("retry-after", 1000)):
        asked = headers.get(name, "").strip()
        if asked.replace(".", "", 1).isdecimal() and asked.isascii():
            return round(min(float(asked), 1e9) * unit)
    try:
        return max(0, round(parsedate_to_datetime(headers["retry-after"]).timestamp() * 1000 - now_ms))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _share(key: str) -> float:
    """A number from 0 up to 1, always the same for a key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
