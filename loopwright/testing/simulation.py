"""A whole orchestrator in memory: logs, router, dispatcher, agents and a model, in any order of events, with crashes wherever you like.

The deciders are those of the job; only what is round them is simulated. A test draws the order of events from a random generator (or from
hypothesis) and looks at the logs afterwards. Time stands still until nothing else can happen, then it jumps to the next timer.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from loopwright.dispatch.decider import DispatchDecider
from loopwright.intake import intake
from loopwright.message import Message, read
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.roster import records_of
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings
from loopwright.step import Call, Decider, Emit, Record, Step

START_MS = 1_700_000_000_000
Performed = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Loop:
    """One operator: its decider, the topics it reads, and all that a checkpoint holds."""

    name: str
    make: Callable[[], Decider]
    topics: tuple[str, ...]
    perform: Performed
    definitions: tuple[AgentDefinition, ...]
    states: dict[str, bytes] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    in_flight: dict[tuple[str, str], Call] = field(default_factory=dict)
    saved: tuple[dict[str, bytes], dict[str, int], dict[str, int]] = field(default_factory=lambda: ({}, {}, {}))

    def __post_init__(self) -> None:
        """Start the decider with its definitions."""
        self.restart()

    def restart(self) -> None:
        """A new decider, as after a start of the process."""
        self.decider = self.make()
        for key, value in records_of(self.definitions):
            self.decider.on_definition(key, value)

    def checkpoint(self) -> None:
        """Save what Flink would save."""
        self.saved = (dict(self.states), dict(self.timers), dict(self.offsets))

    def crash(self, now_ms: int) -> None:
        """Lose everything since the last checkpoint. A restored key that has a state is woken at once."""
        states, timers, offsets = self.saved
        self.states, self.offsets = dict(states), dict(offsets)
        self.timers = dict.fromkeys(self.states, now_ms) | {key: min(at, now_ms) for key, at in timers.items()}
        self.in_flight.clear()
        self.restart()


class Simulation:
    """Router and dispatcher over logs in memory. `agent` and `model` turn a call's payload into its outcome (see `loopwright.edges`)."""

    def __init__(self, settings: Settings, definitions: Iterable[AgentDefinition], agent: Performed, model: Performed) -> None:
        self.settings, self.now_ms = settings, START_MS
        self.logs: dict[str, list[Record]] = {}
        self.counts: dict[str, int] = {}
        topics, known = settings.topics, tuple(definitions)
        self.route = Loop("route", lambda: RouteDecider(settings), (topics.messages,), model, known)
        self.dispatch = Loop("dispatch", lambda: DispatchDecider(settings), (topics.decisions, topics.callbacks), agent, known)
        self.loops = (self.route, self.dispatch)

    def write(self, topic: str, value: bytes | None, key: bytes | None = None) -> None:
        """Append a record to a log."""
        log = self.logs.setdefault(topic, [])
        log.append(Record(topic, 0, len(log), self.now_ms, key, value))

    def read(self, topic: str) -> list[Message]:
        """All messages in a log that was written by the deciders."""
        return [read(record) for record in self.logs.get(topic, [])]

    def actions(self) -> list[Callable[[], None]]:
        """What can happen next: a record is read, a call comes back, a timer fires that is due."""
        found: list[Callable[[], None]] = []
        for loop in self.loops:
            for topic in loop.topics:
                if loop.offsets.get(topic, 0) < len(self.logs.get(topic, [])):
                    found.append(lambda loop=loop, topic=topic: self._deliver(loop, topic))  # type: ignore[misc]
            for key, call_id in loop.in_flight:
                found.append(lambda loop=loop, key=key, call_id=call_id: self._come_back(loop, key, call_id))  # type: ignore[misc]
            for key, at in loop.timers.items():
                if at <= self.now_ms:
                    found.append(lambda loop=loop, key=key: self._fire(loop, key))  # type: ignore[misc]
        return found

    def run(self, rng: random.Random, crash_rate: float = 0.0, steps: int = 5000, within_ms: int = 1_800_000) -> None:
        """Let things happen in an order that `rng` draws, until nothing is left to do within `within_ms` of simulated time.

        Raises RuntimeError when it is not done within `steps`.
        """
        end_ms = self.now_ms + within_ms
        for _ in range(steps):
            if crash_rate and rng.random() < crash_rate:
                loop = rng.choice(self.loops)
                loop.checkpoint() if rng.random() < 0.5 else loop.crash(self.now_ms)
            possible = self.actions()
            if possible:
                rng.choice(possible)()
                continue
            coming = [at for loop in self.loops for at in loop.timers.values()]
            if not coming or min(coming) > end_ms:
                return
            self.now_ms = min(coming)
        raise RuntimeError(f"not done after {steps} steps")

    def _deliver(self, loop: Loop, topic: str) -> None:
        offset = loop.offsets.get(topic, 0)
        loop.offsets[topic] = offset + 1
        taken = intake(self.logs[topic][offset], self.settings.limits, self.settings.topics.dead_letters)
        if isinstance(taken, Emit):
            self.write(taken.topic, taken.value, taken.key)
        elif taken is not None:
            key, record = taken
            self._apply(loop, key, loop.decider.on_record(key, loop.states.get(key), record, self.now_ms))

    def _come_back(self, loop: Loop, key: str, call_id: str) -> None:
        call = loop.in_flight.pop((key, call_id))
        outcome = orjson.dumps(loop.perform(orjson.loads(call.payload)))
        self._apply(loop, key, loop.decider.on_outcome(key, loop.states.get(key), call_id, outcome, self.now_ms))

    def _fire(self, loop: Loop, key: str) -> None:
        del loop.timers[key]
        under_way = frozenset(call_id for other, call_id in loop.in_flight if other == key)
        self._apply(loop, key, loop.decider.on_wake(key, loop.states.get(key), under_way, self.now_ms))

    def _apply(self, loop: Loop, key: str, step: Step) -> None:
        if step.state is None:
            loop.states.pop(key, None)
        else:
            loop.states[key] = step.state
        if step.wake_at_ms is not None:
            loop.timers[key] = min(step.wake_at_ms, loop.timers.get(key, step.wake_at_ms))
        for call in step.calls:
            loop.in_flight[key, call.id] = call
        for emit in step.emits:
            self.write(emit.topic, emit.value, emit.key)
        for name in step.counts:
            self.counts[name] = self.counts.get(name, 0) + 1


def always(outcome: Mapping[str, Any]) -> Performed:
    """A performer that gives the same outcome whatever is asked."""
    return lambda payload: dict(outcome)  # noqa: ARG005  # the payload does not matter
