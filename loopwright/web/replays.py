"""Which signed deliveries were taken, for as long as their signatures are fresh: what tells a replay from a sender's next attempt.

A sender that saw no answer signs anew: the same id and body with a later time is its next attempt, and is answered as the first one was.
The same id and time again is a copy of a request that was taken, or was taken before under other content: a replay. Pure; times are given.
"""

from dataclasses import dataclass, field
from enum import Enum

from loopwright.edges.signing import TOLERANCE_S, Signed

_SWEEP_S = 60


class Standing(Enum):
    """What a signed request is."""

    FRESH = "take it, then say so"
    UNDER_WAY = "an attempt at this delivery is being taken"
    AGAIN = "the next attempt at a delivery that was taken"
    REPLAYED = "a copy of a request that was taken, or its id with other content"


@dataclass(slots=True)
class _Delivery:
    digest: bytes
    at_s: set[int]
    until_s: float
    taken: bool = False


@dataclass(slots=True)
class Replays:
    """The deliveries of the last minutes."""

    _known: dict[tuple[str, str], _Delivery] = field(default_factory=dict)
    _swept_s: float = 0.0

    def begin(self, signed: Signed, now_s: float) -> Standing:
        """What this request is. After FRESH, `taken` or `dropped` must follow."""
        self._sweep(now_s)
        key, until_s = (signed.sender, signed.message), max(now_s, signed.at_s) + 2 * TOLERANCE_S
        known = self._known.get(key)
        if known is None:
            self._known[key] = _Delivery(signed.digest, {signed.at_s}, until_s)
            return Standing.FRESH
        if known.digest != signed.digest:
            return Standing.REPLAYED
        if not known.taken:
            return Standing.UNDER_WAY
        if signed.at_s in known.at_s:
            return Standing.REPLAYED
        known.at_s.add(signed.at_s)
        known.until_s = max(known.until_s, until_s)
        return Standing.AGAIN

    def taken(self, signed: Signed) -> None:
        """The request stands in the log."""
        self._known[signed.sender, signed.message].taken = True

    def dropped(self, signed: Signed) -> None:
        """The request came to nothing: it may be sent again as it is."""
        self._known.pop((signed.sender, signed.message), None)

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s > _SWEEP_S:
            self._swept_s = now_s
            self._known = {key: known for key, known in self._known.items() if known.until_s > now_s}
