"""When the timer of a key is to be set, whatever the clock of the machine does meanwhile. Pure.

Flink's timers are given a time of the clock and count from then on: one that was set for ten seconds hence fires in ten seconds, though the
clock may have been set forward or back by hours in between. Restored after a crash, they count anew, from the clock as it is then.
"""

SET_BACK_MS = 1000
LONGEST_PAUSE_MS = 3_600_000


def told_ms(clock_ms: int, fired_ms: int) -> int:
    """The time that a decider is told: the clock's, or that of the timer which woke it, so that what waited for this timer is due.

    A timer may fire a little early, and hours before its time where the clock was set back since.
    """
    return max(clock_ms, fired_ms)


def alarm_ms(wanted_ms: int, due_ms: int, now_ms: int, clock_ms: int) -> int:
    """The time to set a timer for; 0 where none is needed, since one that is set fires by then.

    `wanted_ms`: when the decider wants to be woken (0: never), as seen from `now_ms`, the time that it was told. `due_ms`: what the key's
    timer is set for (0: none is). One whose time has passed by the clock may still be far away: the clock was set forward since.
    """
    if not wanted_ms:
        return 0
    ahead_ms = now_ms - clock_ms
    at_ms = wanted_ms - ahead_ms if ahead_ms > SET_BACK_MS else wanted_ms
    return at_ms if not due_ms or at_ms < due_ms or due_ms < clock_ms else 0


def absurd(due_ms: int, now_ms: int) -> bool:
    """Whether a pause before another attempt would last so long that the clock must have been set back since it was begun."""
    return due_ms - now_ms > LONGEST_PAUSE_MS
