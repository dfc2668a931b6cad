"""The Kafka edge against a real broker."""

import json
import socket
import time
from itertools import islice

import confluent_kafka as ck
import pytest

from loopwright.edges.kafka import MAX_MESSAGE_BYTES, Producer, TopicSpec, ensure_topics, reachable, read_all, tail, topics
from loopwright.errors import InvalidDocument, InvalidSettings, NotFound, Unreachable
from loopwright.settings import Kafka, read_settings
from loopwright.step import Emit


@pytest.fixture
def topic(kafka):
    return kafka.topics.messages


@pytest.fixture
def nowhere():
    """Settings for a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield read_settings(kafka={"bootstrap_servers": f"127.0.0.1:{taken.getsockname()[1]}"})


def test_what_was_sent_is_read_with_key_headers_and_tombstones(kafka, topic):
    before_ms = int(time.time() * 1000) - 1
    with Producer(kafka) as producer:
        producer.send(topic, b"w1", b"\xff\x00bytes", {"a": b"1", "b": b"\xfe"})
        producer.send(topic, b"w1", None)
        producer.send(topic, b"w1", b"")
    records = list(read_all(kafka, [topic]))
    assert [(r.key, r.value) for r in records] == [(b"w1", b"\xff\x00bytes"), (b"w1", None), (b"w1", b"")]
    assert records[0].headers == {"a": b"1", "b": b"\xfe"}
    assert records[0].topic == topic
    assert [r.offset for r in records] == [0, 1, 2]
    assert all(r.timestamp_ms >= before_ms for r in records)


def test_many_records_keep_their_order_within_a_key_and_all_partitions_are_read(kafka, topic):
    emits = [Emit(topic, f"w{n % 50}".encode(), str(n).encode()) for n in range(20_000)]
    with Producer(kafka) as producer:
        producer.send_many(emits)
    records = list(read_all(kafka, [topic]))
    assert len(records) == len(emits)
    assert {r.partition for r in records} == set(range(topics(kafka)[topic]))
    for key in {e.key for e in emits}:
        assert [r.value for r in records if r.key == key] == [e.value for e in emits if e.key == key]


def test_a_key_lands_where_the_java_clients_put_it(kafka, topic):
    """What murmur2 gives in org.apache.kafka.common.utils.Utils, over 4 partitions: the job and the command line share partitions."""
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }
    with Producer(kafka) as producer:
        producer.send_many([Emit(topic, key, b"") for key in known])
    assert {r.key: r.partition for r in read_all(kafka, [topic])} == {key: (value & 0x7FFFFFFF) % 4 for key, value in known.items()}


def test_reading_ends_where_the_topic_ended_when_it_began(kafka, topic):
    with Producer(kafka) as producer:
        producer.send(topic, b"k", b"1")
        reading = read_all(kafka, [topic])
        seen = []
        for record in reading:
            seen.append(record.value)
            producer.send(topic, b"k", b"more")
    assert seen == [b"1"]


def test_an_empty_topic_is_read_at_once(kafka, topic):
    assert list(read_all(kafka, [topic])) == []


def test_reading_can_begin_at_a_time(kafka, topic):
    with Producer(kafka) as producer:
        producer.send(topic, b"k", b"old")
        [old] = read_all(kafka, [topic])
        producer.send(topic, b"k", b"new")
        while (new := list(read_all(kafka, [topic]))[-1]).timestamp_ms == old.timestamp_ms:
            producer.send(topic, b"k", b"new")
    assert {r.value for r in read_all(kafka, [topic], since_ms=old.timestamp_ms + 1)} == {b"new"}
    assert list(read_all(kafka, [topic], since_ms=new.timestamp_ms + 60_000)) == []


def test_what_was_not_committed_is_not_read_and_holds_nothing_up(kafka, topic):
    def transactional(name):
        client = ck.Producer({"bootstrap.servers": kafka.kafka.bootstrap_servers, "transactional.id": f"{topic}-{name}", "log_level": 0})
        client.init_transactions(30)
        client.begin_transaction()
        client.produce(topic, name.encode(), b"k")
        client.flush(30)
        return client

    transactional("aborted").abort_transaction(30)
    transactional("committed").commit_transaction(30)
    opened = transactional("open")
    started = time.monotonic()
    assert [r.value for r in read_all(kafka, [topic])] == [b"committed"]
    assert time.monotonic() - started < 20, "an open transaction is where the topic ends"
    opened.abort_transaction(30)


@pytest.mark.parametrize(("from_beginning", "expected"), [(True, [b"before", b"after"]), (False, [b"after"])])
def test_a_tail_begins_at_the_call_and_says_when_nothing_comes(kafka, topic, from_beginning, expected):
    stopping = []
    with Producer(kafka) as producer:
        producer.send(topic, b"k", b"before")
        following = tail(kafka, [topic], from_beginning, lambda: bool(stopping))
        producer.send(topic, b"k", b"after")
    assert [r.value for r in islice((r for r in following if r), len(expected))] == expected
    assert any(record is None for record in islice(following, 20))
    stopping.append(True)
    assert [r for r in following if r] == []


def test_topics_are_made_once_with_their_settings(kafka, topic):
    spec = TopicSpec(f"made-{topic}", partitions=3, config={"cleanup.policy": "compact"})
    assert ensure_topics(kafka, [spec]) == [spec.name]
    assert ensure_topics(kafka, [spec]) == []
    assert topics(kafka)[spec.name] == 3


def test_a_record_of_two_megabytes_passes_and_one_too_large_is_refused(kafka, topic):
    with Producer(kafka) as producer:
        producer.send(topic, b"k", b"x" * 2_000_000)
        with pytest.raises(InvalidDocument, match="too large"):
            producer.send(topic, b"k", b"x" * (MAX_MESSAGE_BYTES + 1))
        producer.send(topic, b"k", b"still works")
    assert [len(r.value or b"") for r in read_all(kafka, [topic])] == [2_000_000, 11]


def test_a_topic_that_is_not_there_is_named(kafka):
    with pytest.raises(NotFound, match="no-such-topic"):
        list(read_all(kafka, ["no-such-topic"]))
    with pytest.raises(NotFound, match="no-such-topic"):
        tail(kafka, ["no-such-topic"], True, lambda: True)


def test_a_broker_that_is_not_there_is_unreachable_within_seconds(nowhere):
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        reachable(nowhere)
    assert time.monotonic() - started < 15
    assert "loopwright up" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_a_client_setting_that_does_not_exist_is_a_wrong_setting(kafka):
    wrong = kafka.model_copy(update={"kafka": Kafka(bootstrap_servers=kafka.kafka.bootstrap_servers, client={"sasl.nonsense": "hunter2"})})
    with pytest.raises(InvalidSettings) as caught:
        reachable(wrong)
    assert "hunter2" not in str(caught.value)


def test_the_local_platform_is_found_by_its_ports_file(kafka, tmp_path):
    local = read_settings(home=tmp_path)
    with pytest.raises(Unreachable, match="loopwright up"):
        reachable(local)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ports.json").write_text(json.dumps({"kafka": int(kafka.kafka.bootstrap_servers.rpartition(":")[2])}))
    reachable(local)
