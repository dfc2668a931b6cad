"""The envelope: what is read, what is refused and why, and that the wire format stays as it is pinned."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.intake import intake
from loopwright.message import Message, Rejected, Skipped, arrived, encode, parse, read, record_id, trace_of
from loopwright.settings import Limits
from loopwright.step import Emit, Record

LIMITS = Limits()
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def record(value: bytes | None, timestamp_ms: int = 1_700_000_000_123) -> Record:
    return Record("agent-messages", 3, 42, timestamp_ms, b"k", value)


def envelope(**changes: object) -> bytes:
    body = {
        "specversion": "1.0",
        "id": "1",
        "type": schemas.CANCELLED,
        "source": "/test",
        "workflowid": "w",
        "schemaversion": 1,
        "data": {},
    }
    return orjson.dumps({name: value for name, value in (body | changes).items() if value is not ...})


REFUSED = {
    "invalid-utf8": b'{"a": "\xff\xfe"}',
    "invalid-json": b"this is prose",
    "too-deep": b"[" * 10_000 + b"]" * 10_000,
    "duplicate-key": b'{"a": 1, "a": 2}',
    "number-out-of-range": b'{"a": 123456789012345678901234567890}',
    "not-an-object": b"[1, 2]",
    "too-large": b'{"a": "' + b"x" * 2_000_000 + b'"}',
    "unknown-schema-version": envelope(schemaversion=99),
    "missing-attribute": envelope(workflowid=...),
    "wrong-type": envelope(hop="three"),
    "unknown-type": envelope(type="com.example.other"),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_bad_bytes_are_rejected_with_their_cause(cause: str) -> None:
    found = parse(record(REFUSED[cause]), LIMITS)
    assert isinstance(found, Rejected)
    assert (found.cause, bool(found.why), bool(found.remedy)) == (cause, True, True)


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_json_does_not_know_are_rejected(constant: bytes) -> None:
    assert isinstance(parse(record(b'{"a": ' + constant + b"}"), LIMITS), Rejected)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": schemas.STARTED, "data": {"document": []}}, "data.document"),
        ({"type": schemas.REPLIED, "data": {}}, "data"),
        ({"data": [1]}, "data"),
        ({"time": "yesterday"}, "time"),
        ({"id": 7}, "id"),
        ({"specversion": "0.3"}, "specversion"),
    ],
)
def test_a_wrong_type_names_the_field(changes: dict[str, object], field: str) -> None:
    found = parse(record(envelope(**changes)), LIMITS)
    assert isinstance(found, Rejected)
    assert found.cause == "wrong-type"
    assert found.why.startswith(field)


def test_a_tombstone_is_skipped() -> None:
    assert isinstance(parse(record(None), LIMITS), Skipped)
    assert intake(record(None), LIMITS, "dead") is None


def test_a_bare_object_starts_a_workflow_named_by_where_it_stood() -> None:
    found = parse(record(b'{"name": "Ada"}'), LIMITS)
    assert isinstance(found, Message)
    assert (found.type, found.workflow, found.data) == (schemas.STARTED, "agent-messages-3-42", {"document": {"name": "Ada"}})


def test_an_envelope_of_a_plain_cloudevents_client_is_upcast() -> None:
    found = parse(record(envelope(schemaversion=..., workflowid=..., subject="w-7")), LIMITS)
    assert isinstance(found, Message)
    assert found.workflow == "w-7"


@pytest.mark.parametrize("timestamp_ms", [-1, -(2**63), 2**63 - 1])
def test_a_timestamp_that_no_calendar_holds_is_brought_back(timestamp_ms: int) -> None:
    found = parse(record(b"{}", timestamp_ms), LIMITS)
    assert isinstance(found, Message)
    assert isinstance(parse(record(encode(found)), LIMITS), Message)


@given(st.binary(max_size=300))
def test_parse_never_raises_and_a_dead_letter_keeps_the_bytes(raw: bytes) -> None:
    from loopwright.deadletter import original_bytes

    taken = intake(record(raw), LIMITS, "dead")
    if isinstance(taken, Emit) and taken.topic == "dead":
        assert original_bytes(orjson.loads(taken.value)["data"]) == raw
    else:
        assert taken is not None


def test_a_record_that_stands_under_its_workflows_key_is_taken_up() -> None:
    own = replace(record(envelope()), key=b"w")
    assert intake(own, LIMITS, "dead") == ("w", arrived(own))


@pytest.mark.parametrize("key", [None, b"", b"another"])
def test_a_record_under_another_key_is_written_once_more_under_its_own(key: bytes | None) -> None:
    astray = replace(record(envelope(time="0001-01-01T00:00:00+14:00", data={"reason": "r"})), key=key)
    written = intake(astray, LIMITS, "dead")
    assert isinstance(written, Emit)
    again = Record(written.topic, 0, 0, 1, written.key, written.value)
    assert intake(again, LIMITS, "dead") == ("w", arrived(again))
    said = read(again)
    assert (written.topic, said.id, said.source, said.data) == (astray.topic, "1", "/test", {"reason": "r"})
    assert said.causation == "agent-messages-3-42"


def test_a_document_without_an_envelope_keeps_the_id_of_where_it_stood() -> None:
    written = intake(record(b'{"name": "Ada"}'), LIMITS, "dead")
    assert isinstance(written, Emit)
    said = read(Record(written.topic, 0, 0, 1, written.key, written.value))
    assert (written.key, said.workflow, said.data) == (b"agent-messages-3-42", "agent-messages-3-42", {"document": {"name": "Ada"}})


def test_a_document_that_its_envelope_makes_too_large_is_refused_as_it_was() -> None:
    raw = b'{"a": "' + b"x" * (LIMITS.message_bytes - 10) + b'"}'
    letter = intake(record(raw), LIMITS, "dead")
    assert isinstance(letter, Emit)
    data = orjson.loads(letter.value)["data"]
    assert (letter.topic, data["cause"], data["original"]["value"]) == ("dead", "too-large", raw.decode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.integers(0, 10**6), st.text(min_size=1, max_size=40))
def test_what_is_encoded_is_read_back(document: dict[str, object], hop: int, workflow: str) -> None:
    try:
        document_bytes = orjson.dumps(document)
        workflow.encode()
    except (TypeError, UnicodeEncodeError):
        return  # lone surrogates are not JSON
    message = Message("i", schemas.STARTED, "/s", workflow, {"document": orjson.loads(document_bytes)}, hop, time_ms=5, logged_ms=9)
    stood = Record("agent-messages", 0, 0, 9, None, encode(message))
    assert parse(stood, LIMITS) == message == read(stood)


@pytest.mark.parametrize("version", [{"schemaversion": 0}, {}, {"schemaversion": 1}])
@pytest.mark.parametrize(
    "more",
    [{}, {"hop": 3, "branch": "", "time": "2026-01-31T12:00:00.5+02:00"}, {"causationid": "c", "correlationid": "k", "traceparent": "t"}],
)
def test_what_parse_accepts_is_read_as_parse_reads_it(version: dict[str, object], more: dict[str, object]) -> None:
    plain = {"specversion": "1.0", "id": "i", "type": schemas.CANCELLED, "source": "s", "workflowid": "w", "data": {}}
    for body in (plain | version | more, {"schemaversion": 1, "a": 1}):
        stood = Record("agent-messages", 0, 7, 9, b"w", orjson.dumps(body))
        assert parse(stood, LIMITS) == read(stood)


def test_record_ids_tell_workflow_hop_branch_and_kind_apart() -> None:
    ids = {record_id(w, h, b, k) for w in ("a", "a1") for h in (1, 11) for b in ("0", "10") for k in ("call", "replied")}
    assert len(ids) == 16
    assert record_id("a", 1, "0", "call") == record_id("a", 1, "0", "call")


def test_a_trace_goes_on_under_its_parent() -> None:
    parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    assert trace_of("w", 1, "0", parent)[3:35] == "ab" * 16
    assert len(trace_of("w", 1)) == 55


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v*/*.json")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_pinned_record_is_still_read(path: Path) -> None:
    assert isinstance(parse(record(path.read_bytes()), LIMITS), Message)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1/*.json")), ids=lambda p: p.stem)
def test_the_present_version_is_written_as_it_is_pinned(path: Path) -> None:
    pinned = path.read_bytes().strip()
    message = parse(record(pinned), LIMITS)
    assert isinstance(message, Message)
    assert encode(message) == pinned


def test_every_type_of_the_inner_topics_is_pinned() -> None:
    pinned = {orjson.loads(path.read_bytes())["type"] for path in GOLDEN.glob("v1/*.json")}
    assert pinned == set(schemas.SCHEMAS)
