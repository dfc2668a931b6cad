"""When a key's timer is set, with a clock that may have been set forward or back meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.alarm import CATCH_UP_MS, Quiet, absurd, alarm_ms, kept, told_ms
from loopwright.step import Step

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
TIMES = st.integers(NOW - 10 * HOUR_MS, NOW + 10 * HOUR_MS)


def test_a_timer_is_set_only_where_none_fires_by_then() -> None:
    assert alarm_ms(NOW + 10, 0, NOW, NOW) == NOW + 10
    assert alarm_ms(NOW + 10, NOW + 20, NOW, NOW) == NOW + 10
    assert alarm_ms(NOW + 10, NOW + 5, NOW, NOW) == 0
    assert alarm_ms(0, 0, NOW, NOW) == 0


def test_a_key_whose_timer_should_have_fired_is_woken_at_once_whatever_it_wants_now() -> None:
    """A record may come before a timer that is due; and where the clock was set forward by an hour, the timer would be an hour late."""
    assert alarm_ms(NOW + 10, NOW - 1, NOW, NOW) == NOW + 1
    assert alarm_ms(NOW + HOUR_MS + 10, NOW + HOUR_MS // 2, NOW + HOUR_MS, NOW + HOUR_MS) == NOW + HOUR_MS + 1
    assert alarm_ms(0, NOW - 1, NOW, NOW) == 0, "a key that wants nothing is not woken"


def test_a_wait_that_begins_when_the_clock_was_set_back_is_as_long_as_it_was_meant() -> None:
    fired = NOW + 5 * HOUR_MS
    assert alarm_ms(fired + 10, 0, told_ms(NOW, fired), NOW) == NOW + 10


@given(TIMES, TIMES, TIMES, st.integers(1, HOUR_MS))
def test_a_timer_lies_in_the_future_of_the_clock(clock_ms: int, fired_ms: int, due_ms: int, pause_ms: int) -> None:
    now_ms = told_ms(clock_ms, fired_ms)
    at_ms = alarm_ms(now_ms + pause_ms, due_ms, now_ms, clock_ms)
    assert at_ms == 0 or at_ms > clock_ms
    if at_ms == 0:
        assert clock_ms <= due_ms <= now_ms + pause_ms


def test_a_pause_of_hours_before_another_attempt_is_none() -> None:
    assert absurd(NOW + 2 * HOUR_MS, NOW)
    assert not absurd(NOW + HOUR_MS, NOW)
    assert not absurd(NOW - HOUR_MS, NOW)


KEEP_MS = CATCH_UP_MS


def test_a_key_may_go_once_it_was_quiet_for_long_enough_while_this_process_ran() -> None:
    assert Quiet(NOW, NOW - 5 * HOUR_MS, NOW + KEEP_MS).left_ms(KEEP_MS) == 0
    assert Quiet(NOW, NOW - 5 * HOUR_MS, NOW + 1).left_ms(KEEP_MS) == KEEP_MS - 1
    assert Quiet(NOW, NOW - 5 * HOUR_MS, NOW + 1).left_ms(HOUR_MS) == KEEP_MS - 1
    assert Quiet(NOW, NOW - 5 * HOUR_MS, NOW + 1).left_ms(10) == 9


@given(TIMES)
def test_what_an_earlier_process_noted_counts_for_nothing(touched_ms: int) -> None:
    opened_ms = NOW if not NOW <= touched_ms <= NOW + 7 else touched_ms
    assert Quiet(touched_ms, opened_ms, NOW + 7).left_ms(KEEP_MS) == opened_ms + KEEP_MS - NOW - 7


def test_only_a_step_that_would_forget_too_soon_is_another_one() -> None:
    soon, late = Quiet(NOW, NOW, NOW + 7), Quiet(NOW, NOW, NOW + KEEP_MS)
    assert kept(Step(None), b"state", soon, KEEP_MS, 50) == Step(b"state", wake_at_ms=50 + KEEP_MS - 7)
    for step, state, quiet in ((Step(None), b"state", late), (Step(None), None, soon), (Step(b"new"), b"state", soon)):
        assert kept(step, state, quiet, KEEP_MS, 50) is step
