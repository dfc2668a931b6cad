"""The commands beside a schema registry, against librdkafka's mock broker: they read what names its schema, and write it so if told to."""

import json
from collections.abc import Iterator

import confluent_kafka as ck
import orjson
import pytest

from loopwright import schemas
from loopwright.cli.schemas import register_all
from loopwright.edges import kafka
from loopwright.edges.registry import SchemaRegistry
from loopwright.errors import Unreachable
from loopwright.message import read
from loopwright.settings import Registry as Said
from loopwright.subjects import by_fullname
from loopwright.wire import MAGIC, prefix, schema_id
from tests.e2e.registry_here import Registry, served
from tests.e2e.test_cli_dlq import refuse, written
from tests.e2e.test_cli_kafka import TOPICS, Broker, broker

__all__ = ["broker"]
STARTED = by_fullname()["loopwright.avro.WorkflowStarted"]


@pytest.fixture(scope="module")
def registry(broker: Broker) -> Iterator[Registry]:
    """One with our schemas in it; the commands know it from their environment."""
    with served(Registry()) as made:
        broker.settings = broker.settings.model_copy(update={"registry": Said(url=made.url)})
        broker.env["LOOPWRIGHT_REGISTRY__URL"] = made.url
        register_all(broker.settings)
        yield made


def in_avro(broker: Broker, workflow: str, name: str) -> bytes:
    """A start in Avro, behind its id."""
    head = {"id": workflow, "source": "/test", "workflowid": workflow, "time": "2026-01-31T12:00:00.000Z", "schemaversion": 1}
    number = SchemaRegistry(broker.settings).registered(STARTED, "AVRO").id
    return prefix(number) + STARTED.encoded(head | {"data": {"document": {"name": name}}})


def values(broker: Broker, topic: str, workflow: str) -> list[bytes]:
    """The values as they stand in the topic, for any client to read."""
    consumer = ck.Consumer({"bootstrap.servers": broker.settings.kafka.bootstrap_servers, "group.id": "raw", "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([ck.TopicPartition(topic, number, ck.OFFSET_BEGINNING) for number in partitions])
    found, ends = [], 0
    while ends < len(partitions):
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ends += 1
        elif message.key() == workflow.encode():
            found.append(message.value())
    consumer.close()
    return found


def test_a_record_in_avro_is_traced_as_any_other(broker: Broker, registry: Registry) -> None:
    with kafka.Producer(broker.settings) as producer:
        producer.send(TOPICS.messages, b"from-avro", in_avro(broker, "from-avro", "Ada"))
    story = broker.json("trace", "from-avro")
    assert story["status"] == "waiting for its first decision"
    assert story["steps"][0]["detail"]["document"] == {"name": "Ada"}


@pytest.mark.parametrize("write", ["json", "json-header", "avro"])
def test_what_is_sent_names_its_schema_and_is_read_again(broker: Broker, registry: Registry, write: str) -> None:
    broker.env["LOOPWRIGHT_REGISTRY__WRITE"] = write
    try:
        (workflow,) = broker.json("send", "-", stdin=b'{"name": "Ada"}')["workflows"]
    finally:
        del broker.env["LOOPWRIGHT_REGISTRY__WRITE"]
    (value,) = values(broker, TOPICS.messages, workflow)
    if write != "json-header":
        assert schema_id(value) == SchemaRegistry(broker.settings).registered(STARTED, "AVRO" if write == "avro" else "JSON").id
    assert (value[:1] == MAGIC) == (write != "json-header")
    (record,) = [r for r in kafka.read_all(broker.settings, [TOPICS.messages]) if r.key == workflow.encode()]
    assert (read(record).type, read(record).data) == (schemas.STARTED, {"document": {"name": "Ada"}})
    assert broker.json("trace", workflow)["document"] == {"name": "Ada"}


def test_a_refused_record_in_avro_is_retried_with_its_own_bytes(broker: Broker, registry: Registry) -> None:
    value = in_avro(broker, "late", "Ada")
    letter = refuse(broker, value, "late", 1, "unknown-schema-id")
    told = broker.json("dlq", "retry", letter)["letters"][0]
    assert "warning" not in told
    assert [orjson.loads(said)["workflowid"] for _, said in written(broker, TOPICS.messages, letter)] == ["late"]
    assert values(broker, TOPICS.messages, "late") == [value]


def test_a_schema_that_nobody_knows_is_shown_as_what_it_is(broker: Broker, registry: Registry) -> None:
    with kafka.Producer(broker.settings) as producer:
        producer.send(TOPICS.messages, b"unknown", prefix(999) + b"\2a")
    story = broker.json("trace", "unknown")
    assert story["status"] == "rejected"


def test_a_registry_that_is_away_is_said(broker: Broker, registry: Registry) -> None:
    before = dict(broker.env)
    broker.env |= {"LOOPWRIGHT_REGISTRY__URL": "http://127.0.0.1:1", "LOOPWRIGHT_REGISTRY__CLIENT": json.dumps({"max.retries": 0})}
    try:
        error = broker.json("schemas", "list", code=3)
        assert (error["error"], "loopwright up --registry" in error["remedy"]) == ("Unreachable", True)
        away = broker.settings.model_copy(update={"registry": Said(url="http://127.0.0.1:1", client={"max.retries": 0})})
        with pytest.raises(Unreachable):  # what is in Avro cannot be told then
            list(kafka.read_all(away, [TOPICS.messages]))
    finally:
        broker.env.clear()
        broker.env.update(before)
