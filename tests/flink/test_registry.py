"""The job beside a schema registry: values that name their schema come in and go out, in JSON and Avro; what nobody knows is kept."""

from functools import partial

import orjson
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from loopwright import schemas
from loopwright.cli.schemas import register_all
from loopwright.deadletter import original_bytes
from loopwright.edges.platform.jars import Jars
from loopwright.edges.values import values_of
from loopwright.message import Message
from loopwright.settings import Registry, Settings
from loopwright.subjects import Kind
from loopwright.wire import GUID_HEADER, prefix, schema_id
from tests.flink.orchestra import PATH, Orchestra
from tests.flink.test_sql import tables_of
from tests.registry_clients import OldConsumer, OldProducer, register_first
from tests.unit.sdr_team import LEAD

LEADS: dict[str, tuple[Kind, str]] = {"old-json": ("JSON", "acme"), "old-avro": ("AVRO", "acme")}


def beside(orchestra: Orchestra, url: str, write: str) -> Settings:
    """The orchestra's settings, with a registry in which an old release had registered its schemas, and this one its own."""
    registry = Registry(url=url, write=write)  # type: ignore[arg-type]
    orchestra.settings = orchestra.settings.model_copy(update={"registry": registry})
    register_first(orchestra.settings)
    register_all(orchestra.settings)
    return orchestra.settings


def completed(message: Message, wanted: set[str]) -> bool:
    return message.type == schemas.WORKFLOW_COMPLETED and message.workflow in wanted


@pytest.mark.parametrize("write", ["json", "avro"])
def test_an_old_producer_a_new_job_and_an_old_consumer_work_at_once(orchestra: Orchestra, schema_registry: str, write: str) -> None:
    settings = beside(orchestra, schema_registry, write)
    kind: Kind = "AVRO" if write == "avro" else "JSON"
    brokers = settings.kafka.bootstrap_servers
    orchestra.define(*orchestra.team())
    orchestra.run()
    producer, consumer = OldProducer(settings, brokers), OldConsumer(settings, brokers)
    for name, (way, tenant) in LEADS.items():
        producer.start(name, LEAD, way, tenant)
    orchestra.send("new-plain", LEAD)  # by a producer that knows no registry
    names = {*LEADS, "new-plain"}
    found = consumer.decisions(kind, lambda seen: {one["workflow"] for one in seen if one["outcome"] == "complete"} >= names)
    orchestra.results(3, partial(completed, wanted=names))
    for name in names:
        mine = sorted((one["hop"], one["outcome"]) for one in found if one["workflow"] == name)
        assert [outcome for _, outcome in dict(mine).items()] == ["dispatch"] * 4 + ["complete"]
    assert not any("tenant" in one for one in found), "the old consumer was given what its schema does not have"
    said = [m for m in orchestra.said(settings.topics.decisions) if m.workflow in LEADS]
    assert {m.data["tenant"] for m in said} == {"acme"}, "what is new is there for those that know it"
    assert orchestra.verified().holds
    assert len(orchestra.agents.by_key("lead-scoring")) == 3


def test_a_value_that_cannot_be_read_is_a_dead_letter_and_the_partition_goes_on(orchestra: Orchestra, schema_registry: str) -> None:
    settings = beside(orchestra, schema_registry, "plain")
    producer = OldProducer(settings, settings.kafka.bootstrap_servers)
    orchestra.define(*orchestra.team())
    orchestra.run()
    good = producer.start("good", LEAD, "AVRO", "acme")
    bad = {"unknown-schema-id": prefix(2_000_000_000) + b"\2a", "wrong-avro": good[:-3], "no-schema-id": b"\0\1"}
    for value in bad.values():
        producer.write("good", value)
    producer.start("last", LEAD, "AVRO", "acme")
    orchestra.results(2, partial(completed, wanted={"good", "last"}))
    letters = [m.data for m in orchestra.said(settings.topics.dead_letters)]
    assert {letter["cause"]: original_bytes(letter) for letter in letters} == bad
    assert all(letter["why"] and letter["remedy"] for letter in letters)


def test_views_show_records_that_name_their_schema(orchestra: Orchestra, schema_registry: str, jars: Jars) -> None:
    settings = beside(orchestra, schema_registry, "json")
    orchestra.define(*orchestra.team())
    orchestra.run()
    OldProducer(settings, settings.kafka.bootstrap_servers).start("w", LEAD, "JSON", "acme")
    orchestra.results(1)
    rows = tables_of(settings, jars)
    assert {row[0] for row in rows("SELECT agent, attempts FROM replies")} == set(PATH)
    assert rows("SELECT workflow, ended, hops FROM ends") == [("w", "completed", 4)]
    assert rows("SELECT workflow, type FROM agent_messages WHERE type = 'loopwright.workflow.started'") == [("w", schemas.STARTED)]


def test_the_registry_tells_what_may_be_registered_and_gives_one_schema_one_id(kafka: Settings, schema_registry: str) -> None:
    settings = kafka.model_copy(update={"registry": Registry(url=schema_registry, write="json")})
    old = register_first(settings)
    rows = {row["subject"]: row for row in register_all(settings)}
    assert register_all(settings) == list(rows.values())
    assert all(rows[name]["version"] == 2 and rows[name]["id"] != number for name, number in old.items())
    frames = values_of(settings).frames
    assert all(GUID_HEADER not in frame.headers for frame in frames.values())
    started = frames[settings.topics.messages, schemas.STARTED.encode()]
    assert schema_id(started.before + b"{}") == rows[f"{settings.topics.messages}-{schemas.STARTED}"]["id"]
    broken = orjson.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "title": schemas.STARTED, "type": "string"}).decode()
    refuse(settings, f"{settings.topics.messages}-{schemas.STARTED}", broken)


def refuse(settings: Settings, subject: str, text: str) -> None:
    """The registry refuses a version that is not compatible."""
    with pytest.raises(SchemaRegistryError) as refused:
        SchemaRegistryClient({"url": settings.registry.url}).register_schema(subject, Schema(text, "JSON"))
    assert refused.value.http_status_code == 409
