"""When a key's timer is set, with a clock that may have been set forward or back meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.alarm import absurd, alarm_ms, told_ms

NOW = 1_700_000_000_000
HOUR_MS = 3_600_000
TIMES = st.integers(NOW - 10 * HOUR_MS, NOW + 10 * HOUR_MS)


def test_a_timer_is_set_only_where_none_fires_by_then() -> None:
    assert alarm_ms(NOW + 10, 0, NOW, NOW) == NOW + 10
    assert alarm_ms(NOW + 10, NOW + 20, NOW, NOW) == NOW + 10
    assert alarm_ms(NOW + 10, NOW + 5, NOW, NOW) == 0
    assert alarm_ms(0, 0, NOW, NOW) == 0


def test_a_timer_whose_time_has_passed_by_the_clock_serves_nobody() -> None:
    """The clock was set forward by an hour: what was to fire in half an hour still does so in half an hour."""
    assert alarm_ms(NOW + HOUR_MS + 10, NOW + HOUR_MS // 2, NOW + HOUR_MS, NOW + HOUR_MS) == NOW + HOUR_MS + 10


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
