"""When schedules are due: where clocks are set, from wherever one begins to count, and what of missed times is made up for."""

from contextlib import suppress
from datetime import datetime
from itertools import islice, pairwise, takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.sources.definition import Schedule
from loopwright.sources.due import MOST_AT_ONCE, NEVER_MS, Turn, due, next_ms
from loopwright.sources.times import check_cron, check_zone, in_words, instants, local_time

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "America/Havana")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def first(count: int, cron: str, zone: str, since: str) -> list[str]:
    return [local_time(at_ms, zone).isoformat() for at_ms in islice(instants(cron, zone, ms(since)), count)]


def schedule(cron: str = "0 2 * * *", zone: str = "UTC", **more: Any) -> Schedule:
    return Schedule(name="s", cron=cron, zone=zone, document={}, **more)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        numbers.map(str),
        st.integers(2, 30).map(lambda n: f"*/{n}"),
        st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.lists(numbers, min_size=2, max_size=3).map(lambda many: ",".join(map(str, many))),
    )


NIGHTLY = st.tuples(field(0, 59), field(0, 3), st.just("* * *")).map(" ".join)  # clocks are set in these hours
CRONS = st.tuples(field(0, 59), field(0, 23), st.sampled_from(["*", "*", "1", "8", "25", "29"]), st.just("*"), field(0, 6)).map(" ".join)
YEAR = range(ms("2026-01-01T00:00:00Z"), ms("2027-01-01T00:00:00Z"), HOUR)


def clocks_set(zone: str) -> list[int]:
    return [at_ms for at_ms in YEAR if local_time(at_ms, zone).utcoffset() != local_time(at_ms - HOUR, zone).utcoffset()]


SET = [(zone, at_ms) for zone in ZONES for at_ms in clocks_set(zone)]
ROUND = st.sampled_from(SET).flatmap(lambda one: st.tuples(st.just(one[0]), st.integers(one[1] - 2 * HOUR, one[1] + 3 * HOUR)))
PLACES = ROUND | st.tuples(st.sampled_from(ZONES), st.integers(YEAR.start, YEAR.stop))  # a zone and a moment


def test_a_time_that_is_skipped_comes_at_once_after_the_gap_and_once() -> None:
    assert first(2, "30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00") == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert first(2, "0,30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00") == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_a_time_that_comes_twice_is_taken_once_the_first_time() -> None:
    once = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert first(2, "30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00") == once
    for later in ("2026-10-25T02:30:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00"):
        assert first(1, "30 2 * * *", "Europe/Berlin", later) == once[1:]


def test_what_comes_every_so_often_goes_by_the_time_that_passes() -> None:
    forward = first(3, "*/30 * * * *", "Europe/Berlin", "2026-03-29T01:00:00+01:00")
    assert forward == ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]
    back = first(4, "0 * * * *", "Europe/Berlin", "2026-10-25T01:00:00+02:00")
    assert back == [f"2026-10-25T{time}" for time in ("02:00:00+02:00", "02:00:00+01:00", "03:00:00+01:00", "04:00:00+01:00")]


def test_a_gap_at_midnight_leaves_out_what_comes_every_so_often_and_puts_off_a_time_of_day() -> None:
    assert first(1, "*/20 0 * * SUN", "America/Havana", "2026-03-07T12:00:00Z") == ["2026-03-15T00:00:00-04:00"]
    assert first(1, "15 0 * * *", "America/Havana", "2026-03-07T12:00:00Z") == ["2026-03-08T01:00:00-04:00"]


@given(NIGHTLY | CRONS, ROUND, st.integers(0, DAY // 4), st.integers(0, 2 * DAY))
@settings(max_examples=500)
def test_the_times_do_not_depend_on_where_one_begins_to_count(cron: str, place: tuple[str, int], before: int, after: int) -> None:
    zone, middle = place

    def within(after: int, until: int) -> list[int]:
        return list(takewhile(lambda at_ms: at_ms <= until, instants(cron, zone, after)))

    since, end = middle - before, middle + after
    assert within(since, middle) + within(middle, end) == within(since, end)


def test_clocks_are_set_in_four_of_the_zones() -> None:
    assert {zone for zone, _ in SET} == {"Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Havana"}
    assert len(SET) == 8


@given(CRONS, PLACES)
def test_times_ascend_fall_on_whole_minutes_and_lie_after_the_beginning(cron: str, place: tuple[str, int]) -> None:
    zone, since = place
    found = [since, *islice(instants(cron, zone, since), 20)]
    assert all(one < other for one, other in pairwise(found))
    assert all(at_ms % MINUTE == 0 for at_ms in found[1:])
    assert check_cron(cron) == cron
    assert in_words(cron)


@given(st.text(max_size=30) | CRONS.flatmap(lambda cron: st.permutations(list(cron)).map("".join)))
def test_any_text_is_an_expression_whose_time_comes_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert next(instants(check_cron(text), "UTC", 0), None) is not None


@pytest.mark.parametrize(
    "cron", ["61 * * * *", "* * *", "* * * * * *", "0 0 30 2 *", "* * */20 * 1L", "@daily", "", "1#2/3 * * * L/2", "9" * 300]
)
def test_an_expression_that_says_no_time_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match=r"fields|is not a cron expression|never comes|longer"):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["", "Europe", "Mars/Olympus", "../etc", "/etc/passwd", "CEST2"])
def test_a_zone_that_nobody_knows_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="Europe/Berlin"):
        check_zone(zone)


def test_a_new_schedule_counts_from_now_on_and_starts_nothing_for_what_was_before() -> None:
    now = ms("2026-01-01T10:00:00Z")
    assert due([schedule()], {}, now) == [Turn(schedule(), (), now)]


NIGHTS = [ms(f"2026-01-0{day}T02:00:00Z") for day in (2, 3, 4)]


@pytest.mark.parametrize(
    ("missed", "within", "starts"),
    [
        ("run-once", "96h", NIGHTS[2:]),
        ("run-all", "96h", NIGHTS),
        ("run-all", "40h", NIGHTS[1:]),
        ("run-once", "6h", []),
        ("skip", "96h", []),
    ],
)
def test_missed_times_are_made_up_for_as_the_schedule_says(missed: str, within: str, starts: list[int]) -> None:
    turns = due([schedule(missed=missed, missed_within=within)], {"s": ms("2026-01-01T02:00:00Z")}, ms("2026-01-04T10:00:00Z"))
    assert [at_ms for turn in turns for at_ms in turn.starts] == starts
    assert all(turn.until_ms == NIGHTS[2] and turn.missed == turn.left_out + len(starts) for turn in turns)


@pytest.mark.parametrize("missed", ["run-once", "run-all", "skip"])
def test_a_time_that_has_just_passed_is_started_whatever_becomes_of_missed_ones(missed: str) -> None:
    (turn,) = due([schedule(missed=missed)], {"s": NIGHTS[0]}, NIGHTS[1] + 30_000)
    assert turn == Turn(schedule(missed=missed), (NIGHTS[1],), NIGHTS[1])


def test_one_start_does_for_what_was_missed_and_for_what_has_just_passed() -> None:
    (turn,) = due([schedule(missed_within="96h")], {"s": NIGHTS[0]}, NIGHTS[2] + 30_000)
    assert (turn.starts, turn.missed, turn.left_out) == ((NIGHTS[2],), 1, 1)


def test_no_more_than_a_thousand_are_started_at_once_and_these_are_the_last_ones() -> None:
    now = ms("2026-01-04T10:00:00Z")
    (turn,) = due([schedule("* * * * *", missed="run-all")], {"s": now - 24 * HOUR}, now)
    assert (len(turn.starts), turn.starts[-1], turn.left_out) == (MOST_AT_ONCE + 2, now, 24 * 60 - MOST_AT_ONCE - 2)


@given(
    CRONS,
    PLACES,
    st.sampled_from(["run-once", "run-all", "skip"]),
    st.lists(st.one_of(st.integers(1, 2 * MINUTE), st.integers(1, 30 * HOUR)), max_size=8),
)
def test_whenever_one_looks_no_time_is_started_twice_and_none_that_was_not_to_come(
    cron: str, place: tuple[str, int], missed: str, steps: list[int]
) -> None:
    zone, since = place
    one = schedule(cron, zone, missed=missed, missed_within="12h")
    known, now, started = {"s": since}, since, list[int]()
    for step in steps:
        now += step
        for turn in due([one], known, now):
            expected = [at_ms for at_ms in takewhile(now.__ge__, instants(cron, zone, known["s"])) if at_ms > now - 12 * HOUR]
            late = [at_ms for at_ms in expected if now - at_ms > MINUTE]
            assert set(turn.starts) <= set(expected)
            assert (turn.until_ms, turn.missed) == (expected[-1], len(late))
            assert set(turn.starts) >= set(expected) - set(late), "what is on time is started"
            assert missed != "run-once" or turn.starts[-1:] == (expected[-1],)
            assert missed != "run-all" or list(turn.starts) == expected[-len(turn.starts) :]
            assert missed != "skip" or not set(turn.starts) & set(late)
            started += turn.starts
            known["s"] = turn.until_ms
        assert due([one], known, now) == []
    assert started == sorted(set(started))


def test_the_next_time_is_told_and_that_there_is_none() -> None:
    assert next_ms(schedule(), NIGHTS[0]) == NIGHTS[1]
    assert next_ms(schedule("0 0 29 2 *"), ms("2097-01-01T00:00:00Z")) != NEVER_MS
