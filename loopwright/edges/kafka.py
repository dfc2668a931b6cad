"""Kafka outside the job: send and wait for the acknowledgement, read a topic from end to end, follow it, make topics.

A thin typed layer over confluent-kafka. No consumer group is used and no offset is committed: who reads here reads for a person, a
test or a projection, and says where to begin. Vendor errors come out as `loopwright.errors`, by the table in `translate`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from loopwright.edges.platform.ports import HOST, read_ports
from loopwright.edges.translate import KAFKA, kafka_error
from loopwright.edges.values import Framing, as_json, reader
from loopwright.errors import LoopwrightError, NotFound, Retryable, Unreachable
from loopwright.settings import Settings
from loopwright.step import Emit, Record
from loopwright.wire import MAGIC, Decode

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_SEND_DEADLINE_S = 30.0
_METADATA_DEADLINE_S = 5.0
_STALL_DEADLINE_S = 30.0
_POLL_S = 0.2
_BATCH = 500
_UP = "start the local platform with `loopwright up`, or set LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS"


def bootstrap_servers(settings: Settings) -> str:
    """The brokers, host:port comma-separated: from the settings, or of the local platform. Raises Unreachable where there is neither."""
    if settings.kafka.bootstrap_servers:
        return settings.kafka.bootstrap_servers
    ports = settings.home / "run" / "ports.json"
    port = read_ports(ports).get("kafka")
    if port is None:
        why = f"LOOPWRIGHT_KAFKA__BOOTSTRAP_SERVERS is empty and {ports} names no local broker"
        raise Unreachable("no Kafka is known", why, _UP)
    return f"{HOST}:{port}"


def client_config(settings: Settings) -> dict[str, str | int | float | bool]:
    """What every client is given: the brokers, then `settings.kafka.client` on top. Its values are secrets: do not print it."""
    return {
        "bootstrap.servers": bootstrap_servers(settings),
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,  # what goes wrong reaches the caller as an error; librdkafka's lines on stderr would say it again
        **settings.kafka.client,
    }


@contextmanager
def _translated(what: str, settings: Settings) -> Iterator[None]:
    try:
        yield
    except ck.KafkaException as error:
        raise _translate(error.args[0], what, settings) from error


def _translate(error: ck.KafkaError, what: str, settings: Settings) -> LoopwrightError:
    return kafka_error(error.name(), error.str(), what, bootstrap_servers(settings), error.retriable())


class Producer:
    """Sends records and waits until the brokers have them (acks=all, idempotent). Safe to share between threads; made on first use.

    Waits 30 s at most, or as long as `delivery.timeout.ms` in the client settings says. Records name their schemas as the settings have it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patience_s = float(settings.kafka.client.get("delivery.timeout.ms", _SEND_DEADLINE_S * 1000)) / 1000
        self._client: ck.Producer | None = None
        self._framing = Framing(settings)

    def open(self) -> ck.Producer:
        """Make the client. Raises Unreachable where no broker is known, InvalidSettings where the client refuses its settings."""
        if self._client is None:
            config = client_config(self._settings) | {"acks": "all", "enable.idempotence": True, "linger.ms": 0}
            config["partitioner"] = "murmur2_random"  # as the Java clients do: a workflow's records share a partition whoever writes them
            with _translated("the Kafka client cannot be made", self._settings):
                self._client = ck.Producer(config | {"delivery.timeout.ms": int(self._patience_s * 1000)})
        return self._client

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
        """Write one record (value None: a tombstone) and wait for the acknowledgement. Raises by the table in `translate`."""
        if value is None:
            self._send([(topic, key, value, dict(headers or {}))])
        else:
            self.send_many([Emit(topic, key, value, dict(headers or {}))])

    def send_many(self, emits: Iterable[Emit]) -> None:
        """Write records, in order within each key, and wait until all are acknowledged. Raises the first failure."""
        self._send([(e.topic, e.key, e.value, e.headers) for e in map(self._framing.framed, emits)])

    def close(self) -> None:
        """Let go of the client. Nothing is pending: each send has waited."""
        self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _send(self, records: Sequence[tuple[str, bytes, bytes | None, dict[str, bytes]]]) -> None:
        client, delivery = self.open(), _Delivery()
        deadline = time.monotonic() + self._patience_s
        topics = ", ".join(sorted({r[0] for r in records}))
        with _translated(f"a record could not be written to {topics}", self._settings):
            try:
                for topic, key, value, headers in records:
                    self._queue(client, deadline, topic, value, key, list(headers.items()), delivery)
                while delivery.done < len(records) and time.monotonic() < deadline + 1:
                    client.poll(0.05)
            except ck.KafkaException as error:
                if error.args[0].fatal():  # such as a missing right to write: this client never sends again, the next one may
                    self.close()
                raise
        if delivery.failed is not None:
            raise _translate(delivery.failed, f"a record could not be written to {topics}", self._settings)
        if delivery.done < len(records):
            raise Unreachable(f"{topics}: no acknowledgement within {self._patience_s:g} s", bootstrap_servers(self._settings), _UP)

    def _queue(self, client: ck.Producer, deadline: float, *record: Any) -> None:
        topic, value, key, headers, delivery = record
        while True:
            try:
                client.produce(topic, value, key, on_delivery=delivery, headers=headers)
                return
            except BufferError:  # the local queue is full: let deliveries make room
                if time.monotonic() > deadline:
                    raise
                client.poll(0.1)


@dataclass
class _Delivery:
    """Counts the acknowledgements of one `send`."""

    done: int = 0
    failed: ck.KafkaError | None = None

    def __call__(self, error: ck.KafkaError | None, _message: Any) -> None:
        self.done += 1
        self.failed = self.failed or error


def reachable(settings: Settings) -> None:
    """Return when a broker answers; raise Unreachable within about five seconds otherwise, InvalidSettings where it lets us not in."""
    _listed(settings)


def topics(settings: Settings) -> dict[str, int]:
    """The topics' names and their numbers of partitions. Such that this user may not know of are left out. Raises as `reachable`."""
    return {name: len(topic.partitions) for name, topic in _listed(settings).topics.items()}


def present(settings: Settings, names: Iterable[str]) -> list[str]:
    """Those of the topics that are there. Raises InvalidSettings for one that is closed to this user, else as `reachable`."""
    there = topics(settings)
    return [name for name in names if name in there or _opened(settings, name)]


def _opened(settings: Settings, topic: str) -> bool:
    """Whether a topic that was not listed is there after all; one that is closed to this user is never listed."""
    if not settings.kafka.client:
        return False
    error = _listed(settings, topic).topics[topic].error
    if error is not None and error.code() == ck.KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise _translate(error, f"topic {topic} cannot be read", settings)
    return error is None


def _listed(settings: Settings, topic: str | None = None) -> Any:
    """What the brokers tell of all topics, or of one."""
    refused: list[ck.KafkaError] = []
    config: dict[str, Any] = {**client_config(settings), "error_cb": refused.append}
    with _translated("the Kafka client cannot be made", settings):
        client = AdminClient(config)
    try:
        return client.list_topics(topic, timeout=_METADATA_DEADLINE_S) if topic else client.list_topics(timeout=_METADATA_DEADLINE_S)
    except ck.KafkaException as error:
        client.poll(0)  # a login that was refused is told by callback alone; the call itself just takes too long
        logins = [one for one in refused if one.code() == ck.KafkaError._AUTHENTICATION]
        raise _translate((logins or error.args)[0], "Kafka does not answer", settings) from error


@dataclass(frozen=True)
class TopicSpec:
    """A topic to make: its partitions, replication factor (-1: the broker's default) and settings such as cleanup.policy.

    `tiers` are settings for brokers that have tiered storage; others refuse them.
    """

    name: str
    partitions: int = 4
    replication: int = -1
    config: dict[str, str] = field(default_factory=dict)
    tiers: dict[str, str] = field(default_factory=dict)


def ensure_topics(settings: Settings, wanted: Iterable[TopicSpec]) -> list[str]:
    """Make the topics that are not there yet, wait until the brokers know them, and return their names. What is there stays as it is."""
    there = topics(settings)
    missing = [t for t in wanted if t.name not in there]
    if not missing:
        return []
    new = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=t.replication, config=t.config) for t in missing]
    admin = AdminClient(client_config(settings))  # held: the futures die with it
    futures = admin.create_topics(new, operation_timeout=_SEND_DEADLINE_S, request_timeout=_SEND_DEADLINE_S)
    made = sorted(name for name, future in futures.items() if _is_made(name, future, settings))
    deadline = time.monotonic() + _SEND_DEADLINE_S
    while not {t.name for t in missing} <= topics(settings).keys() and time.monotonic() < deadline:
        time.sleep(_POLL_S / 4)
    return made


def _is_made(name: str, future: Future[None], settings: Settings) -> bool:
    """Whether it was made by us; somebody else may have been quicker."""
    try:
        future.result(timeout=_SEND_DEADLINE_S + 5)
    except TimeoutError as error:
        raise Unreachable(f"topic {name} cannot be made", f"{bootstrap_servers(settings)} does not answer", _UP) from error
    except ck.KafkaException as error:
        if error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise _translate(error.args[0], f"topic {name} cannot be made", settings) from error
    return True


def read_all(settings: Settings, names: Sequence[str], since_ms: int | None = None) -> Iterator[Record]:
    """Every record of the topics, tombstones too, up to where they end at this moment; in order within each partition.

    `since_ms` leaves out what is older (ms since the epoch). Committed records alone are given, and as JSON: a value that names its schema
    is translated. Raises NotFound for a missing topic, Unreachable when the broker stays silent for 30 s.
    """
    consumer = _consumer(settings)
    try:
        with _translated(f"{', '.join(names)} cannot be read", settings):
            starts = _positions(consumer, settings, names, since_ms)
            yield from _until_ends(consumer, settings, starts)
    finally:
        consumer.close()


def tail(settings: Settings, names: Sequence[str], from_beginning: bool, stop: Callable[[], bool]) -> Iterator[Record | None]:
    """Follow the topics until `stop()`; None where nothing came for a fifth of a second.

    Begins where they end at this call (not at the first record asked for), or at their start. Raises as `read_all`.
    """
    consumer = _consumer(settings)
    with _translated(f"{', '.join(names)} cannot be followed", settings):
        starts = _positions(consumer, settings, names, None)
        consumer.assign([ck.TopicPartition(t, p, low if from_beginning else high) for (t, p), (low, high) in starts.items()])
    return _follow(consumer, settings, stop)


def _follow(consumer: ck.Consumer, settings: Settings, stop: Callable[[], bool]) -> Iterator[Record | None]:
    decode = reader(settings)
    try:
        while not stop():
            batch = _records(consumer, settings, {}, decode)
            yield from batch
            if not batch:
                yield None
    finally:
        consumer.close()


def _consumer(settings: Settings) -> ck.Consumer:
    config = client_config(settings) | {
        "group.id": "loopwright-reader",  # the client wants one; nothing joins it
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
        "fetch.wait.max.ms": 100,
    }
    with _translated("the Kafka client cannot be made", settings):
        return ck.Consumer(config)


def _positions(
    consumer: ck.Consumer, settings: Settings, names: Sequence[str], since_ms: int | None
) -> dict[tuple[str, int], tuple[int, int]]:
    """(topic, partition) -> (first offset to read, offset after the last)."""
    there = topics(settings)
    for missing in [name for name in names if name not in there]:
        _opened(settings, missing)
        raise kafka_error("UNKNOWN_TOPIC_OR_PART", "no such topic", f"topic {missing} is not there", bootstrap_servers(settings))
    parts = [ck.TopicPartition(name, p) for name in dict.fromkeys(names) for p in range(there[name])]
    marks = {(p.topic, p.partition): _watermarks(consumer, p) for p in parts}
    if since_ms is None:
        return marks
    since = consumer.offsets_for_times([ck.TopicPartition(p.topic, p.partition, since_ms) for p in parts], timeout=_METADATA_DEADLINE_S)
    first = {(p.topic, p.partition): p.offset for p in since}
    return {at: (first[at] if first[at] >= 0 else high, high) for at, (_, high) in marks.items()}


def _watermarks(consumer: ck.Consumer, at: ck.TopicPartition) -> tuple[int, int]:
    """Where a partition of a topic that is there begins and ends.

    One that was made a moment ago, or whose broker has just come back, may be unknown or have no leader yet: that is waited for.
    """
    deadline = time.monotonic() + _METADATA_DEADLINE_S
    while True:
        try:
            low, high = consumer.get_watermark_offsets(at, timeout=_METADATA_DEADLINE_S)
        except ck.KafkaException as error:
            if KAFKA.get(error.args[0].name()) not in (Retryable, NotFound) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return low, high


def _until_ends(consumer: ck.Consumer, settings: Settings, starts: dict[tuple[str, int], tuple[int, int]]) -> Iterator[Record]:
    left = {at: high for at, (low, high) in starts.items() if low < high}
    consumer.assign([ck.TopicPartition(t, p, starts[t, p][0]) for t, p in left])
    deadline, decode = time.monotonic() + _STALL_DEADLINE_S, reader(settings)
    while left:
        ends = dict(left)
        batch = _records(consumer, settings, left, decode)
        yield from (r for r in batch if r.offset < ends.get((r.topic, r.partition), 0))
        if batch or len(left) < len(ends):
            deadline = time.monotonic() + _STALL_DEADLINE_S
        elif time.monotonic() > deadline:
            why = f"{bootstrap_servers(settings)}: {len(left)} partitions not at their end"
            raise Unreachable("Kafka went silent while being read", why, _UP)


def _records(consumer: ck.Consumer, settings: Settings, left: dict[tuple[str, int], int], decode: Decode) -> list[Record]:
    """One poll's records. Partitions that have reached the offset that `left` gives for them are taken out of it."""
    records = []
    for message in consumer.consume(_BATCH, timeout=_POLL_S):
        at, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        error = message.error()
        if error is None:
            records.append(_record(message, decode))
        elif not isinstance(failed := _translate(error, "records cannot be read", settings), Retryable):
            raise failed  # the client itself gets over the others: a broker that restarts, a leader that moves
        at_end = error is None or error.code() == ck.KafkaError._PARTITION_EOF
        if at_end and offset + (error is None) >= left.get(at, offset + 2):
            del left[at]
    return records


def _record(message: Any, decode: Decode) -> Record:
    headers = {name: value or b"" for name, value in message.headers() or ()}
    topic, partition, offset, stamp = message.topic(), message.partition(), message.offset(), message.timestamp()[1]
    value = message.value()
    if value is not None and value[:1] == MAGIC:
        value = as_json(value, decode)
    return Record(topic, partition, offset, stamp, message.key(), value, headers)
