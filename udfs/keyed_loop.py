"""The shell round a decider: one keyed Flink operator that folds records, calls out, and folds the outcomes, without ever waiting.

Per key it keeps one value in Flink's state (`udfs.keyed_state`): the decider's bytes, and when its timer is due. Calls run on the process's
background loop and are not part of a checkpoint: what is pending stands in the decider's state, under a timer at most `guard_ms` away.
Restored timers fire at once, the decider is told that nothing is in flight, and its pending calls are made again. Timers are never deleted;
one that finds nothing due is idle. What a decider emits goes out on the main output: in thread mode a side output from a timer would fail
the job.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyflink.common import Configuration, Row, Types
from pyflink.datastream import BroadcastStream, DataStream, OutputTag, RuntimeContext
from pyflink.datastream.functions import KeyedBroadcastProcessFunction
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from loopwright.alarm import Quiet, alarm_ms, kept, told_ms
from loopwright.clock import now_ms
from loopwright.edges.background import Lane, Outcome
from loopwright.intake import Parse
from loopwright.masking import masked
from loopwright.step import Call, Decider, Emit, Performer, Record, Step
from loopwright.wire import Frames, framed
from udfs.counters import Counters
from udfs.host import ThreadHost, host_of
from udfs.keyed import keyed
from udfs.keyed_state import Stored, pack, unpack
from udfs.logs import detour_python_threads, pass_on
from udfs.rows import OUTPUT, record_of, row_of
from udfs.shipped import Shipped
from udfs.wakeup import Kind, open_wakeup

log = logging.getLogger(__name__)

REJECTED = OutputTag("rejected", OUTPUT)
DEFINITIONS = MapStateDescriptor("definitions", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
_BATCH = 1000  # outcomes and wakes handled before Flink's other work gets its turn
_SLICE_S, _SLICE_IN_A_BUNDLE_S = 0.5, 0.1  # how long a record is held back; in process mode a checkpoint waits for a bundle of records


def run_keyed(records: DataStream, definitions: BroadcastStream, loop: "KeyedLoop", uid: str) -> DataStream:
    """The rows that `loop` writes for `records` of type KEYED. The key's type is fixed there: `udfs.host` knows just this one.

    In process mode each record is a bundle of its own: Flink sets the timers of a bundle after it, and before the next record, but not
    before a checkpoint that comes at the end of it.
    """
    one_a_bundle = Configuration()
    one_a_bundle.set_integer("python.fn-execution.bundle.size", 1)
    records.get_execution_environment().configure(one_a_bundle)
    return keyed(records).connect(definitions).process(loop, OUTPUT).name(uid).uid(uid)


class KeyedLoop(Shipped, KeyedBroadcastProcessFunction):  # type: ignore[misc]  # pyflink is untyped
    """Input 1: rows of type RECORD; input 2, broadcast: Row(name, definition or None). Outputs, `REJECTED` too: Row(topic, key, value,
    headers).

    `parse` makes of a record its key and what the decider is given; or a record to be written in its place, which goes out on `REJECTED` (a
    dead letter; or the record itself, to be written to its topic once more under its key: counted as `filed_again`); or nothing (counted
    as `skipped`). `decider` and `performer` are importable factories, called when the task opens. A parse, decider or performer
    that raises fails the job: they promise not to, but that a parse may do so over a record that has to be read again. `frames` is how
    records are written by topic and type (None: as they are).

    While `max_in_flight` calls have not come back, or `max_waiting` keys wait for something that is down (`Step.held`), each record is held
    back for up to half a second: that holds Kafka back, and what is in memory and state hardly grows. After that the record is taken in
    all the same, so that timers and checkpoints, which wait behind it, get their turn. No more than `max_in_flight` calls run at a time.

    A key that its decider would forget is kept until nothing has come for it for a while (`alarm.Quiet`), `keep_ms` at the most.
    """

    def __init__(
        self,
        name: str,
        decider: Callable[[], Decider],
        performer: Callable[[], Performer],
        *,
        parse: Parse,
        frames: Frames | None = None,
        max_in_flight: int = 1000,
        max_waiting: int = 1000,
        keep_ms: int = 0,
        wakeup: Kind = "auto",
        guard_ms: int = 5000,
        poll_ms: int = 5,
    ) -> None:
        self._name = name
        self._parse = parse
        self._frames = frames
        self._make_decider = decider
        self._make_performer = performer
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        self._keep_ms = keep_ms
        self._wakeup_kind = wakeup
        self._guard_ms = guard_ms
        self._poll_ms = poll_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called by Flink when the task starts, before the first record and before restored timers fire."""
        detour_python_threads()
        self._decider = self._make_decider()
        self._state = runtime_context.get_state(ValueStateDescriptor("loop", Types.PICKLED_BYTE_ARRAY()))
        self._counters = Counters(runtime_context.get_metrics_group().add_group("loopwright"))
        self._in_flight: dict[str, set[str]] = {}
        self._outstanding = 0
        self._waiting: set[str] = set()
        self._held: set[str] = set()
        self._to_wake: dict[str, None] = {}
        self._catalogue_loaded = False
        self._poll_at = 0
        self._steady_ms = _steady()
        self._opened_ms = self._steady_ms()
        performer = self._make_performer()
        self._host = host_of(runtime_context)
        frames = self._frames
        self._row_of = (lambda emit: row_of(framed(emit, frames))) if frames else row_of
        self._slice_s = _SLICE_S if isinstance(self._host, ThreadHost) else _SLICE_IN_A_BUNDLE_S
        self._wakeup = open_wakeup(self._wakeup_kind, self._host, self._name, self._poll_ms)
        self._lane = Lane(performer, self._max_in_flight, self._wakeup.pipe, self._wakeup.rings)

    def close(self) -> None:
        """Called by Flink when the task ends, though not in every case: see Lane for the other sign."""
        if hasattr(self, "_lane"):
            self._lane.close()

    def process_element(self, value: Row, ctx: Any) -> Iterator[Any]:
        """A record; or, without a topic, the mailbox's marker that outcomes wait."""
        self._enter(ctx)
        record = record_of(value)
        if record.topic is None:
            yield from self._drain()
        else:
            yield from self._taken_in(record)
        self._counters.tell(at_once=not self._outstanding)

    def _taken_in(self, record: Record) -> Iterator[Any]:
        parsed = self._parse(record)
        if parsed is None:
            self._counters.count("skipped")
        elif isinstance(parsed, Emit):
            self._counters.count("filed_again" if parsed.topic == record.topic else "rejected")
            yield REJECTED, self._row_of(parsed)
        else:
            key, read = parsed
            yield from self._hold_back()
            if self._drained:  # else Flink has set the key of its record
                self._host.set_key(key)
            yield from self._fold(key, lambda state, now: self._decider.on_record(key, state, read, now))

    def process_broadcast_element(self, value: Row, ctx: Any) -> Iterator[Row]:
        """A definition, or None where it was removed. Keys that waited for one are woken."""
        self._enter(ctx)
        name, definition = value[0], value[1]
        catalogue = ctx.get_broadcast_state(DEFINITIONS)
        if definition is None:
            catalogue.remove(name)
        else:
            catalogue.put(name, definition)
        self._decider.on_definition(name, definition)
        self._to_wake.update(dict.fromkeys(self._waiting))
        self._waiting.clear()
        yield from self._drain()
        self._counters.tell(at_once=not self._outstanding)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Row]:
        """A key's timer, or the poll that rides on one."""
        self._enter(ctx)
        key = ctx.get_current_key()
        polled = bool(self._poll_at) and timestamp >= self._poll_at
        if polled:
            self._poll_at = 0
        yield from self._drain()
        self._host.set_key(key)
        due = unpack(self._state.value()).due_ms
        if due and due <= timestamp:
            yield from self._wake(key, timestamp)
        self._poll()
        self._counters.tell(at_once=not self._outstanding)

    def _enter(self, ctx: Any) -> None:
        self._host.seen(ctx)
        self._drained = False
        pass_on()
        if not self._catalogue_loaded:
            self._catalogue_loaded = True
            for name, definition in ctx.get_broadcast_state(DEFINITIONS).items():
                self._decider.on_definition(name, definition)

    def _hold_back(self) -> Iterator[Row]:
        """Wait while there is too much under way already, though not for long: see the class."""
        until = time.monotonic() + self._slice_s
        while self._outstanding >= self._max_in_flight or len(self._held) >= self._max_waiting:
            if self._lane.ended:
                raise RuntimeError(f"{self._name}: the task has ended")
            left = until - time.monotonic()
            if left <= 0:
                self._counters.count("held_back")
                return
            self._lane.wait(left)
            yield from self._drain()

    def _drain(self) -> Iterator[Row]:
        """Fold what came back and wake the keys that are to be woken, at most a batch of each; the rest after Flink's other work."""
        self._drained = True
        for outcome in self._lane.take(_BATCH):
            yield from self._finish(outcome)
        for key in list(self._to_wake)[:_BATCH]:
            del self._to_wake[key]
            self._host.set_key(key)
            yield from self._wake(key)
        if self._to_wake:
            self._lane.nudge()

    def _finish(self, outcome: Outcome) -> Iterator[Row]:
        if outcome.fault:
            raise RuntimeError(f"{self._name}: call {outcome.call_id} of {outcome.key} broke its performer: {masked(outcome.fault)}")
        key = outcome.key
        self._outstanding -= 1
        self._in_flight[key].discard(outcome.call_id)
        if not self._in_flight[key]:
            del self._in_flight[key]
        self._host.set_key(key)
        yield from self._fold(key, lambda state, now: self._decider.on_outcome(key, state, outcome.call_id, outcome.data, now))

    def _wake(self, key: str, at_ms: int = 0) -> Iterator[Row]:
        """For the current key: its timer is due, or a definition came."""
        in_flight = frozenset(self._in_flight.get(key, ()))
        return self._fold(key, lambda state, now: self._decider.on_wake(key, state, in_flight, now), at_ms, woken=True)

    def _fold(self, key: str, ask: Callable[[bytes | None, int], Step], fired_ms: int = 0, woken: bool = False) -> Iterator[Row]:
        """Ask the decider about the current key, and perform what it says. `fired_ms`: the time of the timer that led here, if one did."""
        raw = self._state.value()
        due, touched, state = unpack(raw)
        now = told_ms(now_ms(), fired_ms)
        try:
            step = ask(state, now)
        except Exception as error:
            log.exception("%s: the decider raised for key %s", self._name, key)
            said = masked(f"{type(error).__name__}: {error}")  # Flink logs what is raised here as it is
            raise RuntimeError(f"{self._name}: the decider raised for key {key}: {said}") from None
        if woken:
            step = kept(step, state, Quiet(touched, self._opened_ms, self._steady_ms()), self._keep_ms, now)
        else:
            touched = self._steady_ms()
        for call in step.calls:
            self._start(key, call)
        wanted = self._wanted(key, step, now)
        due = self._arm(wanted, 0 if due <= fired_ms else due, now)
        self._store(raw, pack(Stored(due if wanted or step.state is not None else 0, touched, step.state)))
        for name in step.counts:
            self._counters.count(name)
        self._poll()
        for emit in step.emits:
            yield self._row_of(emit)

    def _start(self, key: str, call: Call) -> None:
        of_key = self._in_flight.setdefault(key, set())
        if call.id in of_key:
            self._counters.count("calls_already_in_flight")
            return
        of_key.add(call.id)
        self._outstanding += 1
        self._counters.count("calls_started")
        self._lane.start(key, call)

    def _wanted(self, key: str, step: Step, now: int) -> int:
        """When the key has to be woken at the latest, in ms; 0: never."""
        times = [] if step.wake_at_ms is None else [max(step.wake_at_ms, now + 1)]
        if key in self._in_flight:
            times.append(now + self._guard_ms)
        if step.held:
            self._held.add(key)
        elif key not in self._in_flight:  # while it tries again it counts on
            self._held.discard(key)
        self._waiting.discard(key)
        if step.waiting:
            self._waiting.add(key)
            times.append(now + max(self._guard_ms, len(self._waiting)))  # many that wait share a thousand wakes a second
        return min(times, default=0)

    def _arm(self, wanted: int, due: int, now: int) -> int:
        """Set a timer for the current key where none is set that fires by then. Returns when the next one fires."""
        at = alarm_ms(wanted, due, now, now_ms())
        if at:
            self._host.set_timer(at)
        return at or due

    def _poll(self) -> None:
        """Where nothing wakes the task, one timer per operator instance looks into the inbox; it rides on the current key."""
        if self._wakeup.poll_ms and not self._poll_at and (self._outstanding or self._to_wake):
            self._poll_at = now_ms() + self._wakeup.poll_ms
            self._host.set_timer(self._poll_at)

    def _store(self, before: bytes | None, after: bytes | None) -> None:
        if after is None:
            if before is not None:
                self._state.clear()
        elif after != before:
            self._state.update(after)


def _steady() -> Callable[[], int]:
    """A clock in ms that begins as the machine's and never jumps."""
    ahead = now_ms() - time.monotonic_ns() // 1_000_000
    return lambda: ahead + time.monotonic_ns() // 1_000_000
