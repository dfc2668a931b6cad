"""Rates: how often something is called or taken, as a leaky bucket (aiolimiter). What one process does is counted, no other's."""

from collections.abc import Mapping
from typing import Any

from aiolimiter import AsyncLimiter


class Rates:
    """A bucket per name and rate. To be used from one event loop."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, float, int], AsyncLimiter] = {}

    async def wait(self, name: str, rate: Mapping[str, Any] | None) -> None:
        """Wait for the next call's turn, first come first served. `rate` is {"per_second", "burst"}; None: no limit."""
        if rate is not None:
            await self._bucket(name, rate).acquire()

    async def take(self, name: str, rate: Mapping[str, Any]) -> bool:
        """Whether there is a turn left now; if so, it is used up. `rate` as above."""
        bucket = self._bucket(name, rate)
        if not bucket.has_capacity():
            return False
        await bucket.acquire()
        return True

    def _bucket(self, name: str, rate: Mapping[str, Any]) -> AsyncLimiter:
        per_second, burst = float(rate["per_second"]), max(1, int(rate["burst"]))
        key = (name, per_second, burst)
        if key not in self._buckets:
            self._buckets[key] = AsyncLimiter(burst, burst / per_second)
        return self._buckets[key]
