"""Avro beside JSON: the Avro schema of a record type, and a record from the one encoding into the other.

A schema is made from the JSON Schema of the same type, so there is one source of both. What JSON leaves open (a document, an agent's input
and output) is JSON text in Avro, marked as Debezium marks it, so that Kafka Connect's sinks know it. A field that may be missing has null
as its default: each version reads what every other wrote. Texts of a fixed set stay strings: with a symbol that an old reader does not know
an enum would break it. What a record holds beyond its schema is kept under `more`. Sources: Apache Avro 1.12 specification, "Schema
Resolution"; Debezium, `io.debezium.data.Json`.
"""

import io
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import orjson

from loopwright.json_strict import JsonRefused, read_object

Schema = dict[str, Any]
NAMESPACE = "loopwright.avro"
MORE = "more"
JSON_TEXT: Schema = {"type": "string", "connect.name": "io.debezium.data.Json"}
_MORE = {"name": MORE, "type": ["null", {"type": "map", "values": JSON_TEXT}], "default": None}
_PRIMITIVES = {"string": "string", "integer": "long", "number": "double", "boolean": "boolean"}
_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def record_schema(name: str, schema: Schema, doc: str = "") -> Schema:
    """The Avro record for a JSON Schema of type object with properties. Fields keep their order."""
    required = schema.get("required", ())
    fields = [_field(name, key, value, key in required) for key, value in schema["properties"].items()]
    return {"type": "record", "name": name, **({"doc": doc} if doc else {}), "fields": [*fields, _MORE]}


def _field(outer: str, name: str, schema: Schema, required: bool) -> dict[str, Any]:
    kind = _type(f"{outer}_{name}", schema)
    if required and not isinstance(kind, list):
        return {"name": name, "type": kind}
    return {"name": name, "type": kind if isinstance(kind, list) else ["null", kind], "default": None}


def _type(name: str, schema: Schema) -> Any:
    """The Avro type of a JSON Schema. `name` is for a record, should one be needed."""
    kind = schema.get("type", "string")  # an enum and a constant have no type: all of ours are texts
    if isinstance(kind, list):
        return ["null", _PRIMITIVES[next(one for one in kind if one != "null")]]
    if schema.get("format") == "date-time":
        return _MILLIS
    if kind == "array":
        return {"type": "array", "items": _type(f"{name}_item", schema["items"])} if "items" in schema else _tuple(name, schema)
    if kind != "object":
        return _PRIMITIVES[kind]
    if "properties" in schema:
        return record_schema(name, schema)
    if isinstance(schema.get("additionalProperties"), dict):
        return {"type": "map", "values": _type(f"{name}_value", schema["additionalProperties"])}
    return JSON_TEXT


def _tuple(name: str, schema: Schema) -> Schema:
    """A list whose places mean different things: a record with a field for each, named by its title."""
    fields = [{"name": part["title"], "type": _type(f"{name}_{part['title']}", part)} for part in schema["prefixItems"]]
    return {"type": "record", "name": name, "tuple": True, "fields": fields}


def _there(kind: Any) -> Any:
    """The type of what is not missing."""
    return next(one for one in kind if one != "null") if isinstance(kind, list) else kind


def to_datum(value: Any, kind: Any) -> Any:
    """A JSON value as the datum of an Avro type of ours, for fastavro to write. Raises KeyError, TypeError, ValueError where it is none."""
    if value is None:
        return None
    kind = _there(kind)
    if kind == JSON_TEXT:
        return orjson.dumps(value).decode()
    if kind == _MILLIS:
        return datetime.fromisoformat(value)
    if isinstance(kind, str):
        return value
    if kind["type"] == "array":
        return [to_datum(one, kind["items"]) for one in value]
    if kind["type"] == "map":
        return {key: to_datum(one, kind["values"]) for key, one in value.items()}
    if kind.get("tuple"):
        return {part["name"]: to_datum(one, part["type"]) for part, one in zip(kind["fields"], value, strict=True)}
    known = {part["name"]: part["type"] for part in kind["fields"]}
    found = {key: to_datum(value.get(key), one) for key, one in known.items() if key != MORE}
    if MORE in known:
        found[MORE] = {key: orjson.dumps(one).decode() for key, one in value.items() if key not in found} or None
    return found


def from_datum(datum: Any, kind: Any, nesting: int) -> Any:
    """The JSON value of a datum that fastavro has read with an Avro type of ours; null is what is missing. Raises JsonRefused."""
    kind = _there(kind)
    if kind == JSON_TEXT:
        return _json_in(datum, nesting)
    if kind == _MILLIS:
        return timestamp(datum)
    if isinstance(kind, str):
        return _finite(datum)
    if kind["type"] == "array":
        return [from_datum(one, kind["items"], nesting) for one in datum]
    if kind["type"] == "map":
        return {key: from_datum(one, kind["values"], nesting) for key, one in datum.items()}
    there = [(part["name"], part["type"]) for part in kind["fields"] if part["name"] != MORE and datum[part["name"]] is not None]
    if kind.get("tuple"):
        return [from_datum(datum[name], one, nesting) for name, one in there]
    found = {name: from_datum(datum[name], one, nesting) for name, one in there}
    return {key: from_datum(one, JSON_TEXT, nesting) for key, one in (datum.get(MORE) or {}).items()} | found


def _json_in(text: str, nesting: int) -> Any:
    found = read_object(b'{"_":' + text.encode() + b"}", nesting + 1)
    if len(found) != 1:
        raise JsonRefused("invalid-json", f"{text[:80]!r} is not one JSON value", "write one JSON value into each field of JSON text")
    return found["_"]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise JsonRefused("number-out-of-range", f"{value} is not JSON", "send a number or null")
    return value


def timestamp(moment: datetime) -> str:
    """A moment as our records write it: RFC 3339 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def as_json(datum: Any) -> Any:
    """The JSON value of a datum of anybody's type: dates, times and UUIDs as text, decimals as text, bytes as text of Latin-1, as in
    Avro's own JSON encoding. Raises JsonRefused."""
    if isinstance(datum, dict):
        return {str(key): as_json(value) for key, value in datum.items()}
    if isinstance(datum, list | tuple):
        return [as_json(value) for value in datum]
    if isinstance(datum, datetime):
        return timestamp(datum)
    if isinstance(datum, bytes):
        return datum.decode("latin-1")
    return str(datum) if isinstance(datum, date | time | Decimal | UUID) else _finite(datum)


def encoded(value: Mapping[str, Any], schema: Schema, parsed: Any) -> bytes:
    """A JSON object in Avro's binary encoding, without any frame. `parsed` is `schema`, parsed by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, to_datum(value, schema))
    return out.getvalue()


def datum_of(content: bytes, writer: Any, reader: Any = None) -> Any:
    """The datum in `content`, resolved from its writer's schema to the reader's (both parsed). Raises JsonRefused."""
    source = io.BytesIO(content)
    try:
        found = fastavro.schemaless_reader(source, writer, reader)
    except Exception as error:  # fastavro raises what its decoder runs into: EOFError, IndexError, UnicodeDecodeError and others
        why = f"{type(error).__name__}: {error}"[:200]
        remedy = "write it with the schema whose id it carries, in a version that is compatible: `loopwright schemas check`"
        raise JsonRefused("wrong-avro", why, remedy) from error
    left = len(content) - source.tell()
    if left:
        raise JsonRefused("wrong-avro", f"{left} bytes are left behind the record", "write the record with the schema whose id it carries")
    return found
