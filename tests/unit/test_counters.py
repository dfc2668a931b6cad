"""Counts reach Flink: all at once where nothing is under way, else together after a while, and none twice."""

from collections import Counter

import pytest

from udfs import counters
from udfs.counters import TOLD_EVERY_S, Counters


class Group:
    """A metric group that notes each call into it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def counter(self, name: str) -> "Told":
        return Told(self, name)

    @property
    def total(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for name, number in self.calls:
            total[name] += number
        return total


class Told:
    def __init__(self, group: Group, name: str) -> None:
        self._group, self._name = group, name

    def inc(self, number: int) -> None:
        self._group.calls.append((self._name, number))


def test_counts_are_told_together_after_a_while_and_at_once_where_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(counters.time, "monotonic", lambda: now[0])
    group = Group()
    counted = Counters(group)
    counted.count("a")
    counted.tell(at_once=True)
    assert group.calls == [("a", 1)]
    for name in ("a", "b", "a"):
        counted.count(name)
        counted.tell(at_once=False)
    assert group.calls == [("a", 1)]
    now[0] += TOLD_EVERY_S
    counted.tell(at_once=False)
    assert group.calls == [("a", 1), ("a", 2), ("b", 1)]
    counted.tell(at_once=True)
    assert group.total == {"a": 3, "b": 1}
