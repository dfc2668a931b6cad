"""The benchmark of what acts makes the calls of the comparison, through real lanes and HTTP, and times them."""

from pathlib import Path

import orjson

from bench import edges
from bench.workload import AGENTS, HOPS


def test_a_lead_s_calls_are_those_of_the_job() -> None:
    (work,) = edges.recorded("http://127.0.0.1:9", 1)
    assert [at for at, _ in work] == [0, 1] * HOPS
    urls = [orjson.loads(call.payload)["url"] for at, call in work if at == 1]
    assert urls == [f"http://127.0.0.1:9/agents/{name}" for name in AGENTS]


def test_each_run_gives_a_time_a_hop_for_both(tmp_path: Path) -> None:
    found = edges.measured(workflows=2, at_once=2, runs=2, folder=tmp_path)
    assert sorted(found) == ["acted", "bare"]
    assert all(0 < ms < 1000 for runs in found.values() for ms in runs)
    assert all(len(runs) == 2 for runs in found.values())
