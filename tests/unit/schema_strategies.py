"""Values that keep a JSON Schema of ours, drawn by hypothesis; and what of one schema another does not accept."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False, width=32) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(WORDS, ANY, max_size=4)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
)


def instances(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that `schema` accepts."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if isinstance(kind, list):
        return st.none() | instances({**schema, "type": next(one for one in kind if one != "null")})
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        return _arrays(schema)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**53)), schema.get("maximum", 2**53))
    if kind == "number":
        return st.floats(schema.get("minimum", 0), 1e9, width=32)
    return st.booleans() if kind == "boolean" else _texts(schema)


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return TIMES
    if "pattern" in schema:
        return st.from_regex(schema["pattern"].replace("$", r"\Z"), fullmatch=True)
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=schema.get("minLength", 0), max_size=12)


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        more = schema.get("additionalProperties")
        return st.dictionaries(WORDS, instances(more), max_size=3) if isinstance(more, dict) else OBJECT
    parts = {name: instances(part) for name, part in schema["properties"].items()}
    required = schema.get("required", ())
    optional = {name: part for name, part in parts.items() if name not in required}
    return st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)


def _arrays(schema: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    items = schema.get("items", schema.get("prefixItems"))
    if isinstance(items, list):
        return st.tuples(*map(instances, items)).map(list)
    return st.lists(instances(items), max_size=3)


def refuses(new: Any, old: Any, at: str = "") -> list[str]:
    """Where `new` may refuse a value that `old` accepts: what a registry finds with BACKWARD, for closed schemas such as ours."""
    if new == old:
        return []
    if not isinstance(new, dict) or not isinstance(old, dict):
        return [f"{at}: it was {old}, it is {new}"]
    found = [
        f"{at}: {word} was {old.get(word)}, it is {new[word]}"
        for word in ("type", "const", "pattern", "format")
        if _narrows(word, new, old)
    ]
    found += [
        f"{at}: {sorted(lost)} no longer allowed"
        for lost in [set(old.get("enum", ())) - set(new.get("enum", ()))]
        if lost and "enum" in new
    ]
    found += [f"{at}: {name} is required" for name in set(new.get("required", ())) - set(old.get("required", ()))]
    found += [f"{at}: {word} {new[word]}" for word in ("minimum", "minLength", "minItems") if new.get(word, -1e99) > old.get(word, -1e99)]
    found += [f"{at}: {word} {new[word]}" for word in ("maximum", "maxLength", "maxItems") if new.get(word, 1e99) < old.get(word, 1e99)]
    found += [one for name, part in old.get("properties", {}).items() for one in _property(new, name, part, at)]
    closed = new.get("additionalProperties", True) is False and old.get("additionalProperties", True) is not False
    found += [f"{at}: it is closed now"] if closed else []
    return found + (refuses(new["items"], old.get("items"), f"{at}[]") if "items" in new else [])


def _narrows(word: str, new: dict[str, Any], old: dict[str, Any]) -> bool:
    return word in new and new[word] != old.get(word)


def _property(new: dict[str, Any], name: str, part: Any, at: str) -> list[str]:
    if name in new.get("properties", {}):
        return refuses(new["properties"][name], part, f"{at}.{name}")
    return [f"{at}.{name} is gone"] if new.get("additionalProperties", True) is False else []
