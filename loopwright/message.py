"""The envelope: CloudEvents 1.0 in structured JSON, read from bytes of any kind.

`parse` gives a `Message`, a `Rejected` (which becomes a dead letter) or `Skipped` (a tombstone), and raises nothing. A JSON object without
an envelope starts a workflow, whose id comes from where the record stood in the topic. A value may name its schema (`loopwright.wire`).
Source: CloudEvents 1.0.2, JSON event format.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from loopwright.json_strict import JsonRefused, read_object
from loopwright.schemas import SCHEMAS, STARTED, problem_with
from loopwright.settings import Limits
from loopwright.step import Emit, Record
from loopwright.upcast import CURRENT_VERSION, upcast
from loopwright.wire import MAGIC, TYPE_HEADER, Decode, plain, unwrapped, without_registry

CONTENT_TYPE = b"application/cloudevents+json; charset=utf-8"
ID_LIMIT = 256
BARE = "bare"  # the source of a document that came without an envelope
_READ: Decode = read_object
LAST_MS = 253_402_300_799_000  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, slots=True)
class Message:
    """One record of the log. Times are in milliseconds since the epoch; `logged_ms` is when Kafka took it, `time_ms` what it says."""

    id: str
    type: str
    source: str
    workflow: str
    data: dict[str, Any]
    hop: int = 0
    branch: str = ""
    time_ms: int = 0
    logged_ms: int = 0
    causation: str = ""
    correlation: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be read. `cause` is a word to count by, `why` names the offending part, `remedy` what to do."""

    record: Record
    cause: str
    why: str
    remedy: str
    workflow: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record with nothing in it: a tombstone."""

    record: Record


class Arrived(NamedTuple):
    """A record that can be used, and what it says."""

    record: Record
    message: Message


def record_id(workflow: str, hop: int, branch: str, kind: str) -> str:
    """The deterministic id of a record: 32 hex digits of SHA-256 over what it is, so that a duplicate is recognisable anywhere."""
    return hashlib.sha256("\x1f".join((workflow, str(hop), branch, kind)).encode()).hexdigest()[:32]


def trace_of(workflow: str, hop: int, branch: str = "", parent: str = "") -> str:
    """A W3C traceparent: the trace of `parent` (or of the workflow's id), the span of this hop and branch."""
    trace = parent[3:35] if len(parent) >= 35 else hashlib.sha256(workflow.encode()).hexdigest()[:32]
    return f"00-{trace}-{record_id(workflow, hop, branch, 'span')[:16]}-01"


def parse(record: Record, limits: Limits, decode: Decode = without_registry) -> Message | Rejected | Skipped:
    """Read a record of unknown origin: size, UTF-8, strict JSON, nesting, envelope, schema version, the fields of its type.

    `decode` reads a value that is not JSON and names its schema. Raises what it raises beside JsonRefused.
    """
    if record.value is None:
        return Skipped(record)
    value, read_body = record.value, _READ
    if value[:1] == MAGIC:
        value, read_body = unwrapped(value, decode)
    if len(value) > limits.message_bytes:
        why = f"{len(value)} bytes; the limit is {limits.message_bytes}"
        return Rejected(record, "too-large", why, "send less, or keep large values outside and refer to them", _key(record))
    try:
        message = from_json(read_body(value, limits.nesting), record)
        if message.type not in SCHEMAS:
            raise JsonRefused("unknown-type", f"type {message.type!r}", "send one of: " + ", ".join(sorted(SCHEMAS)))
        problem = problem_with(message.type, message.data)
        if problem is not None:
            raise JsonRefused(
                "wrong-type", problem, f"correct the field and send the record again; {message.type} is described in docs/records.md"
            )
    except JsonRefused as refused:
        return Rejected(record, refused.cause, refused.why, refused.remedy, _key(record))
    return message


def _key(record: Record) -> str:
    return (record.key or b"").decode("utf-8", "replace")[:ID_LIMIT]


def read(record: Record) -> Message:
    """Read a JSON record that `parse` has accepted before: neither its size nor its content is checked again."""
    return from_json(orjson.loads(plain(record.value or b"{}")), record)


def from_json(body: dict[str, Any], record: Record) -> Message:
    """The message in an envelope, or the start of a workflow in a bare object. Raises JsonRefused."""
    if "specversion" not in body:
        where = f"{record.topic}-{record.partition}-{record.offset}"
        return Message(
            where, STARTED, BARE, where, {"document": body}, time_ms=_sane(record.timestamp_ms), logged_ms=_sane(record.timestamp_ms)
        )
    body = upcast(body)
    hop = body.get("hop", 0)
    if not isinstance(hop, int) or isinstance(hop, bool) or hop < 0:
        raise JsonRefused("wrong-type", f"hop: {hop!r:.80} is not a whole number >= 0", "send the hop as a number")
    logged_ms = _sane(record.timestamp_ms)
    return Message(
        id=_text(body, "id"),
        type=_text(body, "type"),
        source=_text(body, "source"),
        workflow=_text(body, "workflowid"),
        data=body["data"] if isinstance(body.get("data"), dict) else _no_data(body),
        hop=hop,
        branch=_text(body, "branch", ""),
        time_ms=_time_ms(body.get("time"), logged_ms),
        logged_ms=logged_ms,
        causation=_text(body, "causationid", ""),
        correlation=_text(body, "correlationid", ""),
        traceparent=_text(body, "traceparent", ""),
    )


def _sane(timestamp_ms: int) -> int:
    """A producer may stamp its records with any number; what no calendar holds is brought to the nearest time that one does."""
    return min(max(timestamp_ms, 0), LAST_MS)


def _no_data(body: dict[str, Any]) -> dict[str, Any]:
    if "data" in body:
        raise JsonRefused("wrong-type", f"data: {body['data']!r:.80} is not an object", "put the content into an object under 'data'")
    raise JsonRefused("missing-attribute", "the envelope has no 'data'", "put the content into an object under 'data'")


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if isinstance(value, str) and len(value) <= ID_LIMIT and (value or default is not None):
        return value
    if value is None:
        raise JsonRefused("missing-attribute", f"the envelope has no {name!r}", f"add the attribute {name!r}, a string")
    raise JsonRefused("wrong-type", f"{name}: {value!r:.80} is not a string of 1 to {ID_LIMIT} characters", f"send {name!r} as a string")


def _time_ms(value: object, default: int) -> int:
    if value is None:
        return default
    try:
        said = datetime.fromisoformat(str(value))
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise JsonRefused(
            "wrong-type", f"time: {value!r:.80} is not an RFC 3339 time", "send a time such as 2026-01-31T12:00:00Z"
        ) from error


def encode(message: Message) -> bytes:
    """The message as CloudEvents structured JSON. Attributes stand in a fixed order; empty ones are left out."""
    body: dict[str, Any] = {
        "specversion": "1.0",
        "id": message.id,
        "type": message.type,
        "source": message.source,
        "time": shown_time(message.time_ms),
        "datacontenttype": "application/json",
        "schemaversion": CURRENT_VERSION,
        "workflowid": message.workflow,
        "hop": message.hop,
    }
    if message.branch:
        body["branch"] = message.branch
    if message.causation:
        body["causationid"] = message.causation
    if message.correlation:
        body["correlationid"] = message.correlation
    if message.traceparent:
        body["traceparent"] = message.traceparent
    body["data"] = message.data
    return orjson.dumps(body)


def headers_of(message: Message) -> dict[str, bytes]:
    """The Kafka headers of a message: content type, CloudEvents type, trace."""
    headers = {"content-type": CONTENT_TYPE, TYPE_HEADER: message.type.encode()}
    return headers | {"traceparent": message.traceparent.encode()} if message.traceparent else headers


def emitted(topic: str, message: Message) -> Emit:
    """The message as a record to write to `topic`, under its workflow's key."""
    return Emit(topic, message.workflow.encode(), encode(message), headers_of(message))


def arrived(record: Record) -> Arrived:
    """A record that `parse` has accepted before, read."""
    return Arrived(record, read(record))


def shown_time(ms: int) -> str:
    """`ms` since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"  # +00:00


def stamped(message: Message, time_ms: int) -> Message:
    """The same message, said and logged at `time_ms`: how a decider folds a record that it writes itself."""
    return replace(message, time_ms=time_ms, logged_ms=time_ms)
