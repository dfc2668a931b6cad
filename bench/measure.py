"""What the simulators' log says: the added latency of each hop, hops per second, and whether every hop was one question and one call.

The added latency of a hop is the time from the last agent's answer (for the first hop: from the moment the workflow was due to arrive) to
the next agent's request, less the time that the model itself took in between: all that a system adds, and nothing that it cannot help.
All times are of one monotonic clock, in ns.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.workload import HOPS

Entry = Sequence[Any]  # kind, lead, hop, arrived, replied: see bench.simulators
SETTLED, HARDLY = 2, 0.05
QUANTILES = (*(float(percent) for percent in range(100)), 99.5, 99.9, 100.0)


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the greatest of the repeats."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Latencies:
    """Of the workflows that were due within the window: added ms of each hop, and how well they were worked.

    `model_calls` is per finished workflow. `repeated` are calls of an agent for a hop it had been called for; `unfinished` are workflows.
    """

    added_ms: list[float]
    workflows: int
    unfinished: int
    repeated: int
    model_calls: float


def steady(rates: Sequence[float]) -> bool:
    """Whether a system has come to its speed: in the last two of these equal spells it got hardly faster than in the best one before."""
    return len(rates) > SETTLED and max(rates[-SETTLED:]) <= max(rates[:-SETTLED]) * (1 + HARDLY)


@dataclass
class _Hop:
    asked: list[tuple[int, int]]
    called: list[tuple[int, int]]


def latencies(log: Iterable[Entry], due: Mapping[int, int], since: int, until: int) -> Latencies:
    """The latencies of the leads that were due from `since` to `until`; `due` is when each was, by its number."""
    hops: dict[tuple[int, int], _Hop] = defaultdict(lambda: _Hop([], []))
    for kind, lead, hop, arrived, replied in log:
        if kind in ("model", "agent"):
            one = hops[lead, hop]
            (one.asked if kind == "model" else one.called).append((arrived, replied))
    measured = [lead for lead, at in due.items() if since <= at < until]
    added: list[float] = []
    unfinished = repeated = asked = 0
    for lead in measured:
        worked = [hops[lead, number] for number in range(1, HOPS + 1) if (lead, number) in hops]
        added += _added_ms(worked, due[lead])
        repeated += sum(max(0, len(one.called) - 1) for one in worked)
        if len(worked) == HOPS and worked[-1].called:
            asked += sum(len(one.asked) for one in worked)
        else:
            unfinished += 1
    finished = len(measured) - unfinished
    return Latencies(added, len(measured), unfinished, repeated, asked / finished if finished else 0.0)


def _added_ms(worked: Sequence[_Hop], due: int) -> list[float]:
    found, last = list[float](), due
    for one in worked:
        if not one.called:
            break
        arrived, replied = min(one.called)
        model = sum(ended - began for began, ended in one.asked if ended <= arrived)
        found.append((arrived - last - model) / 1e6)
        last = replied
    return found


def hops_per_s(log: Iterable[Entry], since: int, until: int) -> float:
    """Answers of agents per second of the window."""
    return sum(1 for kind, _, _, _, replied in log if kind == "agent" and since <= replied < until) / ((until - since) / 1e9)


def refused(log: Iterable[Entry]) -> int:
    """Requests that the simulators could not understand."""
    return sum(1 for entry in log if entry[0] == "refused")


def percentile(values: Iterable[float], percent: float) -> float:
    """By the nearest rank: one of the values, and no less than `percent` of them. NaN where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """The distribution, as fine as a plot of it needs."""
    ordered = sorted(values)
    return {f"{percent:g}": round(percentile(ordered, percent), 3) for percent in QUANTILES} if ordered else {}


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of the repeats; None where there are none."""
    return Spread(min(values), statistics.median(values), max(values)) if values else None
