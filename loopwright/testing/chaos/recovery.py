"""How soon new results came after a kill. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Killed:
    """A kill that was carried out: the part, its pid, when it was killed and when it was gone (ms since the epoch), and how many workflows
    were in flight."""

    part: str
    pid: int
    at_ms: int
    gone_ms: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Told:
    """A result: when it was written, by its record, and when it could be read (ms since the epoch)."""

    written_ms: int
    read_ms: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some seconds, and how many there were."""

    count: int
    min_s: float
    median_s: float
    max_s: float


def recovery_s(killed: Killed, results: Iterable[Told]) -> float | None:
    """Seconds from a kill until a result could be read that was written after the part was gone; None where there is none.

    `results`: the first one of each workflow, so that what is written again after a restore does not count.
    """
    read_ms = min((told.read_ms for told in results if told.written_ms > killed.gone_ms), default=None)
    return None if read_ms is None else (read_ms - killed.at_ms) / 1000


def spread(seconds: Sequence[float]) -> Spread | None:
    """Their spread; None where there are none."""
    return Spread(len(seconds), min(seconds), median(seconds), max(seconds)) if seconds else None


def by_part(kills: Sequence[Killed], results: Sequence[Told]) -> dict[str, Spread | None]:
    """The spread of the recovery times of each part that was killed."""
    found: dict[str, list[float]] = {}
    for killed in kills:
        found.setdefault(killed.part, [])
        if (seconds := recovery_s(killed, results)) is not None:
            found[killed.part].append(seconds)
    return {part: spread(seconds) for part, seconds in found.items()}
