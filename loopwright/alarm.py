"""When the timer of a key is to be set, whatever the clock of the machine does meanwhile. Pure.

Flink's timers are given a time of the clock and count from then on: one that was set for ten seconds hence fires in ten seconds, though the
clock may have been set forward or back by hours in between. Restored after a crash, they count anew, from the clock as it is then.
"""

from dataclasses import dataclass, replace

from loopwright.step import Step

SET_BACK_MS = 1000
LONGEST_PAUSE_MS = 3_600_000
CATCH_UP_MS = 600_000  # in which a job that was started again has read what was written about a workflow before


def told_ms(clock_ms: int, fired_ms: int) -> int:
    """The time that a decider is told: the clock's, or that of the timer which woke it, so that what waited for this timer is due.

    A timer may fire a little early, and hours before its time where the clock was set back since.
    """
    return max(clock_ms, fired_ms)


def alarm_ms(wanted_ms: int, due_ms: int, now_ms: int, clock_ms: int) -> int:
    """The time to set a timer for; 0 where none is needed, since one that is set fires by then.

    `wanted_ms`: when the decider wants to be woken (0: never), as seen from `now_ms`, the time that it was told. `due_ms`: what the key's
    timer is set for (0: none is). Where that time has passed by the clock and the timer has not fired, the key is woken at once in its
    place: it may be about to fire, or hours away, where the clock was set forward since; and what waits for it is not asked for again.
    """
    if not wanted_ms:
        return 0
    if 0 < due_ms < clock_ms:
        return clock_ms + 1
    ahead_ms = now_ms - clock_ms
    at_ms = wanted_ms - ahead_ms if ahead_ms > SET_BACK_MS else wanted_ms
    return at_ms if not due_ms or at_ms < due_ms else 0


def absurd(due_ms: int, now_ms: int) -> bool:
    """Whether a pause before another attempt would last so long that the clock must have been set back since it was begun."""
    return due_ms - now_ms > LONGEST_PAUSE_MS


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long nothing has come for a key, in ms by a clock that never jumps. `opened_ms`: when the process began; `touched_ms`: when
    something came for the key last, by that clock or by an earlier process's; `steady_ms`: now."""

    touched_ms: int
    opened_ms: int
    steady_ms: int

    def left_ms(self, keep_ms: int) -> int:
        """How long it still is until the key has been quiet for `keep_ms`, or `CATCH_UP_MS` if that is less, since this process began."""
        since_ms = self.touched_ms if self.opened_ms <= self.touched_ms <= self.steady_ms else self.opened_ms
        return max(0, since_ms + min(keep_ms, CATCH_UP_MS) - self.steady_ms)


def kept(step: Step, state: bytes | None, quiet: Quiet, keep_ms: int, now_ms: int) -> Step:
    """The step of a key that was woken: one that would forget `state` before it was quiet for `keep_ms` keeps it until then.

    Neither the time in which the job was down counts, nor the hours by which a clock was set forward: records that were written before, a
    second decision among them, may not have been read yet.
    """
    left_ms = quiet.left_ms(keep_ms) if step.state is None and state is not None else 0
    return replace(step, state=state, wake_at_ms=now_ms + left_ms) if left_ms else step
