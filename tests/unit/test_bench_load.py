"""The two loads of the benchmark, on a system that is played here."""

import asyncio
import time
from typing import Any

import pytest

from bench import load
from bench.load import Phase, Sent, Unusable, closed_loop, open_loop
from bench.workload import arrivals


class Played:
    """Takes every workflow, or none, and ends each a moment later; notes how many were open at most."""

    def __init__(self, takes: bool = True) -> None:
        self.takes, self.open, self.most, self.count = takes, 0, 0, 0

    async def start(self, _lead: int, sent: Sent) -> None:
        if not self.takes:
            sent.refused, sent.said = sent.refused + 1, "no"
            return
        self.open += 1
        self.most = max(self.most, self.open)

    async def ended(self, after: int = -1) -> int:
        await asyncio.sleep(0.001)
        self.count, self.open = self.count + self.open, 0
        return self.count


def phase(marks: list[int], warm_s: float = 0.02, seconds: float = 0.1) -> Phase:
    return Phase(warm_s, seconds, lambda: marks.append(1))


def test_so_many_workflows_are_open_at_all_times_and_no_more() -> None:
    played, marks = Played(), list[int]()
    target: Any = played
    sent = asyncio.run(closed_loop(target, phase(marks), 7, first=1))
    assert played.most == 7
    assert len(sent.due) > 7
    assert list(sent.due) == list(range(1, len(sent.due) + 1))
    assert len(marks) == 2
    assert sent.until - sent.since == 100_000_000


def test_a_system_warms_up_until_it_gets_hardly_faster_or_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SPELL_S", 0.03)
    settled: Any = Played()
    began = time.monotonic_ns()
    sent = asyncio.run(closed_loop(settled, Phase(0.01, 0.02, lambda: None, longest_warm_s=30), 7, first=1))
    assert 0.09 <= (sent.since - began) / 1e9 < 15  # three spells at the least
    compiling = iter([False] * 9)
    began = time.monotonic_ns()
    once_settled = Phase(0.01, 0.02, lambda: None, longest_warm_s=30, settled=lambda: next(compiling, True))
    sent = asyncio.run(closed_loop(settled, once_settled, 7, first=1))
    assert 0.3 <= (sent.since - began) / 1e9 < 15  # nine spells in which it was not, and the one in which it was
    monkeypatch.setattr(load, "steady", lambda _: False)
    began = time.monotonic_ns()
    sent = asyncio.run(closed_loop(settled, Phase(0.01, 0.02, lambda: None, longest_warm_s=0.4), 7, first=1))
    assert (sent.since - began) / 1e9 >= 0.4


def test_workflows_arrive_when_they_are_due_whether_or_not_the_last_was_taken() -> None:
    played, marks = Played(), list[int]()
    target: Any = played
    sent = asyncio.run(open_loop(target, phase(marks), 200, first=1000, seed=3))
    expected = list(arrivals(200, 0.12, 3))
    first = next(at for at in expected if at >= 0.02)
    began = sent.since - int(first * 1e9)
    assert list(sent.due) == list(range(1000, 1000 + len(expected)))
    assert [round((due - began) / 1e9, 6) for due in sent.due.values()] == [round(at, 6) for at in expected]
    assert sent.until - sent.since == 100_000_000
    assert len(marks) == 2


def test_arrivals_go_on_until_the_system_is_settled_and_the_window_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "SPELL_S", 0.03)
    compiling, marks, played = iter([False] * 5), list[int](), Played()
    target: Any = played
    settled = Phase(0.01, 0.05, lambda: marks.append(1), longest_warm_s=30, settled=lambda: next(compiling, True))
    sent = asyncio.run(open_loop(target, settled, 200, first=1, seed=3))
    expected = list(arrivals(200, 30.05, 3))
    since = (sent.since - sent.due[1]) / 1e9 + expected[0]
    assert 0.18 <= since < 15  # five spells in which it was not, and the one in which it was
    assert len(sent.due) == sum(at < since + 0.05 for at in expected)
    assert len(marks) == 2


def test_a_system_that_takes_nothing_is_given_up() -> None:
    target: Any = Played(takes=False)
    with pytest.raises(Unusable, match="not taken; no"):
        asyncio.run(closed_loop(target, phase([], seconds=5), 200, first=1))
