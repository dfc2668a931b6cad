"""Contracts: a JSON Schema (Draft 2020-12) compiled once, checked in about a microsecond.

Formats are asserted (an e-mail address has to be one), nothing is ever fetched, and a pattern that backtracks without end fails the check.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema_rs

from loopwright.errors import InvalidDefinition
from loopwright.masking import MASK
from loopwright.registry.definition import cut
from loopwright.registry.sensitivity import marked, misplaced, opaque
from loopwright.sealing import any_sealed, is_sealed

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MOST_ERRORS = 10


class Contract:
    """What a JSON object must look like. Raises InvalidDefinition, naming the place in the schema, for a schema that cannot be used."""

    __slots__ = ("_opaque", "_schema", "_validator", "properties", "required", "sensitive")

    properties: tuple[str, ...]
    """The top-level fields that the schema declares, in its order."""
    required: frozenset[str]
    """Those of them that must be there."""
    sensitive: frozenset[str]
    """Those of them that are marked `x-sensitive`: their values are never shown."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile `schema`, which must be of type object and have `properties`."""
        _check_shape(schema)
        self.properties = tuple(schema["properties"])
        self._schema, self._validator = dict(schema), _compile(dict(schema))
        self._opaque: dict[frozenset[str], jsonschema_rs.Draft202012Validator] = {}
        wrong = misplaced(schema)
        if wrong is not None:
            raise _invalid(*wrong)
        self.sensitive = marked(schema)
        self.required = frozenset(schema.get("required", ()))
        unknown = sorted(self.required - set(self.properties))
        if unknown:
            raise _invalid("required", f"{cut(unknown)}: not declared under `properties`, so the agent would never see them")

    def accepts(self, doc: Mapping[str, Any], clear: bool = False) -> bool:
        """Whether `doc` keeps the contract. Anything that is not JSON does not. A sealed value is taken for any value of its field.

        `clear`: the caller knows that no field is sealed.
        """
        try:
            return (self._validator if clear else self._for(doc)).is_valid(doc)
        except ValueError:
            return False

    def errors(self, doc: Mapping[str, Any], hide: Iterable[str] = ()) -> list[str]:
        """What is wrong with `doc`: at most ten lines, each with the place, what was expected and the value (80 letters of it).

        Of the fields that are sensitive by this contract, or named in `hide`, nothing but the broken keyword is said.
        """
        found: list[str] = []
        hidden = self.sensitive.union(hide)
        try:
            for error in self._for(doc).iter_errors(doc):
                if len(found) == MOST_ERRORS:
                    return [*found, "… and more"]
                found.append(_line(error, hidden))
        except ValueError as error:
            found.append("$: is not a JSON value" + ("" if hidden else f": {cut(str(error))}"))
        return found

    def _for(self, doc: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
        """The validator for a document with these fields sealed."""
        if not isinstance(doc, dict) or not any_sealed(doc):
            return self._validator
        sealed = frozenset(name for name in self.properties if is_sealed(doc.get(name)))
        if sealed not in self._opaque:
            self._opaque[sealed] = _compile(opaque(self._schema, sealed))
        return self._opaque[sealed]

    def project(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        """The part of `doc` that the contract declares: least privilege, whatever `additionalProperties` says."""
        return {name: doc[name] for name in self.properties if name in doc}


def _check_shape(schema: Mapping[str, Any]) -> None:
    if schema.get("type") != "object":
        raise _invalid("type", f"is {cut(schema.get('type'))}; a contract describes a JSON object: write `type: object`")
    if not isinstance(schema.get("properties"), Mapping):
        raise _invalid("properties", "is missing; name each field that the agent may see or promises")
    if schema.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise _invalid("$schema", f"is {cut(schema['$schema'])}; contracts are JSON Schema Draft 2020-12")


def _compile(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            mask="it",
            email_options=jsonschema_rs.EmailOptions(allow_display_text=False, allow_domain_literal=False),
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000),
        )
    except jsonschema_rs.ValidationError as error:
        place, value = _place_of_reference(schema, error.message) if not error.schema_path else (error.instance_path, error.instance)
        raise _invalid(".".join(map(str, place)), f"{cut(value)} {_remedied(error)}") from error
    except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
        raise _invalid("", cut(str(error), 200)) from error


def _place_of_reference(schema: Any, message: str) -> tuple[list[str | int], object]:
    """Where in `schema` the $ref stands that `message` speaks of: the library does not say."""
    part = 0 if "Retrieval" in message or "base URI" in message else 2  # the document, or the place in it
    todo: list[tuple[list[str | int], Any]] = [([], schema)]
    while todo:
        place, node = todo.pop()
        if isinstance(node, Mapping):
            reference = node.get("$ref")
            if isinstance(reference, str) and reference.partition("#")[part] in message:
                return [*place, "$ref"], reference
            todo.extend(([*place, str(name)], child) for name, child in node.items())
        elif isinstance(node, list):
            todo.extend(([*place, number], child) for number, child in enumerate(node))
    return [], "a $ref"


def _remedied(error: jsonschema_rs.ValidationError) -> str:
    if "Retrieval is disabled" in error.message or "No base URI" in error.message:
        return "is another document, which is never fetched; put the schema under $defs and refer to #/$defs/NAME"
    if error.message.startswith("Unknown format"):
        return "is not a format of JSON Schema 2020-12 (email, uri, date-time, date, time, uuid, ipv4, hostname, ...)"
    if error.instance_path[-1:] == ["type"]:
        return "is not a type of JSON Schema (object, array, string, number, integer, boolean, null)"
    if not error.schema_path:
        return "refers to a place that is not in the schema"
    return error.message.removeprefix("it ")


def _invalid(place: str, why: str) -> InvalidDefinition:
    remedy = "correct the schema (JSON Schema Draft 2020-12)"
    return InvalidDefinition("a contract cannot be used", f"{place or 'the schema'}: {why}", remedy)


def _line(error: jsonschema_rs.ValidationError, hidden: frozenset[str]) -> str:
    path = error.instance_path
    if path and path[0] in hidden:
        return f"$.{path[0]}: breaks `{error.kind.name}`; its value is not shown"
    place = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    message = error.message.removeprefix("it ")
    if error.kind.name == "required":
        return f"{place}: {message}"
    seen = error.instance
    if hidden and not path and isinstance(seen, dict):
        seen = {name: MASK if name in hidden else value for name, value in seen.items()}
    return f"{place}: {message[:200]}; it is {cut(seen)}"
