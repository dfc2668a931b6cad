"""The honest double of a model: it picks, among the names that the schema allows, the one whose words the request shares most."""

import json
import re
from typing import Any

from loopwright.testing.schema_instance import instance

_WORD = re.compile(r"[a-z]{3,}")


def keyword_policy(request: dict[str, Any]) -> str:
    """An answer to a chat completion request (its JSON): valid against the schema that it asks for; plain text where it asks for none."""
    schema = schema_of(request)
    text = _text(request)
    if schema is None:
        return "I can only answer where a schema says what is wanted."
    chosen: dict[str, Any] = {"confidence": 0.9, "reason": "its description shares the most words with the document"}
    for name, names in enums_of(schema).items():
        chosen[name] = best_name(names, "\n".join(line for line in text.splitlines() if "JSON Schema" not in line))
    return json.dumps(instance(schema, chosen))


def schema_of(request: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON Schema that the request asks for: in response_format, or in words in a message; None where there is none."""
    formatted = (request.get("response_format") or {}).get("json_schema", {}).get("schema")
    if isinstance(formatted, dict):
        return formatted
    decoder = json.JSONDecoder()
    text = _text(request)
    for at in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, _ = decoder.raw_decode(text[at:])
        except ValueError:
            continue
        if isinstance(value, dict) and ("properties" in value or "enum" in value):
            return value
    return None


def enums_of(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Property name -> the texts that it may be, of each property with a choice."""
    found = {}
    for name, part in schema.get("properties", {}).items():
        names = [value for value in part.get("enum", ()) if isinstance(value, str)]
        if len(names) > 1:
            found[name] = names
    return found


def best_name(names: list[str], text: str) -> str:
    """The name whose own line in `text` shares the most words with the other lines; words that fewer names share weigh more."""
    lines = text.splitlines()
    own = {name: [line for line in lines if line.lstrip(" -*").startswith((f"{name}:", f'"{name}"'))] for name in names}
    described = {name: set(_WORD.findall(" ".join([name, *own[name]]).lower())) for name in names}
    claimed = {line for lines_of in own.values() for line in lines_of}
    rest = set(_WORD.findall(" ".join(line for line in lines if line not in claimed).lower()))

    def weight(name: str) -> float:
        return sum(1 / sum(word in words for words in described.values()) ** 2 for word in described[name] & rest)

    return max(names, key=lambda name: (bool(own[name]), weight(name)))  # a name without a description is a last resort


def _text(request: dict[str, Any]) -> str:
    return "\n".join(str(message.get("content", "")) for message in request.get("messages", ()) if message.get("role") != "system")
