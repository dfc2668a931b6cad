"""The figures of the benchmark, from a log of which the answer is known."""

import math

import pytest

from bench.measure import Spread, hops_per_s, latencies, percentile, quantiles, refused, spread, steady

MS = 1_000_000


def worked(
    lead: int, due_ms: int, added_ms: int, model_ms: int = 200, agent_ms: int = 300, hops: int = 5
) -> list[tuple[str, int, int, int, int]]:
    """The log of a lead to each hop of which so much was added: half of it before the model is asked, half after."""
    log, at = [], due_ms * MS
    for hop in range(1, hops + 1):
        asked = at + added_ms * MS // 2
        called = asked + model_ms * MS + added_ms * MS // 2
        log += [("model", lead, hop, asked, asked + model_ms * MS), ("agent", lead, hop, called, called + agent_ms * MS)]
        at = called + agent_ms * MS
    return log


def test_what_is_added_is_all_but_the_time_of_model_and_agent() -> None:
    found = latencies(worked(1, 1000, added_ms=6), {1: 1000 * MS}, 0, 2000 * MS)
    assert found.added_ms == [6.0] * 5
    assert (found.workflows, found.unfinished, found.repeated, found.model_calls) == (1, 0, 0, 5.0)


def test_a_late_start_is_added_to_the_first_hop() -> None:
    found = latencies(worked(1, 1000, added_ms=6), {1: 900 * MS}, 0, 2000 * MS)
    assert found.added_ms == [106.0, 6.0, 6.0, 6.0, 6.0]


def test_a_workflow_that_was_due_outside_of_the_window_does_not_count() -> None:
    log = worked(1, 1000, added_ms=6) + worked(2, 3000, added_ms=8)
    due = {1: 1000 * MS, 2: 3000 * MS}
    assert latencies(log, due, 2000 * MS, 4000 * MS).added_ms == [8.0] * 5
    assert latencies(log, due, 3000 * MS, 3000 * MS).workflows == 0


def test_a_question_that_is_asked_again_is_taken_off_as_well() -> None:
    log = worked(1, 0, added_ms=6)
    again = ("model", 1, 1, 0, 1 * MS)
    found = latencies([again, *log], {1: 0}, 0, MS)
    assert found.added_ms == [5.0, 6.0, 6.0, 6.0, 6.0]
    assert found.model_calls == 6


def test_a_question_that_is_asked_after_the_call_is_not_taken_off() -> None:
    late = ("model", 1, 1, 10_000 * MS, 11_000 * MS)
    assert latencies([*worked(1, 0, added_ms=6), late], {1: 0}, 0, MS).added_ms[0] == 6.0


def test_a_call_that_comes_twice_is_counted_and_the_first_is_measured() -> None:
    log = worked(1, 0, added_ms=6)
    kind, lead, hop, arrived, replied = log[3]
    found = latencies([(kind, lead, hop, arrived + 50 * MS, replied + 50 * MS), *log], {1: 0}, 0, MS)
    assert found.added_ms == [6.0] * 5
    assert found.repeated == 1


def test_a_workflow_that_came_to_no_end_is_unfinished() -> None:
    found = latencies(worked(1, 0, added_ms=6, hops=3), {1: 0, 2: 0}, 0, MS)
    assert found.added_ms == [6.0] * 3
    assert (found.workflows, found.unfinished, found.model_calls) == (2, 2, 0.0)


def test_hops_are_answers_of_agents_within_the_window() -> None:
    log = worked(1, 0, added_ms=0, model_ms=0, agent_ms=100)
    assert hops_per_s(log, 0, 1000 * MS) == 5.0
    assert hops_per_s(log, 200 * MS, 400 * MS) == 10.0


def test_requests_that_were_not_understood_are_counted() -> None:
    log = [*worked(1, 0, added_ms=6), ("refused", 0, 0, 5, 6)]
    assert refused(log) == 1
    assert len(latencies(log, {1: 0}, 0, MS).added_ms) == 5


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(reversed(values), percent) for percent in (0, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([3.0], 99) == 3.0
    assert math.isnan(percentile([], 50))


def test_the_distribution_goes_from_the_least_to_the_greatest() -> None:
    found = quantiles([float(n) for n in range(1000)])
    assert found["0"] == 0.0
    assert found["50"] == 499.0
    assert found["99.9"] == 998.0
    assert found["100"] == 999.0
    assert quantiles([]) == {}


def test_a_spread_is_least_middle_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    assert spread([]) is None


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([], False),
        ([10, 10], False),  # too few to tell
        ([10, 10, 10], True),
        ([10, 20, 21], False),
        ([10, 20, 20, 21], True),
        ([10, 20, 20, 22], False),
        ([30, 10, 12], True),  # it gets slower: no warm-up helps
    ],
)
def test_a_system_is_steady_once_it_gets_hardly_faster(rates: list[float], expected: bool) -> None:
    assert steady(rates) is expected
