"""Kafka records into Flink and out again: nothing that the job reads of a record gets lost on the way."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from pyflink.common import Row
from pyflink.table import StreamTableEnvironment

from loopwright.edges.kafka import Producer, read_all
from loopwright.edges.platform.jars import Jars
from loopwright.settings import Settings
from loopwright.step import Emit, Record
from tests.flink.minicluster import MiniCluster, environment, until
from udfs.records import Cluster, kafka_sink, keyed_source
from udfs.rows import OUTPUT, record_of, row_of

HEADERS = {"traceparent": b"00-\xff"}


def mirror(topic: str, row: Row) -> Row:
    """What was seen of a record, as JSON, under its key and with headers."""
    key_text, record = row[0], record_of(row[1])
    seen = {
        "key_text": key_text,
        "key": None if record.key is None else record.key.hex(),
        "value": None if record.value is None else hashlib.sha256(record.value).hexdigest(),
        "at": [record.topic, record.partition, record.offset, record.timestamp_ms],
    }
    return row_of(Emit(topic, record.key or b"none", json.dumps(seen).encode(), HEADERS))


class Mirror:
    """A job that mirrors the topic of messages to the one of results."""

    def __init__(self, cluster: MiniCluster, settings: Settings, jars: Jars) -> None:
        self.cluster, self.settings, self._jars = cluster, settings, jars
        self.producer = Producer(settings)
        self.job: Any = None

    def run(self, to: str) -> None:
        env = environment("thread", {"pipeline.jars": ";".join(path.as_uri() for path in self._jars.paths("flink"))})
        env.add_jars(*[path.as_uri() for path in self._jars.paths("flink")])
        tables, kafka = StreamTableEnvironment.create(env), Cluster(self.settings.kafka.bootstrap_servers)
        records = keyed_source(tables, kafka, [self.settings.topics.messages], "mirror", "messages")
        mirrored = records.map(partial(mirror, to), OUTPUT).uid("mirror")
        kafka_sink(tables, kafka, mirrored, [self.settings.topics.results], "results")
        self.job = self.cluster.submit(env, jars=self._jars.paths("flink"))

    def read(self, topic: str) -> list[Record]:
        return list(read_all(self.settings, [topic]))


@pytest.fixture
def mirrored(minicluster: MiniCluster, kafka: Settings, jars: Jars) -> Iterator[Mirror]:
    made = Mirror(minicluster, kafka, jars)
    yield made
    minicluster.cancel(made.job)
    made.producer.close()


def test_records_of_every_kind_come_through_whole(mirrored: Mirror) -> None:
    messages, results = mirrored.settings.topics.messages, mirrored.settings.topics.results
    sent: list[tuple[bytes | None, bytes | None]] = [(b"w1", b"{}"), (None, b"\xff\x00"), (b"\xff\xfe", b""), (b"gone", None)]
    sent.append((b"large", b"x" * 900_000))
    for key, value in sent:
        mirrored.producer.send(messages, key, value, {"traceparent": b"00-\xff"})
    mirrored.run(results)
    until("all are mirrored", lambda: len(mirrored.read(results)) == len(sent))

    originals = {(r.partition, r.offset): r for r in mirrored.read(messages)}
    for copy in mirrored.read(results):
        seen = json.loads(copy.value or b"")
        topic, partition, offset, timestamp_ms = seen["at"]
        original = originals[partition, offset]
        assert (topic, timestamp_ms) == (messages, original.timestamp_ms)
        assert seen["key_text"] == (f"{topic}-{partition}-{offset}" if original.key is None else original.key.decode(errors="replace"))
        assert seen["key"] == (None if original.key is None else original.key.hex())
        assert seen["value"] == (None if original.value is None else hashlib.sha256(original.value).hexdigest())
        assert copy.headers == HEADERS


def test_a_key_has_the_same_partition_whoever_writes_it(mirrored: Mirror) -> None:
    messages, results = mirrored.settings.topics.messages, mirrored.settings.topics.results
    for n in range(50):
        mirrored.producer.send(messages, f"w{n}".encode(), b"{}")
    mirrored.run(results)
    until("all are mirrored", lambda: len(mirrored.read(results)) == 50)
    wrote = {r.key: r.partition for r in mirrored.read(messages)}
    assert {r.key: r.partition for r in mirrored.read(results)} == wrote
    assert len(set(wrote.values())) > 1


def test_a_topic_that_the_sink_was_not_given_fails_the_job(mirrored: Mirror) -> None:
    mirrored.producer.send(mirrored.settings.topics.messages, b"w", b"{}")
    mirrored.run("some-other-topic")
    until("the job failed", lambda: mirrored.cluster.status(mirrored.job) == "FAILED")
