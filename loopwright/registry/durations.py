"""Durations as a person writes them ("30s", "500ms", "2m", "1h") and as the program holds them: whole milliseconds."""

import re
from datetime import datetime

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", re.ASCII)


def to_ms(text: str) -> int:
    """The milliseconds in `text`. Raises ValueError, saying what form is wanted, for anything else."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("is not a duration; write a number and ms, s, m or h, as in 30s")
    return round(float(found[1]) * UNITS_MS[found[2]])


def moment_ms(text: str, now_ms: int) -> int:
    """The moment in `text`, in ms since the epoch: a time as in RFC 3339, or how long before `now_ms`.

    Raises ValueError, saying what form is wanted, for anything else.
    """
    try:
        return now_ms - to_ms(text)
    except ValueError:
        pass
    try:
        said = datetime.fromisoformat(text.strip())
    except ValueError:
        said = None
    if said is None or said.tzinfo is None:
        raise ValueError("is neither a duration, as in 2h, nor a time with its zone, as in 2026-01-31T12:00:00Z")
    return int(said.timestamp() * 1000)


def shown(ms: int) -> str:
    """`ms` in the largest unit that leaves a whole number, as in 90s or 2m."""
    for unit, size in reversed(UNITS_MS.items()):
        if ms >= size and ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"
