"""Values that name their schema, in whatever process: read by the registry's schemas, and written with its ids.

Reading: each schema is asked for once, and kept. Those of our own subjects are asked for when the job is submitted, and travel in its
graph, so it goes on while the registry is away. For one that it has not seen before the registry is waited for: the record behind it is
neither skipped nor refused for that. Writing: ids are resolved before the first record is written, never for each record.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from loopwright.edges.registry import SchemaRegistry, registry_url
from loopwright.errors import InvalidSettings, LoopwrightError, NotFound, Retryable, Terminal
from loopwright.json_strict import JsonRefused
from loopwright.masking import masked
from loopwright.settings import Settings
from loopwright.step import Emit
from loopwright.subjects import Kind, Subject, subjects
from loopwright.wire import (
    PREFIX_BYTES,
    TYPE_HEADER,
    Decode,
    Frame,
    Frames,
    guid_header,
    plain,
    prefix,
    schema_id,
    without_registry,
)
from loopwright.writer_schema import WriterSchema

log = logging.getLogger(__name__)
PATIENCE_S = 40.0  # longer than what Flink takes for a job that can run: it is started anew for as long as the registry is away
_PAUSE_S = 0.5
_UNKNOWN_S = 10.0  # how long an id that the registry did not know is not asked for again
_MOST_KEPT = 1000
_NESTING = 256
Refusal = tuple[str, str, str]


class RegistryDecode:
    """A `Decode` by the registry of `settings`. It can be pickled: what was learnt goes along, the client is made anew.

    Raises, beside JsonRefused, Unreachable or Retryable where the registry did not answer within `patience_s`, InvalidSettings where it
    lets us not in.
    """

    def __init__(self, settings: Settings, patience_s: float) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._texts: dict[int, tuple[str, str]] = {}
        self._forget()

    def _forget(self) -> None:
        self._registry = SchemaRegistry(self._settings)
        self._known: dict[int, WriterSchema | Refusal] = {}
        self._unknown: dict[int, float] = {}

    def __getstate__(self) -> tuple[Settings, float, dict[int, tuple[str, str]]]:
        return self._settings, self._patience_s, self._texts

    def __setstate__(self, state: tuple[Settings, float, dict[int, tuple[str, str]]]) -> None:
        self._settings, self._patience_s, self._texts = state
        self._forget()

    def __call__(self, value: bytes, nesting: int) -> dict[str, Any]:
        """See `loopwright.wire.Decode`."""
        number = schema_id(value)
        found = self._known.get(number) or self._found(number)
        if isinstance(found, tuple):
            raise JsonRefused(*found)
        return found.body(value[PREFIX_BYTES:], nesting)

    def learn(self) -> None:
        """Ask for every version of our own Avro schemas. Raises as `SchemaRegistry`."""
        for subject in subjects():
            if "AVRO" in subject.kinds:
                versions = self._registry.versions(subject, "AVRO")
                self._texts |= {number: ("AVRO", text) for number, text in versions.items()}

    def _found(self, number: int) -> WriterSchema | Refusal:
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        try:
            kind, text = self._texts.get(number) or self._asked(number)
            self._known[number] = WriterSchema(kind, text)
        except JsonRefused as refused:
            if refused.cause == "unknown-schema-id":
                raise
            self._known[number] = (refused.cause, refused.why, refused.remedy)
        return self._known[number]

    def _asked(self, number: int) -> tuple[str, str]:
        """Type and text of a schema from the registry; one that does not answer is asked again until patience ends."""
        url, now = registry_url(self._settings), time.monotonic()
        if now - self._unknown.get(number, -_UNKNOWN_S) < _UNKNOWN_S:
            raise _unknown(number, url)
        while True:
            try:
                return self._registry.schema(number)
            except InvalidSettings:
                raise
            except Terminal as error:  # it has no such schema, or takes the number for none: the record's fault, not the registry's
                if len(self._unknown) >= _MOST_KEPT:
                    self._unknown.clear()
                self._unknown[number] = now
                raise _unknown(number, url) from error
            except Retryable as error:
                if time.monotonic() - now >= self._patience_s:
                    raise
                log.warning("%s: %s; it is asked again", error.what, error.why)
                time.sleep(_PAUSE_S)


def _unknown(number: int, url: str) -> JsonRefused:
    remedy = "register it there, or set LOOPWRIGHT_REGISTRY__URL to the registry that its producer uses; then `loopwright dlq retry`"
    return JsonRefused("unknown-schema-id", f"{masked(url)} has no schema {number}", remedy)


def reader(settings: Settings) -> Decode:
    """A `Decode` for a command: by the registry that is set or was started here; it does not wait for it."""
    try:
        registry_url(settings)
    except LoopwrightError:
        return without_registry
    return RegistryDecode(settings, 0.0)


def as_json(value: bytes, decode: Decode) -> bytes:
    """The value as JSON: without its prefix, or translated. What cannot be read stays as it is: whoever looks at it says why."""
    inner = plain(value)
    if inner is not value:
        return inner
    try:
        return orjson.dumps(decode(value, _NESTING))
    except JsonRefused:
        return value


def frame(settings: Settings, registry: SchemaRegistry, subject: Subject) -> Frame:
    """How records of a type are written, by the settings. Raises InvalidSettings where its schema is not registered, Unreachable."""
    how = settings.registry.write
    kind: Kind = "AVRO" if how == "avro" else "JSON"
    try:
        found = registry.registered(subject, kind)
    except NotFound as error:
        remedy = "`loopwright schemas register`, or set LOOPWRIGHT_REGISTRY__WRITE to plain"
        raise InvalidSettings(
            "records are to name their schemas, and one is not registered", f"{error.what}: {error.why}", remedy
        ) from error
    if how == "json-header":
        if not found.guid:
            why = f"{subject.subject(kind, settings.topics)} has id {found.id} and no GUID"
            raise InvalidSettings("this registry cannot be named in headers", why, "set LOOPWRIGHT_REGISTRY__WRITE to json (a prefix)")
        return Frame(headers=guid_header(UUID(found.guid).bytes))
    return Frame(prefix(found.id), encode=subject.encoded if how == "avro" else None)


@dataclass
class Framing:
    """Frames for a process that writes few types: each is resolved when the first record of it is written."""

    settings: Settings
    known: dict[tuple[str, bytes], Frame] = field(default_factory=dict)

    def framed(self, emit: Emit) -> Emit:
        """The record as the settings have it written. Raises as `frame`."""
        if self.settings.registry.write == "plain":
            return emit
        at = emit.topic, emit.headers.get(TYPE_HEADER, b"")
        if at not in self.known:
            self.known[at] = self._frame(*at)
        return self.known[at].framed(emit)

    def _frame(self, topic: str, kind: bytes) -> Frame:
        subject = _written(self.settings).get((topic, kind))
        if subject is None:
            return Frame()
        registry = SchemaRegistry(self.settings)
        try:
            return frame(self.settings, registry, subject)
        finally:
            registry.close()


def _written(settings: Settings) -> dict[tuple[str, bytes], Subject]:
    """By topic and CloudEvents type, what is written with a schema."""
    return {(getattr(settings.topics, one.role), one.type.encode()): one for one in subjects() if one.enveloped}


@dataclass(frozen=True, slots=True)
class Values:
    """What the job needs to read and write values with schemas: both are settled when it is submitted, and travel in its graph."""

    decode: Decode = without_registry
    frames: Frames = field(default_factory=dict)


def values_of(settings: Settings) -> Values:
    """Ask the registry of the settings for what the job will need. No registry set: nothing is asked.

    Raises InvalidSettings where records are to name their schemas and no registry is set, or one is not registered; Unreachable where their
    ids cannot be had. A registry that is only read from need not be there yet.
    """
    if not settings.registry.url:
        if settings.registry.write != "plain":
            why = f"LOOPWRIGHT_REGISTRY__WRITE is {settings.registry.write!r}, LOOPWRIGHT_REGISTRY__URL is empty"
            remedy = "set LOOPWRIGHT_REGISTRY__URL, start with `loopwright up --registry`, or set LOOPWRIGHT_REGISTRY__WRITE to plain"
            raise InvalidSettings("records are to name their schemas, and no registry is known", why, remedy)
        return Values()
    decode = RegistryDecode(settings, PATIENCE_S)
    try:
        decode.learn()
    except Retryable as error:
        log.warning("%s: %s; schemas are asked for when they are met", error.what, error.why)
    return Values(decode, _frames(settings))


def _frames(settings: Settings) -> Mapping[tuple[str, bytes], Frame]:
    if settings.registry.write == "plain":
        return {}
    registry = SchemaRegistry(settings)
    try:
        return {at: frame(settings, registry, subject) for at, subject in _written(settings).items()}
    finally:
        registry.close()
