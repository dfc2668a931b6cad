"""Waiting for a condition with a deadline; and the end of a log for the message when it does not come true."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from loopwright.errors import PlatformFailed

T = TypeVar("T")

INTERVAL_S = 0.05
TAIL_LINES = 15
TAIL_BYTES = 65_536


def wait_for(probe: Callable[[], T | None], seconds: float) -> T | None:
    """The first value of `probe` that is not None or False, or None when `seconds` have passed. Asks at least once."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value is not None and value is not False:
            return value
        if time.monotonic() >= deadline:
            return None
        time.sleep(INTERVAL_S)


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.replace("\0", "").splitlines() if line.strip()][-lines:])


def failed(what: str, why: str, log: Path, remedy: str = "") -> PlatformFailed:
    """The error for a service that did not start or stop, with the end of its log."""
    tail = log_tail(log)
    said = f"{why}; the log ends with:\n{tail}" if tail else f"{why}; its log is empty"
    return PlatformFailed(what, said, remedy or f"read {log}, then `loopwright doctor`")
