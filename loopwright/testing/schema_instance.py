"""A value that keeps a JSON Schema: what an honest double answers when a schema is all it is given."""

from typing import Any

Schema = dict[str, Any]


def instance(schema: Schema, choose: dict[str, Any] | None = None, root: Schema | None = None) -> Any:
    """The simplest value that `schema` accepts: first enum member, smallest numbers, shortest lists, every property that is required.

    `choose` gives values for properties by name, at any depth. Understands type, const, enum, properties, required, items, minItems,
    minLength, minimum, maximum, anyOf/oneOf (first), allOf (merged), local $ref. Deeper conditions (pattern, not, if) are not tried.
    """
    root = schema if root is None else root
    schema = _resolved(schema, root)
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(schema, choose or {}, root)
    if kind == "array":
        return [instance(schema.get("items", {}), choose, root) for _ in range(schema.get("minItems", 0))]
    if kind in {"integer", "number"}:
        return _number(schema, kind)
    return {"boolean": False, "null": None}.get(kind, "x" * max(schema.get("minLength", 0), 1) if kind == "string" else None)


def _object(schema: Schema, choose: dict[str, Any], root: Schema) -> dict[str, Any]:
    properties = schema.get("properties", {})
    wanted = [name for name in properties if name in schema.get("required", ()) or name in choose]
    return {name: choose[name] if name in choose else instance(properties[name], choose, root) for name in wanted}


def _number(schema: Schema, kind: str) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    value = min(low, schema["maximum"]) if "maximum" in schema else low
    return int(value) if kind == "integer" else float(value)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with its $ref followed, its allOf merged, its first alternative taken."""
    found = schema
    for _ in range(16):  # a $ref may lead to another; one that leads to itself ends here
        if not isinstance(found.get("$ref"), str):
            break
        target: Any = root
        for part in found["$ref"].removeprefix("#").strip("/").split("/"):
            target = target.get(part, {}) if part else target
        found = target
    for part in (*found.get("allOf", ()), *found.get("anyOf", ())[:1], *found.get("oneOf", ())[:1]):
        found = {**found, **_resolved(part, root)}
    return found
