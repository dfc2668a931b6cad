"""Flink's counters, told of several counts at once: each telling is a call into Java, which costs more than a count is worth."""

import time
from typing import Any

TOLD_EVERY_S = 0.25


class Counters:
    """Counters of the metric group `group`, by name, made when they are first needed."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._made: dict[str, Any] = {}
        self._counted: dict[str, int] = {}
        self._told_s = 0.0

    def count(self, name: str) -> None:
        """Add one to a counter."""
        self._counted[name] = self._counted.get(name, 0) + 1

    def tell(self, at_once: bool) -> None:
        """Tell Flink what was counted; unless `at_once`, only where the last time is a while ago."""
        if not self._counted or not (at_once or time.monotonic() - self._told_s >= TOLD_EVERY_S):
            return
        counted, self._counted, self._told_s = self._counted, {}, time.monotonic()
        for name, number in counted.items():
            if name not in self._made:
                self._made[name] = self._group.counter(name)
            self._made[name].inc(number)
