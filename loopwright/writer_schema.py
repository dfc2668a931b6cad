"""A value in Avro, as its writer's schema has it, becomes the JSON object that the job folds.

A record of ours, in any version that resolves to the present one, gives the envelope that it stands for. A record of another name is a
document, as a JSON object without an envelope is: it starts a workflow. A schema that would let a few bytes stand for very much is refused:
one that contains itself (its data may be nested as deep as they like), and a list of what takes no bytes.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from fastavro.schema import parse_schema

from loopwright.avro import as_json, datum_of
from loopwright.json_strict import JsonRefused, check_nesting, check_numbers, read_object
from loopwright.subjects import by_fullname

_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


class WriterSchema:
    """A schema as the registry gave it: its type (AVRO, JSON, PROTOBUF) and its text. Made for each id once: making it takes a while."""

    def __init__(self, kind: str, text: str) -> None:
        """Raises JsonRefused where values of it cannot be read."""
        self._json = kind == "JSON"
        if self._json:
            return
        if kind != "AVRO":
            why, remedy = (
                f"the value is not JSON, and its schema is of type {kind}",
                "write it in JSON or Avro, with the schema's id before it",
            )
            raise JsonRefused("wrong-encoding", why, remedy)
        named: dict[str, Any] = {}
        try:
            self._writer: Any = parse_schema(orjson.loads(text), named)
            check_sizes(self._writer, named)
        except JsonRefused:
            raise
        except Exception as error:  # fastavro's, and what else a schema of anybody's can do to a parser
            why = f"its schema cannot be used: {type(error).__name__}: {error}"[:300]
            raise JsonRefused("unusable-schema", why, "register a valid Avro schema, and write the record with its id") from error
        known = by_fullname().get(self._writer.get("name", "")) if isinstance(self._writer, dict) else None
        self._subject = known

    def body(self, content: bytes, nesting: int) -> dict[str, Any]:
        """The JSON object in a value without its prefix. Raises JsonRefused."""
        if self._json:
            return read_object(content, nesting)
        if self._subject is not None:
            found: Any = self._subject.body(datum_of(content, self._writer, self._subject.parsed), nesting)
        else:
            found = as_json(datum_of(content, self._writer))
        if not isinstance(found, dict):
            raise JsonRefused("not-an-object", f"the value is of Avro type {type(found).__name__}", "send a record")
        check_nesting(orjson.dumps(found), nesting)
        check_numbers(found)
        return found


def check_sizes(schema: Any, named: Mapping[str, Any]) -> None:
    """Raise JsonRefused for a parsed schema that contains itself, or a list of what takes no bytes."""
    _size(schema, named, frozenset())


def _size(schema: Any, named: Mapping[str, Any], inside: frozenset[str]) -> bool:
    """Whether a value takes at least a byte."""
    if isinstance(schema, list):
        for one in schema:
            _size(one, named, inside)
        return True  # which of them it is takes a byte
    if isinstance(schema, str):
        return schema != "null" if schema in _PRIMITIVES else _size(named[schema], named, inside)
    kind = schema["type"]
    if kind == "array":
        if not _size(schema["items"], named, inside):
            raise _refused("a list of what takes no bytes could stand for any number of them")
        return True
    if kind == "map":
        return _size(schema["values"], named, inside) or True
    if kind not in ("record", "error"):
        return bool(schema["size"]) if kind == "fixed" else kind != "null"
    if schema["name"] in inside:
        raise _refused(f"{schema['name']} contains itself")
    sizes = [_size(field["type"], named, inside | {schema["name"]}) for field in schema["fields"]]
    return any(sizes)


def _refused(why: str) -> JsonRefused:
    return JsonRefused("unusable-schema", f"its schema cannot be used: {why}", "write the record with a schema without that")
