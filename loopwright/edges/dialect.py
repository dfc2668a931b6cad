"""What an OpenAI-compatible endpoint understands, learned from what it refuses.

Endpoints differ: some know no `json_schema`, some models take no `temperature`, some want `max_completion_tokens`. The first request is
the strictest; a refusal (400, 422) takes one thing back at a time. Pure.
"""

from dataclasses import dataclass, replace
from typing import Any

import orjson

IN_WORDS = "Answer with one JSON object and nothing else. It has to be valid against this JSON Schema: "


@dataclass(frozen=True, slots=True)
class Question:
    """The messages ({role, content}), and the JSON Schema, with its name, that the answer has to keep."""

    messages: list[dict[str, str]]
    schema: dict[str, Any]
    schema_name: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Dialect:
    """`form`: json_schema (enforced), json_object (some JSON; the schema is put in words), text (words alone)."""

    form: str = "json_schema"
    temperature: bool = True
    tokens_field: str = "max_tokens"


def adapted(dialect: Dialect, refusal: str) -> Dialect | None:
    """A simpler dialect to try after `refusal`, the text of the endpoint's error; None where nothing is left to take back."""
    text = refusal.lower()
    if dialect.temperature and "temperature" in text:
        return replace(dialect, temperature=False)
    if dialect.tokens_field == "max_tokens" and "max_completion_tokens" in text:
        return replace(dialect, tokens_field="max_completion_tokens")
    if any(word in text for word in ("context length", "context_length", "context size", "too many tokens", "content_filter")):
        return None  # the request's own fault: simpler words would not help
    forms = {"json_schema": "json_object", "json_object": "text"}
    return replace(dialect, form=forms[dialect.form]) if dialect.form in forms else None


def body(dialect: Dialect, model: str, question: Question) -> dict[str, Any]:
    """The request in this dialect."""
    messages, schema = question.messages, question.schema
    made: dict[str, Any] = {"model": model, "messages": messages, dialect.tokens_field: question.max_tokens}
    if dialect.temperature:
        made["temperature"] = 0
    if dialect.form == "json_schema":
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": question.schema_name, "strict": True, "schema": schema}}
        return made
    if dialect.form == "json_object":
        made["response_format"] = {"type": "json_object"}
    last = messages[-1]
    in_words = {**last, "content": f"{last['content']}\n\n{IN_WORDS}{orjson.dumps(schema).decode()}"}
    return {**made, "messages": [*messages[:-1], in_words]}
