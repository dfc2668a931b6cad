"""Values that name their schema: told apart from plain ones by a byte, read as those are, and written so where that is wanted."""

import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from confluent_kafka.schema_registry import dual_schema_id_deserializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.deadletter import original_bytes
from loopwright.intake import intake
from loopwright.json_strict import JsonRefused
from loopwright.message import Message, Rejected, emitted, parse, read
from loopwright.settings import Limits
from loopwright.step import Emit, Record
from loopwright.subjects import Subject, by_fullname
from loopwright.wire import PREFIX_BYTES, Frame, framed, guid_header, plain, prefix, schema_id
from loopwright.writer_schema import WriterSchema
from tests.unit.schema_strategies import instances
from tests.unit.test_message import GOLDEN, LIMITS

IDS = st.integers(0, 2**32 - 1)
READ = [subject for subject in by_fullname().values() if subject.role in ("messages", "questions", "decisions", "callbacks")]
SCHEMAS = dict(enumerate(by_fullname().values(), 1))
NUMBERS = {subject.fullname: number for number, subject in SCHEMAS.items()}
PINNED = sorted(GOLDEN.glob("v1/*.json"))
ACME = {"type": "record", "name": "Lead", "namespace": "com.acme", "fields": [{"name": "name", "type": "string"}]}


def decode(value: bytes, nesting: int, schema: str = "") -> dict[str, Any]:
    """By the schemas of this Loopwright, or one that is given."""
    text = schema or SCHEMAS[schema_id(value)].text("AVRO")
    return WriterSchema("AVRO", text).body(value[PREFIX_BYTES:], nesting)


def record(value: bytes) -> Record:
    return Record("agent-messages", 3, 42, 1_700_000_000_123, b"w", value)


def subject_of(path: Path) -> tuple[Subject, dict[str, Any]]:
    body = orjson.loads(path.read_bytes())
    return next(one for one in READ if one.type == body["type"]), body


def binary(datum: Any, schema: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v*/*.json")), ids=lambda path: path.stem)
@given(IDS)
def test_a_record_behind_an_id_is_read_as_the_plain_one(path: Path, number: int) -> None:
    raw = path.read_bytes()
    found = parse(record(prefix(number) + raw), LIMITS)
    assert isinstance(found, Message)
    assert found == parse(record(raw), LIMITS) == read(record(prefix(number) + raw))


def test_a_limit_is_one_for_the_record_and_not_for_what_names_its_schema() -> None:
    raw = orjson.dumps({"a": "x"})
    limits = Limits(message_bytes=len(raw))
    assert isinstance(parse(record(prefix(1) + raw), limits), Message)
    assert isinstance(parse(record(prefix(1) + raw + b" "), limits), Rejected)


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.stem)
def test_a_record_in_avro_is_read_as_the_one_in_json(path: Path) -> None:
    subject, body = subject_of(path)
    value = prefix(NUMBERS[subject.fullname]) + subject.encoded(body)
    found, expected = parse(record(value), LIMITS, decode), parse(record(path.read_bytes()), LIMITS)
    assert isinstance(found, Message)
    assert isinstance(expected, Message)
    assert replace(found, data={}) == replace(expected, data={})
    assert found.data == {name: said for name, said in expected.data.items() if said is not None}


@given(st.data())
def test_what_a_record_holds_beyond_its_schema_is_kept_in_avro(data: st.DataObject) -> None:
    subject = data.draw(st.sampled_from(READ))
    body = data.draw(instances(subject.json))
    body["data"] |= data.draw(
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9) | st.none(), max_size=3).filter(
            lambda extra: not set(extra) & set(subject.data["properties"])
        )
    )
    found = decode(prefix(NUMBERS[subject.fullname]) + subject.encoded(body), 64)
    known = set(subject.data["properties"])
    assert found["data"] == {name: said for name, said in body["data"].items() if said is not None or name not in known}


@given(st.data())
def test_no_record_in_avro_is_taken_for_json(data: st.DataObject) -> None:
    subject = data.draw(st.sampled_from(READ))
    value = prefix(7) + subject.encoded(data.draw(instances(subject.json)))
    assert plain(value) is value


def test_an_avro_record_of_another_name_is_a_document() -> None:
    found = parse(record(prefix(9) + binary({"name": "Ada"}, ACME)), LIMITS, partial(decode, schema=orjson.dumps(ACME).decode()))
    assert isinstance(found, Message)
    assert (found.type, found.workflow, found.data) == (schemas.STARTED, "agent-messages-3-42", {"document": {"name": "Ada"}})


REFUSED: dict[str, tuple[bytes, Callable[..., Any] | None]] = {
    "no-registry": (prefix(1) + b"\2a", None),
    "no-schema-id": (b"\0\0\0", decode),
    "wrong-avro": (prefix(1) + b"\2", decode),
    "unusable-schema": (prefix(1) + b"\2", partial(decode, schema='{"type": "record"}')),
    "not-an-object": (prefix(1) + b"\2", partial(decode, schema='"long"')),
    "too-deep": (prefix(1) + binary({"name": "x"}, ACME), partial(decode, schema=orjson.dumps(ACME).decode())),
    "invalid-json": (prefix(NUMBERS["loopwright.avro.WorkflowStarted"]), decode),
    "number-out-of-range": (
        prefix(1) + binary({"name": float("nan")}, {**ACME, "fields": [{"name": "name", "type": "double"}]}),
        partial(decode, schema=orjson.dumps({**ACME, "fields": [{"name": "name", "type": "double"}]}).decode()),
    ),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_what_cannot_be_read_is_a_dead_letter_with_its_bytes_and_a_remedy(cause: str) -> None:
    value, by = REFUSED[cause]
    if cause == "invalid-json":
        subject = by_fullname()["loopwright.avro.WorkflowStarted"]
        datum = {"id": "1", "source": "s", "workflowid": "w", "data": {"document": '{}, "tenant": "other"'}}
        value += binary(datum, subject.avro)
    limits = LIMITS.model_copy(update={"nesting": 0}) if cause == "too-deep" else LIMITS
    letter = intake(record(value), limits, "dead", by) if by else intake(record(value), limits, "dead")
    assert isinstance(letter, Emit)
    said = orjson.loads(letter.value)["data"]
    assert (letter.topic, said["cause"], bool(said["remedy"])) == ("dead", cause, True)
    assert original_bytes(said) == value


def test_json_that_does_not_begin_with_its_object_is_read_by_its_schema_s_kind() -> None:
    schema = WriterSchema("JSON", "{}")
    assert schema.body(b' \n{"a": 1}', 64) == {"a": 1}
    with pytest.raises(JsonRefused) as refused:
        schema.body(b"[1]", 64)
    assert refused.value.cause == "not-an-object"


def test_a_schema_of_another_kind_reads_nothing() -> None:
    with pytest.raises(JsonRefused) as refused:
        WriterSchema("PROTOBUF", "syntax = 'proto3';")
    assert refused.value.cause == "wrong-encoding"


LOOP = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
NOTHING = {"type": "record", "name": "E", "fields": []}


@pytest.mark.parametrize(
    "schema",
    [
        LOOP,
        {**ACME, "fields": [{"name": "all", "type": {"type": "array", "items": "null"}}]},
        {**ACME, "fields": [{"name": "one", "type": NOTHING}, {"name": "all", "type": {"type": "array", "items": "E"}}]},
        {
            **ACME,
            "fields": [
                {"name": "all", "type": {"type": "map", "values": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}}}
            ],
        },
    ],
    ids=["itself", "nulls", "empty-records", "empty-fixed"],
)
def test_a_schema_by_which_few_bytes_stand_for_much_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(JsonRefused) as refused:
        WriterSchema("AVRO", orjson.dumps(schema).decode())
    assert refused.value.cause == "unusable-schema"


@given(st.binary(max_size=200), st.sampled_from(sorted(SCHEMAS)))
def test_no_bytes_behind_an_id_make_reading_raise(content: bytes, number: int) -> None:
    taken = intake(record(prefix(number) + content), LIMITS, "dead", decode)
    assert taken is not None


@pytest.mark.parametrize("path", PINNED, ids=lambda path: path.stem)
def test_each_way_to_write_is_read_back_and_by_confluent_s_own_rule(path: Path) -> None:
    message = parse(record(path.read_bytes()), LIMITS)
    assert isinstance(message, Message)
    emit = emitted("agent-messages", message)
    subject, body = subject_of(path)
    guid = random.Random(1).randbytes(16)
    ways = [Frame(prefix(7)), Frame(headers=guid_header(guid)), Frame(prefix(NUMBERS[subject.fullname]), encode=subject.encoded)]
    at = ("agent-messages", message.type.encode())
    for way in ways:
        made = framed(emit, {at: way})
        assert (made.topic, made.key) == (emit.topic, emit.key)
        assert made.headers.items() >= emit.headers.items()
        context = SerializationContext("agent-messages", MessageField.VALUE, list(made.headers.items()))
        named = SchemaId("JSON")
        rest = dual_schema_id_deserializer(made.value, context, named).read()
        assert (named.guid.bytes if named.guid else named.id) in (guid, 7, NUMBERS[subject.fullname])
        assert way.encode or orjson.loads(rest) == body
        again = parse(record(made.value), LIMITS, decode)
        assert isinstance(again, Message)
        assert replace(again, data={}, logged_ms=0) == replace(message, data={}, logged_ms=0)


def test_what_has_no_schema_or_does_not_fit_it_is_written_as_it_is() -> None:
    message = Message("i", schemas.STARTED, "/s", "w", {"document": {}})
    emit = emitted("agent-messages", message)
    assert framed(emit, {}) is emit
    odd = replace(emit, value=orjson.dumps({"id": 7}))
    subject = by_fullname()["loopwright.avro.WorkflowStarted"]
    assert framed(odd, {("agent-messages", schemas.STARTED.encode()): Frame(prefix(1), encode=subject.encoded)}) is odd
