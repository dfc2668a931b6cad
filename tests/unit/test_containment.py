"""Non-determinism is contained: a model and agents that answer differently each time, crashed at any point, still give one path.

The machine in `tests/unit/containment.py` shows it; that it would find the opposite is shown by breaking one safeguard at a time.
"""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from loopwright.dispatch.decider import DispatchDecider
from loopwright.dispatch.state import DispatchState
from loopwright.history.invariants import Clock, Evidence
from loopwright.intake import intake
from loopwright.message import Message, arrived
from loopwright.registry.roster import records_of
from loopwright.routing.decider import RouteDecider
from loopwright.step import Record, Step
from loopwright.testing.simulation import Loop, Place, Simulation
from tests.unit.containment import SETTINGS, TEAM, TOPICS, World

CHOSEN = settings(max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
World.TestCase.settings = CHOSEN
TestContainment = pytest.mark.timeout(300)(World.TestCase)


class TheLastDecisionWins(DispatchDecider):
    """Acts on the last decision for a hop instead of the first."""

    def _decided(self, key: str, state: DispatchState, message: Message, raw: Record, now_ms: int) -> Step:
        return super()._decided(key, replace(state, hop=min(state.hop, message.hop - 1)), message, raw, now_ms)


class NothingIsFiled(Simulation):
    """Folds records where they stand, whatever their key: a start may come from another partition than what follows from it."""

    def deliver(self, loop: Loop, place: Place) -> None:
        offset = loop.offsets.get(place, 0)
        record = self._lanes[place][offset]
        if record.key is not None or record.value is None:
            return super().deliver(loop, place)
        loop.offsets[place] = offset + 1
        key = f"{place[0]}-{place[1]}-{offset}"
        return self._apply(loop, key, loop.decider.on_record(key, loop.states.get(key), arrived(record), self.now_ms))


class NothingIsCalledAgain(DispatchDecider):
    """Forgets after a restart what was being called."""

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        return replace(super().on_wake(key, state, in_flight, now_ms), calls=())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", [TheLastDecisionWins, NothingIsFiled, NothingIsCalledAgain], ids=lambda kind: kind.__name__)
def test_a_safeguard_that_is_broken_is_found_out(broken: type) -> None:
    name = "simulation" if issubclass(broken, Simulation) else "dispatcher"
    world: Any = type("BrokenWorld", (World,), {name: broken})
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            world, settings=settings(CHOSEN, max_examples=500, phases=[Phase.generate], derandomize=True, database=None)
        )


def worked(seed: int) -> World:
    """A world in which hours of work and three crashes are over."""
    world = World()
    world.begin(2, seed)
    for number, steps in enumerate((15, 40, 80)):
        world.the_machine_goes_down(seed + number, steps)
        world.checkpoint((0, 1) if number else (number,))
    world.sim.run(random.Random(seed))
    return world


def interleaved(logs: dict[str, list[Record]], rng: random.Random) -> list[Record]:
    """All records in an order that keeps that of each partition."""
    lanes: dict[Place, list[Record]] = {}
    for record in (record for log in logs.values() for record in log):
        lanes.setdefault((record.topic, record.partition), []).append(record)
    turns = [place for place, lane in lanes.items() for _ in lane]
    rng.shuffle(turns)
    read = {place: iter(lane) for place, lane in lanes.items()}
    return [next(read[place]) for place in turns]


def routed(records: list[Record]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """What a new router makes of the log: its states and results, without the time at which it saw an end that follows from the log."""
    router = RouteDecider(SETTINGS)
    for key, value in records_of(TEAM):
        router.on_definition(key, value)
    states: dict[str, bytes | None] = {}
    results: dict[str, dict[str, Any]] = {}
    now_ms = max(record.timestamp_ms for record in records)
    for record in records:
        taken = intake(record, SETTINGS.limits, TOPICS.dead_letters) if record.topic == TOPICS.messages else None
        if isinstance(taken, tuple):
            step = router.on_record(taken[0], states.get(taken[0]), taken[1], now_ms)
            states[taken[0]] = step.state
            for told in (orjson.loads(emit.value or b"") for emit in step.emits if emit.topic == TOPICS.results):
                results[taken[0]] = {**told["data"], "duration_ms": 0}
    return {key: {**orjson.loads(state), "ended_ms": 0} for key, state in states.items() if state}, results


@pytest.mark.timeout(120)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_log_gives_the_same_end_bit_by_bit_in_whatever_order_its_partitions_are_read(seed: int, order: int) -> None:
    sim = worked(seed).sim
    kept = {key: {**orjson.loads(state), "ended_ms": 0} for key, state in sim.route.states.items()}
    assert len(kept) == 2
    rng = random.Random(order)
    states, results = routed(interleaved(sim.logs, rng))
    assert states == kept
    assert results == {result.workflow: {**result.data, "duration_ms": 0} for result in sim.read(TOPICS.results)}
    one, other = (Evidence(TOPICS, SETTINGS.limits, SETTINGS.team) for _ in range(2))
    one.extend(interleaved(sim.logs, rng))
    other.extend(interleaved(sim.logs, rng))
    clock = Clock(sim.now_ms)
    assert orjson.dumps(one.report(clock).as_dict()) == orjson.dumps(other.report(clock).as_dict())
