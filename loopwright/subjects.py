"""What a schema registry is given: for each type of record in each topic a JSON Schema and an Avro schema, made from `loopwright.schemas`.

The subject of a schema is `TOPIC-RECORD` (Confluent's TopicRecordNameStrategy): a topic holds several types, so it cannot be the topic
alone; a type may stand in two topics with different fields (`loopwright.workflow.cancelled`), and two installations may share a registry
under topics of their own, so it cannot be the record alone. JSON and Avro of one type have different names, since a subject holds one kind.

What is registered is the contract of who writes: closed, without fields that it does not name. In an open one no field could be added
later: a registry has to assume that somebody has written that name before, with any content. Reading stays tolerant (`loopwright.message`).
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import fastavro
import orjson

from loopwright import avro, schemas
from loopwright.registry.definition import AgentDefinition
from loopwright.schemas import COUNT, TEXT
from loopwright.settings import Topics

COMPATIBILITY = "BACKWARD_TRANSITIVE"  # of each version with all before it: a log is read from its beginning
DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that every registry and serializer knows
DEFINITION, ROSTER, NOTE = "loopwright.agent.definition", "loopwright.agent.roster", "loopwright.schedule.note"
Kind = Literal["JSON", "AVRO"]

READ = {
    "messages": (
        *(schemas.STARTED, schemas.REPLIED, schemas.FAILED, schemas.SETTLED, schemas.CANCELLED, schemas.RESUMED),
        *(schemas.HUMAN_DECIDED, schemas.DEADLINE_PASSED),
    ),
    "questions": (schemas.ASKED,),
    "decisions": (schemas.DECIDED,),
    "callbacks": (schemas.CALLED_BACK,),
}
_BOUNDS = {"ge": "minimum", "le": "maximum"}  # what pydantic calls them behind a validator of ours
_SUFFIX = {"results": "Result", "dead_letters": "Letter"}  # types that stand in other topics too, with other fields
_ID = {"type": "string", "minLength": 1, "maxLength": 256}
_ENVELOPE: dict[str, Any] = {
    "id": _ID,
    "source": _ID,
    "workflowid": _ID,
    "time": {"type": "string", "format": "date-time"},
    "hop": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "branch": TEXT,
    "causationid": TEXT,
    "correlationid": TEXT,
    "traceparent": TEXT,
}
_COMPACTED = ("definitions", "schedules")
_ALWAYS = ("id", "source", "workflowid")


@dataclass(frozen=True)
class Subject:
    """A type of record in a topic. `role` is the topic's name in the settings, `data` the JSON Schema of what the record says."""

    role: str
    type: str
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """The record's name in Avro, without its namespace."""
        words = self.type.removeprefix("loopwright.").replace("-", ".").split(".")
        return "".join(word.capitalize() for word in words) + _SUFFIX.get(self.role, "")

    @property
    def fullname(self) -> str:
        """The record's name in Avro."""
        return f"{avro.NAMESPACE}.{self.name}"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of schema that there are of it."""
        return ("JSON", "AVRO") if self.enveloped else ("JSON",)

    @property
    def enveloped(self) -> bool:
        """Whether it is a CloudEvent. What stands in a compacted topic is none, and always JSON: definitions, which hold JSON Schemas
        themselves, and notes."""
        return self.role not in _COMPACTED

    def subject(self, kind: Kind, topics: Topics) -> str:
        """The subject's name in a registry."""
        return f"{getattr(topics, self.role)}-{self.type if kind == 'JSON' else self.fullname}"

    def schema(self, kind: Kind) -> dict[str, Any]:
        """The schema of a kind."""
        return self.json if kind == "JSON" else self.avro

    def text(self, kind: Kind) -> str:
        """The schema as it is registered: the same text for the same schema."""
        return orjson.dumps(self.schema(kind)).decode()

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON Schema of the whole record."""
        head = {"$schema": DRAFT, "title": self.type}
        if not self.enveloped:
            return head | closed(self.data)
        said = {"specversion": {"const": "1.0"}, "type": {"const": self.type}, "datacontenttype": {"const": "application/json"}}
        properties = {**said, "schemaversion": COUNT, **_ENVELOPE, "data": self.data}
        required = ["specversion", "type", "schemaversion", *_ALWAYS, "data"]
        return head | closed({"type": "object", "required": required, "properties": properties})

    @cached_property
    def avro(self) -> dict[str, Any]:
        """The Avro schema of the whole record. Its first field is a text: so no record begins as JSON does (see `loopwright.wire`)."""
        properties = {**_ENVELOPE, "data": self.data}
        made = avro.record_schema(self.name, {"properties": properties, "required": [*_ALWAYS, "data"]}, self.type)
        version = {"name": "schemaversion", "type": "int", "default": 1}
        fields = [field for field in made["fields"] if field["name"] != avro.MORE]  # an envelope holds nothing else
        return made | {"namespace": avro.NAMESPACE, "fields": [*fields[:-1], version, fields[-1]]}

    @cached_property
    def parsed(self) -> Any:
        """The Avro schema as fastavro has it."""
        return fastavro.parse_schema(self.avro)

    def encoded(self, body: dict[str, Any]) -> bytes:
        """A record, as JSON has it, in Avro. Raises what `loopwright.avro.to_datum` and fastavro raise where it does not fit."""
        return avro.encoded(body, self.avro, self.parsed)

    def body(self, datum: dict[str, Any], nesting: int) -> dict[str, Any]:
        """The record as JSON has it, of a datum that was read with its Avro schema. Raises JsonRefused."""
        head = {"specversion": "1.0", "type": self.type, "datacontenttype": "application/json"}
        found: dict[str, Any] = avro.from_datum(datum, self.avro, nesting)
        return head | found


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in draft 7, with every object of known properties closed to others."""
    made: dict[str, Any] = _closed(schema)
    return made


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        name: {key: _closed(one) for key, one in part.items()} if name == "properties" else _closed(part) for name, part in schema.items()
    }
    if "prefixItems" in made:
        made["items"] = made.pop("prefixItems")
    return made | ({"additionalProperties": False} if "properties" in made and "additionalProperties" not in made else {})


def _told(kind: str) -> dict[str, Any]:
    """The data of a type that the job reads, with the fields that it does not check."""
    made = deepcopy(schemas.SCHEMAS[kind])
    made["properties"] |= schemas.TOLD.get(kind, {})
    return made


def _definitions() -> Iterator[Subject]:
    definition = _inlined(AgentDefinition.model_json_schema(by_alias=False, mode="validation"))
    yield Subject("definitions", DEFINITION, definition)
    versions = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
    properties = {"team": TEXT, "agents": versions}
    yield Subject("definitions", ROSTER, {"type": "object", "required": list(properties), "properties": properties})


def _notes() -> Iterator[Subject]:
    properties = {"schedule": TEXT, "until": {"type": "string", "format": "date-time"}}
    yield Subject("schedules", NOTE, {"type": "object", "required": list(properties), "properties": properties})


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema of pydantic's without references, titles and defaults: those a registry compares, and these say nothing."""
    parts = schema.get("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inline(parts[value["$ref"].removeprefix("#/$defs/")])
        kept = {name: one for name, one in value.items() if name not in ("title", "default", "description", "$defs")}
        if "properties" in kept:
            kept["properties"] = {name: inline(one) for name, one in kept["properties"].items()}
        return {_BOUNDS.get(name, name): one if name == "properties" else inline(one) for name, one in kept.items()}

    made: dict[str, Any] = inline(schema)
    return made


@cache
def subjects() -> tuple[Subject, ...]:
    """All of them, in the order of the topics."""
    read = (Subject(role, kind, _told(kind)) for role, kinds in READ.items() for kind in kinds)
    written = (Subject(role, kind, data) for role, types in schemas.WRITTEN.items() for kind, data in types.items())
    return (*read, *written, *_definitions(), *_notes())


@cache
def by_fullname() -> dict[str, Subject]:
    """The subjects that have an Avro schema, by the record's name there."""
    return {subject.fullname: subject for subject in subjects() if "AVRO" in subject.kinds}
