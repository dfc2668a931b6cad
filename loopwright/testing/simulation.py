"""A whole orchestrator in memory: logs, router, dispatcher, agents and a model, in any order of events, with crashes wherever you like.

The deciders are those of the job; only what is round them is simulated. A test draws the order of events from a random generator, or takes
each single step itself (hypothesis), and looks at the logs afterwards. Time stands still until nothing else can happen, then it jumps to
the next timer.
"""

import random
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from loopwright.alarm import Quiet, kept
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
Place = tuple[str, int]


@dataclass
class Loop:
    """One operator: its decider, the topics it reads, and all that a checkpoint holds. `outbox` is what its producer has not sent yet."""

    name: str
    make: Callable[[], Decider]
    topics: tuple[str, ...]
    perform: Performed
    definitions: tuple[AgentDefinition, ...]
    states: dict[str, bytes] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    offsets: dict[Place, int] = field(default_factory=dict)
    in_flight: dict[tuple[str, str], Call] = field(default_factory=dict)
    outbox: list[Emit] = field(default_factory=list)
    touched: dict[str, int] = field(default_factory=dict)
    opened_ms: int = 0
    saved: tuple[dict[str, bytes], dict[str, int], dict[Place, int]] = field(default_factory=lambda: ({}, {}, {}))

    def __post_init__(self) -> None:
        """Start the decider with its definitions."""
        self.restart()

    def restart(self) -> None:
        """A new decider, as after a start of the process."""
        self.decider = self.make()
        for key, value in records_of(self.definitions):
            self.decider.on_definition(key, value)

    def checkpoint(self) -> None:
        """Save what Flink would save. Its sinks send everything first: see `Simulation.checkpoint`."""
        self.saved = (dict(self.states), dict(self.timers), dict(self.offsets))

    def crash(self, now_ms: int) -> None:
        """Lose everything since the last checkpoint. A restored key that has a state is woken at once."""
        states, timers, offsets = self.saved
        self.states, self.offsets = dict(states), dict(offsets)
        self.timers = dict.fromkeys(self.states, now_ms) | {key: min(at, now_ms) for key, at in timers.items()}
        self.in_flight.clear()
        self.outbox.clear()
        self.touched.clear()
        self.opened_ms = now_ms
        self.restart()


class Simulation:
    """Router and dispatcher over logs in memory. `agent` and `model` turn a call's payload into its outcome (see `loopwright.edges`).

    `buffered`: what an operator writes waits in its producer until it is sent or, in a crash, lost; otherwise it is in the log at once.
    """

    def __init__(
        self,
        settings: Settings,
        definitions: Iterable[AgentDefinition],
        agent: Performed,
        model: Performed,
        partitions: int = 1,
        buffered: bool = False,
    ) -> None:
        self.settings, self.now_ms = settings, START_MS
        self.partitions, self.buffered = partitions, buffered
        self.logs: dict[str, list[Record]] = {}
        self.counts: dict[str, int] = {}
        self._lanes: dict[Place, list[Record]] = {}
        topics, known = settings.topics, tuple(definitions)
        self.route = Loop("route", lambda: RouteDecider(settings), (topics.messages,), model, known)
        self.dispatch = Loop("dispatch", lambda: DispatchDecider(settings), (topics.decisions, topics.callbacks), agent, known)
        self.loops = (self.route, self.dispatch)

    @property
    def steady_ms(self) -> int:
        """The time by a clock that never jumps."""
        return self.now_ms

    def write(self, topic: str, value: bytes | None, key: bytes | None = None, partition: int | None = None) -> Record:
        """Append a record to a log: to `partition`, or to the one that the key belongs to (the first, where there is no key)."""
        if partition is None:
            partition = zlib.crc32(key) % self.partitions if key else 0
        lane = self._lanes.setdefault((topic, partition), [])
        lane.append(Record(topic, partition, len(lane), self.now_ms, key, value))
        self.logs.setdefault(topic, []).append(lane[-1])
        return lane[-1]

    def read(self, topic: str) -> list[Message]:
        """All messages in a log that was written by the deciders."""
        return [read(record) for record in self.logs.get(topic, [])]

    def unread(self, loop: Loop) -> list[Place]:
        """The topics and partitions in which a record waits for `loop`."""
        return [at for at, lane in self._lanes.items() if at[0] in loop.topics and loop.offsets.get(at, 0) < len(lane)]

    def unsent(self, loop: Loop) -> list[Place]:
        """The topics and partitions for which a record waits in the producer of `loop`."""
        return list(dict.fromkeys(self._place(emit) for emit in loop.outbox))

    def actions(self) -> list[Callable[[], None]]:
        """What can happen next: a record is read or sent, a call comes back, a timer fires that is due."""
        found: list[Callable[[], None]] = []
        for loop in self.loops:
            found += [partial(self.deliver, loop, place) for place in self.unread(loop)]
            found += [partial(self.send, loop, place) for place in self.unsent(loop)]
            found += [partial(self.come_back, loop, key, call_id) for key, call_id in loop.in_flight]
            found += [partial(self.wake, loop, key) for key, at in loop.timers.items() if at <= self.now_ms]
        return found

    def run(self, rng: random.Random, crash_rate: float = 0.0, steps: int = 5000, within_ms: int = 1_800_000) -> None:
        """Let things happen in an order that `rng` draws, until nothing is left to do within `within_ms` of simulated time.

        Raises RuntimeError when it is not done within `steps`.
        """
        end_ms = self.now_ms + within_ms
        for _ in range(steps):
            if crash_rate and rng.random() < crash_rate:
                loop = rng.choice(self.loops)
                self.checkpoint(loop) if rng.random() < 0.5 else loop.crash(self.now_ms)
            possible = self.actions()
            if possible:
                rng.choice(possible)()
                continue
            if not self.pass_time(end_ms):
                return
        raise RuntimeError(f"not done after {steps} steps")

    def pass_time(self, end_ms: int) -> bool:
        """Jump to the next timer; False where there is none before `end_ms`."""
        coming = [at for loop in self.loops for at in loop.timers.values()]
        if not coming or min(coming) > end_ms:
            return False
        self.now_ms = min(coming)
        return True

    def deliver(self, loop: Loop, place: Place) -> None:
        """`loop` reads the next record there."""
        offset = loop.offsets.get(place, 0)
        loop.offsets[place] = offset + 1
        taken = intake(self._lanes[place][offset], self.settings.limits, self.settings.topics.dead_letters)
        if isinstance(taken, Emit):
            self._emit(loop, taken)
        elif taken is not None:
            key, record = taken
            loop.touched[key] = self.steady_ms
            self._apply(loop, key, loop.decider.on_record(key, loop.states.get(key), record, self.now_ms))

    def come_back(self, loop: Loop, key: str, call_id: str) -> None:
        """A call of `loop` is done."""
        call = loop.in_flight.pop((key, call_id))
        outcome = orjson.dumps(loop.perform(orjson.loads(call.payload)))
        loop.touched[key] = self.steady_ms
        self._apply(loop, key, loop.decider.on_outcome(key, loop.states.get(key), call_id, outcome, self.now_ms))

    def wake(self, loop: Loop, key: str) -> None:
        """The timer of a key fires; where it is not due yet, something else wakes the key, and the timer stays."""
        if loop.timers.get(key, self.now_ms + 1) <= self.now_ms:
            del loop.timers[key]
        under_way = frozenset(call_id for other, call_id in loop.in_flight if other == key)
        state = loop.states.get(key)
        step = loop.decider.on_wake(key, state, under_way, self.now_ms)
        quiet = Quiet(loop.touched.get(key, 0), loop.opened_ms, self.steady_ms)
        self._apply(loop, key, kept(step, state, quiet, self.settings.limits.deduplication_ms, self.now_ms))

    def send(self, loop: Loop, place: Place, times: int = 1) -> None:
        """The producer of `loop` sends the oldest record that waits for this place; more than once where it was not told of success."""
        emit = next(emit for emit in loop.outbox if self._place(emit) == place)
        loop.outbox.remove(emit)
        for _ in range(times):
            self.write(emit.topic, emit.value, emit.key)

    def checkpoint(self, loop: Loop) -> None:
        """Save what Flink would save, after everything was sent."""
        while loop.outbox:
            self.send(loop, self._place(loop.outbox[0]))
        loop.checkpoint()

    def _place(self, emit: Emit) -> Place:
        return emit.topic, zlib.crc32(emit.key) % self.partitions

    def _emit(self, loop: Loop, emit: Emit) -> None:
        if self.buffered:
            loop.outbox.append(emit)
        else:
            self.write(emit.topic, emit.value, emit.key)

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
            self._emit(loop, emit)
        for name in step.counts:
            self.counts[name] = self.counts.get(name, 0) + 1


def always(outcome: Mapping[str, Any]) -> Performed:
    """A performer that gives the same outcome whatever is asked."""
    return lambda payload: dict(outcome)  # noqa: ARG005  # the payload does not matter
