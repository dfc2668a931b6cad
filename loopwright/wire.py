"""Values that name their schema: Confluent's wire format, which a schema registry's serializers write and read.

A zero byte, the schema's id in four bytes (big-endian), then the content. No JSON document begins with a zero byte, so a value with this
prefix and a plain one are told apart by their first byte, and both may stand in one topic. JSON needs no look-up: its prefix is cut off.
A value that goes on with anything but `{` is Avro, which only its writer's schema can read: who reads gives a `Decode` for it. (No record
of ours is taken for JSON: `{` would be the length of a text below zero.) The newer way, a schema's GUID in a header, leaves the value as
it is.
Sources: Confluent Schema Registry, "Wire format"; confluent-kafka, `prefix_schema_id_serializer` and `header_schema_id_serializer`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from loopwright.json_strict import JsonRefused, read_object
from loopwright.step import Emit

MAGIC = b"\0"
PREFIX_BYTES = 5
GUID_HEADER = "__value_schema_id"
TYPE_HEADER = "ce_type"

Decode = Callable[[bytes, int], dict[str, Any]]
"""The JSON object that a value with an id and no JSON behind it stands for, nested at most so deep. Raises JsonRefused."""
Encode = Callable[[dict[str, Any]], bytes]
"""The content, in another encoding, of a record that is given as JSON."""


def plain(value: bytes) -> bytes:
    """The value without the prefix, where JSON stands behind it; else as it is."""
    return value[PREFIX_BYTES:] if value[:1] == MAGIC and value[PREFIX_BYTES : PREFIX_BYTES + 1] == b"{" else value


def schema_id(value: bytes) -> int:
    """The id in the prefix of a value. Raises JsonRefused where there is none."""
    if value[:1] != MAGIC or len(value) <= PREFIX_BYTES:
        why = f"{len(value)} bytes, the first of them 0x{value[:1].hex() or '--'}"
        raise JsonRefused("no-schema-id", why, "write JSON, or a value with a zero byte and the four bytes of its schema's id before it")
    return int.from_bytes(value[1:PREFIX_BYTES])


def prefix(number: int) -> bytes:
    """What stands before the content of a value of schema `number`."""
    return MAGIC + number.to_bytes(PREFIX_BYTES - 1)


def guid_header(guid: bytes) -> dict[str, bytes]:
    """The header that names a schema by the 16 bytes of its GUID."""
    return {GUID_HEADER: b"\1" + guid}


def without_registry(value: bytes, nesting: int) -> NoReturn:  # noqa: ARG001  # the interface
    """A `Decode` for who knows no registry."""
    number = schema_id(value)
    remedy = "set LOOPWRIGHT_REGISTRY__URL to the registry that its producer uses, start the job anew, then `loopwright dlq retry`"
    raise JsonRefused("no-registry", f"the value names schema {number}, and no registry is set", remedy)


def unwrapped(value: bytes, decode: Decode) -> tuple[bytes, Decode]:
    """What a value with a prefix holds, and what reads that: JSON is read as ever, anything else by `decode`, with its prefix."""
    json = plain(value)
    return (value, decode) if json is value else (json, read_object)


@dataclass(frozen=True, slots=True)
class Frame:
    """How records of one type are written to one topic: what stands before the value, further headers, and another encoding than JSON."""

    before: bytes = b""
    headers: Mapping[str, bytes] = field(default_factory=dict)
    encode: Encode | None = None

    def framed(self, emit: Emit) -> Emit:
        """The record so written. One that the encoding cannot hold stays plain JSON, which every reader of ours takes: nothing is lost."""
        value = emit.value
        if self.encode is not None:
            try:
                value = self.encode(orjson.loads(value))
            except Exception:
                return emit
        return Emit(emit.topic, emit.key, self.before + value, {**emit.headers, **self.headers})


Frames = Mapping[tuple[str, bytes], Frame]


def framed(emit: Emit, frames: Frames) -> Emit:
    """The record as `frames` has its topic and CloudEvents type written; one that it does not know stays as it is."""
    frame = frames.get((emit.topic, emit.headers.get(TYPE_HEADER, b"")))
    return emit if frame is None else frame.framed(emit)
