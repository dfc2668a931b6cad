"""The mark `x-sensitive: true` in a contract: which fields it names, and what may not be said of them.

A field that is marked travels sealed (see `loopwright.sealing`). Routing cannot look into it: a sealed value is taken for any value of the
field, and its own schema is checked at the edge, where it is opened. So nothing else in a contract may depend on it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MARK = "x-sensitive"
_OF_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")  # their keys are names, not keywords
_DATA = ("const", "enum", "default", "examples")
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "$ref", "$dynamicRef")
NESTED = "only a field under the contract's own `properties` can be marked: it is encrypted as a whole"


def marked(schema: Mapping[str, Any]) -> frozenset[str]:
    """The fields that `schema` marks."""
    fields = schema["properties"].items()
    return frozenset(name for name, field in fields if isinstance(field, Mapping) and field.get(MARK) is True)


def misplaced(schema: Mapping[str, Any]) -> tuple[str, str] | None:
    """Where a mark stands that cannot be kept, and why; None where all is well."""
    for place, value in _marks(schema, ()):
        if not isinstance(value, bool):
            return ".".join(place), "is neither true nor false"
        if value and (len(place) != 3 or place[0] != "properties"):
            return ".".join(place), NESTED
    for name in sorted(marked(schema)):
        keyword = condition_on(schema, name)
        if keyword:
            return keyword, f"depends on the field {name}, which is marked {MARK}; put its conditions under properties.{name} alone"
    return None


def _marks(node: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every mark in a schema, with its place. Data inside the schema and names of fields are no marks."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from _marks(item, (*place, str(number)))
    if not isinstance(node, Mapping):
        return
    for word, value in node.items():
        if word == MARK:
            yield (*place, word), value
        elif word in _OF_NAMES and isinstance(value, Mapping):
            for name, item in value.items():
                yield from _marks(item, (*place, word, str(name)))
        elif word not in _DATA:
            yield from _marks(value, (*place, word))


def condition_on(schema: Mapping[str, Any], name: str) -> str:
    """The keyword of `schema` that lets its verdict depend on the value of the field `name`, beside that field's own schema, or ""."""
    for word in ("const", "enum"):
        if word in schema:
            return word
    if schema.get("patternProperties"):  # whether a pattern fits the name is for the validator to say
        return "patternProperties"
    for word in _IN_PLACE:
        if word in schema and any(_looks_at(part, name, schema, frozenset()) for part in _parts(word, schema[word])):
            return word
    return ""


def _looks_at(node: Any, name: str, root: Mapping[str, Any], followed: frozenset[str]) -> bool:
    """Whether a schema that is applied to the whole document says anything of the value of its field `name`."""
    if isinstance(node, str):  # a reference
        return node not in followed and _looks_at(_referred(node, root), name, root, followed | {node})
    if isinstance(node, list):
        return any(_looks_at(item, name, root, followed) for item in node)
    if not isinstance(node, Mapping):
        return False
    own = node.get("properties")
    if isinstance(own, Mapping) and name in own:
        return True
    if any(word in node for word in ("const", "enum", "patternProperties", "additionalProperties", "unevaluatedProperties")):
        return True
    parts = [part for word in _IN_PLACE if word in node for part in _parts(word, node[word])]
    return any(_looks_at(part, name, root, followed) for part in parts)


def _parts(word: str, value: Any) -> Iterable[Any]:
    return value.values() if word == "dependentSchemas" and isinstance(value, Mapping) else [value]


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """What a reference into the schema points to; everything, where it cannot be followed."""
    if reference == "#":
        return {}
    node: Any = root
    for step in reference.removeprefix("#/").split("/"):
        word = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or word not in node:
            return {"properties": dict.fromkeys(root.get("properties", {}))}
        node = node[word]
    return node


def opaque(schema: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`schema` with any value allowed in the fields `names`, which are sealed."""
    fields = schema["properties"]
    return {**schema, "properties": {**fields, **{name: True for name in names if name in fields}}}
