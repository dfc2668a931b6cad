"""When which part is killed: a pure function of the seed, so that a run that went wrong can be repeated."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL for `part`, `at_s` seconds after the load is up."""

    at_s: float
    part: str


def schedule(seed: int, seconds: float, parts: Sequence[str], gap_s: float) -> tuple[Kill, ...]:
    """The kills of the first `seconds`, in order.

    Each part is killed once in every round, in an order that is drawn anew. From one kill to the next it takes between a quarter and seven
    quarters of `gap_s`: often the next part dies while the last one is still being healed. A longer run begins as a shorter one does.
    """
    return tuple(takewhile(lambda kill: kill.at_s < seconds, _endless(seed, parts, gap_s))) if parts else ()


def _endless(seed: int, parts: Sequence[str], gap_s: float) -> Iterator[Kill]:
    drawn, at_s = random.Random(seed), 0.0  # noqa: S311  # it has to be repeatable, not secret
    while True:
        for part in drawn.sample(list(parts), len(parts)):
            at_s += gap_s * drawn.uniform(0.25, 1.75)
            yield Kill(round(at_s, 1), part)
