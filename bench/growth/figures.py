"""What the growth measurements come to: slopes, gaps and shares, of numbers that were measured elsewhere. Pure."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from loopwright.testing.soak.trend import slope

AFTER_NS = 50_000_000  # what a checkpoint holds up may come this much after its end


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint: its number, when it was triggered (ms since the epoch), how long it took (ms), and the size of its state (bytes)."""

    id: int
    at_ms: int
    took_ms: int
    size: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that one more workflow takes: in the JVM's heap, and in the process outside of it."""

    heap: float
    rest: float

    @property
    def total(self) -> float:
        """Both."""
        return self.heap + self.rest


def memory(points: Sequence[tuple[int, float, float]]) -> Memory:
    """The slopes over (workflows, heap in use, resident memory outside of the heap), in bytes."""
    return Memory(slope([(n, heap) for n, heap, _ in points]), slope([(n, rest) for n, _, rest in points]))


def checkpoints(said: Mapping[str, object]) -> dict[int, Checkpoint]:
    """The completed checkpoints in Flink's answer, by number. Savepoints are left out."""
    history = said.get("history")
    found = [one for one in history if one["status"] == "COMPLETED" and not one["is_savepoint"]] if isinstance(history, list) else []
    return {one["id"]: Checkpoint(one["id"], one["trigger_timestamp"], one["end_to_end_duration"], one["state_size"]) for one in found}


def longest_gap_ms(arrivals: Sequence[int], begin_ns: int, end_ns: int) -> float | None:
    """The longest time without an arrival that touches the span. `arrivals` ascend, in ns. None where they do not surround the span."""
    first, last = bisect_right(arrivals, begin_ns) - 1, bisect_left(arrivals, end_ns)
    if first < 0 or last >= len(arrivals):
        return None
    within = arrivals[first : last + 1]
    return max((b - a for a, b in itertools.pairwise(within)), default=0) / 1e6


def gaps_in(arrivals: Sequence[int], found: Sequence[Checkpoint]) -> list[float]:
    """For each checkpoint the longest gap while it was taken (ms)."""
    spans = [(one.at_ms * 1_000_000, (one.at_ms + one.took_ms) * 1_000_000 + AFTER_NS) for one in found]
    return [gap for begin, end in spans if (gap := longest_gap_ms(arrivals, begin, end)) is not None]


def gaps_between(arrivals: Sequence[int], found: Sequence[Checkpoint]) -> list[float]:
    """The same for as long a span in the middle between two checkpoints: what it is like without one."""
    gaps = []
    for one, after in itertools.pairwise(found):
        half_ns = (one.took_ms * 1_000_000 + AFTER_NS) // 2
        middle_ns = (one.at_ms + one.took_ms + after.at_ms) * 500_000
        gap = longest_gap_ms(arrivals, middle_ns - half_ns, middle_ns + half_ns)
        gaps += [gap] if gap is not None else []
    return gaps


def spread(values: Sequence[float]) -> dict[str, float]:
    """Count, least, median, 99th percentile and most; of nothing, nothing."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    at_99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    found = {"min": ordered[0], "median": median(ordered), "p99": at_99, "max": ordered[-1]}
    return {"count": len(ordered), **{name: round(value, 3) for name, value in found.items()}}


def limit(shares: Mapping[str, float], cores: int) -> str:
    """What stands in the way, by the cores that each process took on average: one that has its core to itself, or the machine."""
    total, (name, most) = sum(shares.values()), max(shares.items(), key=lambda item: item[1])
    if total > 0.9 * cores:
        return f"the machine: {total:.1f} of {cores} cores are taken, {most:.1f} of them by {name}"
    if most > 0.8:
        return f"{name}: it takes {most:.1f} cores, and its Python runs on one at a time"
    return f"waiting: no process takes a whole core (most: {name}, {most:.1f})"
