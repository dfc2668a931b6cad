"""What a decider and its shell say to each other.

A *decider* is pure: it is given its state, an input and the time, and answers with a `Step`: the new state, the records to write,
the calls to make, and when it wants to be woken. A *shell* (the Flink operator, a test, the command line) performs the step. So the
same decider runs in production, in a property test and in a replay on a laptop.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stood in a topic. `timestamp_ms` is Kafka's, in milliseconds since the epoch; key and value are raw bytes."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Emit:
    """A record to write. The topic is a real topic name; the key is the workflow id in UTF-8."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """Something to be done outside: an agent to POST to, a model to ask. `id` is unique within its key; `payload` is JSON."""

    id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """What a decider wants after one input.

    `state` is the new state of this key (None: forget the key). `calls` are to be started now; the outcome of each comes back once,
    through `Decider.on_outcome`. `wake_at_ms` is the earliest time at which `on_wake` is wanted. `counts` names counters to increment.
    `waiting` means that nothing can be done before a definition arrives: the shell wakes the key when one does. `held` means that the key
    waits for something outside that is down: the shell takes in fewer new records while many keys do.
    """

    state: bytes | None
    emits: tuple[Emit, ...] = ()
    calls: tuple[Call, ...] = ()
    wake_at_ms: int | None = None
    counts: tuple[str, ...] = ()
    waiting: bool = False
    held: bool = False


class Decider(Protocol):
    """A keyed state machine. Every method is pure but for `on_definition`, which keeps the compiled catalogue in memory."""

    def on_record(self, key: str, state: bytes | None, record: Any, now_ms: int) -> Step:
        """Fold one record, as whoever parsed it hands it on, into the state."""

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:
        """Fold the outcome (JSON) of a call that this key asked for. A call that is no longer pending is counted and ignored."""

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        """Do what is due. Pending calls that are not in flight (after a restore nothing is) are returned in `calls` again."""

    def on_definition(self, key: str, value: bytes | None) -> None:
        """Take note of an agent definition (None: it was removed)."""


class Performer(Protocol):
    """The acting half: performs calls on an asyncio loop. Never raises; every outcome, failures too, is JSON data."""

    async def open(self) -> None:
        """Make the clients."""

    async def perform(self, call: Call) -> bytes:
        """Do one call and return its outcome as JSON."""

    async def close(self) -> None:
        """Close the clients."""
