"""Which schedules are to start what, now. Pure: up to when each was dealt with in, what to start and up to when it is dealt with then out.

A time counts as missed when it passed more than a minute ago; until then it is merely late. Of the missed ones `run-all` starts each,
`run-once` the last one, unless a time that is not missed starts one anyway, and `skip` none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from loopwright.sources.definition import MINUTE_MS, Schedule
from loopwright.sources.times import instants

MOST_AT_ONCE = 1000
NEVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Turn:
    """What a schedule is to do: workflows for these times, ascending; then every time up to `until_ms` is dealt with.

    `missed` is how many times passed more than a minute ago, `left_out` how many of them start nothing. A schedule that is new starts
    nothing: it counts from now on.
    """

    schedule: Schedule
    starts: tuple[int, ...]
    until_ms: int
    missed: int = 0
    left_out: int = 0


def due(schedules: Iterable[Schedule], since: Mapping[str, int], now_ms: int) -> list[Turn]:
    """The turns of the schedules that have one. `since` says by name up to when each was dealt with, in ms; who is not in it is new."""
    return [turn for schedule in schedules if (turn := _turn(schedule, since.get(schedule.name), now_ms)) is not None]


def next_ms(schedule: Schedule, since_ms: int) -> int:
    """Its first time after `since_ms`; NEVER_MS where there is none."""
    return next(instants(schedule.cron, schedule.zone, since_ms), NEVER_MS)


def _turn(schedule: Schedule, since_ms: int | None, now_ms: int) -> Turn | None:
    if since_ms is None:
        return Turn(schedule, (), now_ms)
    first_ms = max(since_ms, now_ms - schedule.missed_within_ms)
    passed = list(takewhile(lambda at_ms: at_ms <= now_ms, instants(schedule.cron, schedule.zone, first_ms)))
    if not passed:
        return None
    missed = [at_ms for at_ms in passed if now_ms - at_ms > MINUTE_MS]
    on_time = passed[len(missed) :]
    made_up_for = _made_up_for(schedule, missed, on_time)
    return Turn(schedule, (*made_up_for, *on_time), passed[-1], len(missed), len(missed) - len(made_up_for))


def _made_up_for(schedule: Schedule, missed: list[int], on_time: list[int]) -> tuple[int, ...]:
    if schedule.missed == "run-all":
        return tuple(missed[-MOST_AT_ONCE:])
    return tuple(missed[-1:]) if schedule.missed == "run-once" and not on_time else ()
