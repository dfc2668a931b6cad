"""The clock of the job's machine jumps by hours, forward and back, at any moment; Kafka's does not, and timers count on as Flink's do."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.alarm import alarm_ms, told_ms
from loopwright.settings import Settings
from loopwright.step import Record, Step
from loopwright.testing.simulation import Loop, Simulation
from tests.unit.sdr_team import LEAD, sdr_team
from tests.unit.test_loop import Agents, fickle

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics
HOUR_MS = 3_600_000
GUARD_MS = 1000
COUNT = 3


class Jumping(Simulation):
    """A simulation in which `real_ms` runs on, and the job's clock is `skew_ms` off. Alarms are (real time, time that it was set for)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.real_ms, self.skew_ms, self.fired_ms = self.now_ms, 0, 0
        self.alarms: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.due: dict[tuple[str, str], int] = {}
        self.kept: dict[str, tuple[dict[tuple[str, str], list[int]], dict[tuple[str, str], int]]] = {}

    @property
    def clock_ms(self) -> int:
        return self.real_ms + self.skew_ms

    @property
    def steady_ms(self) -> int:
        return self.real_ms

    def write(self, topic: str, value: bytes | None, key: bytes | None = None, partition: int | None = None) -> Record:
        told, self.now_ms = self.now_ms, self.real_ms
        written = super().write(topic, value, key, partition)
        self.now_ms = told
        return written

    def actions(self) -> list[Callable[[], None]]:
        ringing = [(at, key) for key, alarms in self.alarms.items() for at in alarms if at[0] <= self.real_ms]
        return [*super().actions(), *(partial(self.ring, at, key) for at, key in ringing)]

    def ring(self, at: tuple[int, int], key: tuple[str, str]) -> None:
        self.alarms[key].remove(at)
        if 0 < self.due.get(key, 0) <= at[1]:
            self.fired_ms = at[1]
            self.now_ms = told_ms(self.clock_ms, self.fired_ms)
            self.wake(next(loop for loop in self.loops if loop.name == key[0]), key[1])

    def _apply(self, loop: Loop, key: str, step: Step) -> None:
        """As `udfs.keyed_loop` does it."""
        super()._apply(loop, key, replace(step, wake_at_ms=None))
        under_way = any(other == key for other, _ in loop.in_flight)
        times = ([max(step.wake_at_ms, self.now_ms + 1)] if step.wake_at_ms is not None else []) + [self.now_ms + GUARD_MS] * under_way
        due = self.due.get((loop.name, key), 0)
        due = 0 if due <= self.fired_ms else due
        at = alarm_ms(min(times, default=0), due, self.now_ms, self.clock_ms)
        if at:
            self._set((loop.name, key), at)
        self.due[loop.name, key] = (at or due) if times or step.state is not None else 0

    def _set(self, key: tuple[str, str], at_ms: int) -> None:
        self.alarms.setdefault(key, []).append((self.real_ms + max(0, at_ms - self.clock_ms), at_ms))

    def save(self, loop: Loop) -> None:
        loop.checkpoint()
        mine = {key: [at for _, at in alarms] for key, alarms in self.alarms.items() if key[0] == loop.name}
        self.kept[loop.name] = mine, {key: at for key, at in self.due.items() if key[0] == loop.name}

    def crash(self, loop: Loop) -> None:
        loop.crash(self.clock_ms)
        loop.opened_ms = self.real_ms
        loop.timers.clear()
        alarms, due = self.kept.get(loop.name, ({}, {}))
        for memory in (self.alarms, self.due):
            for key in [key for key in memory if key[0] == loop.name]:
                del memory[key]
        self.due |= due
        for key, times in alarms.items():
            for at in times:
                self._set(key, at)

    def live(self, rng: random.Random, jumps: int, crashes: int, hours: int, steps: int = 20_000) -> None:
        """Until nothing is left to do within `hours` of real time; the clock jumps and operators crash among the first 200 steps."""
        end_ms = self.real_ms + hours * HOUR_MS
        jump_at = {rng.randrange(200) for _ in range(jumps)}
        crash_at = {rng.randrange(200) for _ in range(crashes)}
        for step in range(steps):
            self.real_ms += rng.randrange(5)
            if step in jump_at:
                self.skew_ms = rng.randrange(-10 * HOUR_MS, 10 * HOUR_MS)
            if step in crash_at:  # both, from one checkpoint, as Flink does: one alone would have forgotten what the other one still does
                for loop in self.loops:
                    self.crash(loop)
            elif rng.random() < 0.1:
                for loop in self.loops:
                    self.save(loop)
            self.now_ms, self.fired_ms = self.clock_ms, 0
            possible = self.actions()
            if possible:
                rng.choice(possible)()
                continue
            coming = [at for alarms in self.alarms.values() for at, _ in alarms]
            if not coming or min(coming) > end_ms:
                return
            self.real_ms = min(coming)
        raise AssertionError(f"it spins: not done after {steps} steps; {self.counts}")

    def accounted(self) -> dict[str, int]:
        """By workflow, when it ended or was parked for the first time, in ms of real time. After a crash a result may be written again."""
        settled = [m for m in self.read(TOPICS.messages) if m.type == schemas.SETTLED]
        found: dict[str, int] = {}
        for m in sorted([*self.read(TOPICS.results), *settled], key=lambda m: m.logged_ms):
            found.setdefault(m.workflow, m.logged_ms)
        return found


def started(rng: random.Random, failing: float) -> Jumping:
    simulation = Jumping(SETTINGS, sdr_team(), Agents(rng, failing), fickle(rng))
    for number in range(COUNT):
        simulation.write(TOPICS.messages, orjson.dumps(LEAD | {"name": f"Lead {number}"}))
    return simulation


def too_early(simulation: Jumping) -> list[str]:
    """Workflows that ended for their deadline before it."""
    begun = {m.workflow: m.logged_ms for m in simulation.read(TOPICS.messages) if m.type == schemas.STARTED}
    limit_ms = SETTINGS.limits.deadline_ms - 10_000
    late = [m for m in simulation.read(TOPICS.results) if "not done within" in str(m.data.get("reason"))]
    return [m.workflow for m in late if m.logged_ms - begun[m.workflow] < limit_ms]


@pytest.mark.timeout(120)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
@settings(max_examples=40, deadline=None)
def test_a_clock_that_jumps_by_hours_loses_no_workflow_and_holds_none_up(seed: int, failing: float) -> None:
    rng = random.Random(seed)
    simulation = started(rng, failing)
    began_ms = simulation.real_ms
    simulation.live(rng, jumps=6, crashes=0, hours=60)
    accounted = simulation.accounted()
    assert len(accounted) == COUNT
    assert max(accounted.values()) - began_ms < 3 * HOUR_MS, "a workflow waited for the clock"
    assert too_early(simulation) == []


@pytest.mark.timeout(120)
@example(2097151, 0.0)
@example(18862, 0.3)  # a record comes when a timer is due and has not fired
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
@settings(max_examples=40, deadline=None)
def test_crashes_while_the_clock_jumps_cost_no_more_than_the_clock_was_off(seed: int, failing: float) -> None:
    """A timer that was set by a clock that was hours ahead, and restored when it was right again, fires when the clock gets there."""
    rng = random.Random(seed)
    simulation = started(rng, failing)
    began_ms = simulation.real_ms
    simulation.live(rng, jumps=6, crashes=6, hours=60)
    accounted = simulation.accounted()
    assert len(accounted) == COUNT
    assert max(accounted.values()) - began_ms < 25 * HOUR_MS
    assert too_early(simulation) == []
