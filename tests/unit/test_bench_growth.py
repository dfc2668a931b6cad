from pathlib import Path

import pytest

from bench.growth import figures, team
from bench.growth.figures import Checkpoint
from loopwright.registry.catalogue import Agent
from loopwright.registry.loading import load_team

MS = 1_000_000
EVERY_10_MS = [n * 10 * MS for n in range(100)]


def test_what_a_workflow_takes_is_the_slope_and_not_what_was_there_before() -> None:
    found = figures.memory([(0, 100.0, 50_000.0), (1000, 3_100.0, 70_000.0), (2000, 6_100.0, 90_000.0)])
    assert (found.heap, found.rest, found.total) == (3.0, 20.0, 23.0)


def test_a_gap_is_the_longest_time_without_an_arrival_and_may_begin_before_the_span() -> None:
    arrivals = [0, 10 * MS, 70 * MS, 80 * MS]
    assert figures.longest_gap_ms(arrivals, 30 * MS, 60 * MS) == 60
    assert figures.longest_gap_ms(arrivals, 2 * MS, 9 * MS) == 10
    assert figures.longest_gap_ms(arrivals, 75 * MS, 90 * MS) is None


def test_a_gap_counts_for_the_checkpoint_that_it_falls_into_and_not_for_the_time_between() -> None:
    arrivals = [at for at in EVERY_10_MS if not 100 * MS < at < 180 * MS]
    found = [Checkpoint(1, 110, 20, 1), Checkpoint(2, 600, 20, 1)]
    assert figures.gaps_in(arrivals, found) == [80, 10]
    assert figures.gaps_between(arrivals, found) == [10]


def test_only_completed_checkpoints_count() -> None:
    def one(number: int, **other: object) -> dict[str, object]:
        base = {"id": number, "status": "COMPLETED", "is_savepoint": False, "trigger_timestamp": 5, "end_to_end_duration": 7}
        return base | {"state_size": 9} | other

    said = {"history": [one(1), one(2, status="IN_PROGRESS"), one(3, is_savepoint=True)]}
    assert figures.checkpoints(said) == {1: Checkpoint(1, 5, 7, 9)}
    assert figures.checkpoints({}) == {}


def test_the_spread_of_nothing_is_nothing() -> None:
    assert figures.spread([]) == {"count": 0}
    assert figures.spread([float(n) for n in range(1, 101)]) == {"count": 100, "min": 1, "median": 50.5, "p99": 100, "max": 100}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"taskmanager-1": 1.1, "kafka": 0.8}, "the machine"),
        ({"taskmanager-1": 1.0, "kafka": 0.2}, "taskmanager-1"),
        ({"taskmanager-1": 0.4, "kafka": 0.2}, "waiting"),
    ],
)
def test_what_limits_is_a_process_the_machine_or_waiting(shares: dict[str, float], said: str) -> None:
    assert figures.limit(shares, 2).startswith(said)


def test_the_contracts_leave_one_candidate_for_every_document(tmp_path: Path) -> None:
    team.write(tmp_path)
    agents = [Agent.of(one) for one in load_team(tmp_path, {"AGENTS_URL": "http://agents"})]
    documents = [{team.field(n): 1 for n in range(hops + 1)} for hops in range(team.STAGES)]
    for document in [*documents, {team.LATER: 1}, {team.HOLD: 1}]:
        fitting = [a.name for a in agents if a.input.accepts(document) and not a.output.required <= document.keys()]
        assert len(fitting) == 1, document
