"""How soon new results came after a kill. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill that was carried out: the part, its pid, when (ms since the epoch), and how many workflows were in flight."""

    part: str
    pid: int
    at_ms: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some seconds, and how many there were."""

    count: int
    min_s: float
    median_s: float
    max_s: float


def recovery_s(killed: Killed, ends_ms: Sequence[int]) -> float | None:
    """Seconds from a kill to the first result of another workflow; None where none came. `ends_ms`: ascending, one for each workflow."""
    at = bisect_right(ends_ms, killed.at_ms)
    return (ends_ms[at] - killed.at_ms) / 1000 if at < len(ends_ms) else None


def spread(seconds: Sequence[float]) -> Spread | None:
    """Their spread; None where there are none."""
    return Spread(len(seconds), min(seconds), median(seconds), max(seconds)) if seconds else None


def by_part(kills: Sequence[Killed], ends_ms: Sequence[int]) -> dict[str, Spread | None]:
    """The spread of the recovery times of each part that was killed."""
    found: dict[str, list[float]] = {}
    for killed in kills:
        found.setdefault(killed.part, [])
        if (seconds := recovery_s(killed, ends_ms)) is not None:
            found[killed.part].append(seconds)
    return {part: spread(seconds) for part, seconds in found.items()}
