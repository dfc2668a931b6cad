"""Rates: how often something is called, as a leaky bucket (aiolimiter). One performer's calls are counted, no other's."""

from collections.abc import Mapping
from typing import Any

from aiolimiter import AsyncLimiter


class Rates:
    """A bucket per name and rate. To be used from one event loop."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, float, int], AsyncLimiter] = {}

    async def wait(self, name: str, rate: Mapping[str, Any] | None) -> None:
        """Wait for the next call's turn, first come first served. `rate` is {"per_second", "burst"}; None: no limit."""
        if rate is None:
            return
        per_second, burst = float(rate["per_second"]), max(1, int(rate["burst"]))
        key = (name, per_second, burst)
        if key not in self._buckets:
            self._buckets[key] = AsyncLimiter(burst, burst / per_second)
        await self._buckets[key].acquire()
