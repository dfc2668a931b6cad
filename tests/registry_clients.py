"""An old producer and an old consumer, as others have them: confluent-kafka's serializers with the first version of our schemas."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka as ck
import orjson
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from loopwright import schemas
from loopwright.settings import Settings
from loopwright.subjects import Kind, Subject, subjects
from tests.schema_files import EACH, versions

NAMED = {"subject.name.strategy": topic_record_subject_name_strategy}
DEADLINE_S = 60.0


def subject_of(role: str, kind: str) -> Subject:
    return next(one for one in subjects() if (one.role, one.type) == (role, kind))


def first(subject: Subject, kind: Kind) -> str:
    """The text of the first version of a schema."""
    return orjson.dumps(versions(subject, kind)[0]).decode()


def register_first(settings: Settings) -> dict[str, int]:
    """Register the first version of every schema that has changed since, as an old release did; the ids by subject."""
    client = SchemaRegistryClient({"url": settings.registry.url})
    grown = [(subject, kind) for subject, kind in EACH if len(versions(subject, kind)) > 1]
    named = {subject.subject(kind, settings.topics): Schema(first(subject, kind), kind) for subject, kind in grown}
    return {name: client.register_schema(name, schema) for name, schema in named.items()}


class OldProducer:
    """Writes starts with the schema that it was built with."""

    def __init__(self, settings: Settings, brokers: str) -> None:
        client, started = SchemaRegistryClient({"url": settings.registry.url}), subject_of("messages", schemas.STARTED)
        conf = {"auto.register.schemas": False, **NAMED}
        self._topic = settings.topics.messages
        self._as: dict[Kind, Any] = {
            "JSON": JSONSerializer(first(started, "JSON"), client, conf=conf),
            "AVRO": AvroSerializer(client, first(started, "AVRO"), conf=conf),
        }
        self._producer = ck.Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})

    def start(self, workflow: str, document: dict[str, Any], kind: Kind, tenant: str) -> bytes:
        """Start a workflow; the value that was written."""
        head = {"id": workflow, "source": "/old", "workflowid": workflow}
        if kind == "JSON":
            said = {"specversion": "1.0", "type": schemas.STARTED, "schemaversion": 1}
            record = {**said, **head, "data": {"document": document, "tenant": tenant}}
        else:
            record = {**head, "data": {"document": orjson.dumps(document).decode(), "tenant": tenant}}
        value = self._as[kind](record, SerializationContext(self._topic, MessageField.VALUE))
        self.write(workflow, value)
        return bytes(value)

    def write(self, key: str, value: bytes) -> None:
        self._producer.produce(self._topic, value, key)
        assert self._producer.flush(30) == 0


class OldConsumer:
    """Reads decisions with the schema that it was built with: Avro resolves to it; of JSON it takes the fields that it knows."""

    def __init__(self, settings: Settings, brokers: str) -> None:
        client, decided = SchemaRegistryClient({"url": settings.registry.url}), subject_of("decisions", schemas.DECIDED)
        self._topic, self._brokers = settings.topics.decisions, brokers
        self._as: dict[Kind, Any] = {
            "JSON": JSONDeserializer(None, schema_registry_client=client, conf=NAMED),
            "AVRO": AvroDeserializer(client, first(decided, "AVRO"), conf=NAMED),
        }
        self._known = versions(decided, "JSON")[0]["properties"]["data"]["properties"]

    def decisions(self, kind: Kind, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The data of the decisions, with workflow and hop, as soon as there are enough."""
        found: list[dict[str, Any]] = []
        for message in self._messages():
            if enough(found):
                return found
            if message is not None:
                value = message.value()
                assert value[:1] == b"\0", "it names no schema"
                said = self._as[kind](value, SerializationContext(self._topic, MessageField.VALUE, message.headers()))
                known = {name: one for name, one in said["data"].items() if name in self._known or kind == "AVRO"}
                found.append({**known, "workflow": said["workflowid"], "hop": said["hop"]})
        raise AssertionError(f"too few decisions within {DEADLINE_S:g} s: {found}")

    def _messages(self) -> Iterator[Any]:
        consumer = ck.Consumer({"bootstrap.servers": self._brokers, "group.id": "old", "enable.auto.commit": False})
        try:
            there = consumer.list_topics(self._topic, timeout=10).topics[self._topic].partitions
            consumer.assign([ck.TopicPartition(self._topic, number, ck.OFFSET_BEGINNING) for number in there])
            end = time.monotonic() + DEADLINE_S
            while time.monotonic() < end:
                message = consumer.poll(0.1)
                yield message if message is not None and message.error() is None else None
        finally:
            consumer.close()
