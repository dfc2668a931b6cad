"""The machine's clock. What decides does not read it: it is told the time."""

import time


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
