"""What each record type must carry in `data`, as JSON Schema 2020-12, and the check of it.

`SCHEMAS` are the types that the job reads, and what it checks of them; `WRITTEN` are those that Loopwright alone writes, `TOLD` the fields
that its records hold beyond what is checked. They pin the wire format: the golden files in tests/golden hold an example of each type and
version, and `loopwright.subjects` makes of them what a schema registry is given.
"""

from typing import Any

import jsonschema_rs

STARTED = "loopwright.workflow.started"
REPLIED = "loopwright.agent.replied"
FAILED = "loopwright.agent.failed"
SETTLED = "loopwright.workflow.settled"
CANCELLED = "loopwright.workflow.cancelled"
RESUMED = "loopwright.workflow.resumed"
HUMAN_DECIDED = "loopwright.human.decided"
DEADLINE_PASSED = "loopwright.deadline.passed"
DECIDED = "loopwright.route.decided"
ASKED = "loopwright.route.asked"
CALLED_BACK = "loopwright.agent.called-back"
WORKFLOW_COMPLETED = "loopwright.workflow.completed"
WORKFLOW_FAILED = "loopwright.workflow.failed"
REJECTED = "loopwright.message.rejected"
LETTER_SETTLED = "loopwright.dead-letter.settled"
PROGRESS = "loopwright.agent.progress"
ACCESS_REFUSED = "loopwright.access.refused"

TEXT = {"type": "string"}
NAME = {"type": "string", "minLength": 1, "maxLength": 256}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**53}
NUMBER = {"type": "number", "minimum": 0}
OBJECT = {"type": "object"}
ACTIONS = {"type": "array", "items": NAME}
FLAG = {"type": "boolean"}
PINS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}
SPEND = {"type": "object", "properties": {"calls": COUNT, "tokens": COUNT, "cost": NUMBER}}
USAGE = {"type": "object", "properties": {"calls": COUNT, "prompt_tokens": COUNT, "completion_tokens": COUNT, "cost": NUMBER}}


def _data(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


_CALL = {"agent": NAME, "version": {"type": "integer", "minimum": 1}, "branch": NAME, "attempts": COUNT, "pins": PINS, "decision": SPEND}
KEY = {"type": "string", "pattern": "^[0-9A-Za-z._~-]{1,128}$"}
_TARGET = _data(
    {"branch": NAME, "agent": NAME, "version": {"type": "integer", "minimum": 1}, "input": OBJECT},
    {"input_hash": TEXT, "idempotency_key": KEY},
)
_VERSION = {"type": "integer", "minimum": 1}
_VISIT = {
    "type": "array",
    "prefixItems": [{**NAME, "title": "agent"}, {**_VERSION, "title": "version"}, {**TEXT, "title": "input_hash"}],
    "minItems": 3,
    "maxItems": 3,
}
_RESTORED = _data(
    {"hop": {"type": "integer", "minimum": 2, "maximum": 2**31}, "team": NAME, "document": OBJECT},
    {
        "tenant": TEXT,
        "actions": ACTIONS,
        "visits": {"type": "array", "items": _VISIT},
        "pins": PINS,
        "budget": SPEND,
        "spend": SPEND,
        "hop_limit": {"type": "integer", "minimum": 1, "maximum": 2**31},
        "deadline_ms": COUNT,
        "start_hash": TEXT,
        "keys": {"type": "object", "additionalProperties": KEY},
    },
)

SCHEMAS: dict[str, dict[str, Any]] = {
    STARTED: _data(
        {"document": OBJECT},
        {
            "team": NAME,
            "budget": SPEND,
            "deadline_ms": COUNT,
            "hop_limit": {"type": "integer", "minimum": 1},
            "tenant": NAME,
            "actions": ACTIONS,
        },
    ),
    REPLIED: _data(
        _CALL | {"output": OBJECT, "next": {"enum": ["continue", "complete"]}},
        {"usage": USAGE, "actions": ACTIONS, "input_hash": TEXT, "status": {"type": ["integer", "null"]}, "duration_ms": COUNT},
    ),
    FAILED: _data(_CALL | {"error": _data({"class": NAME, "message": TEXT})}, {"status": {"type": ["integer", "null"]}}),
    SETTLED: _data({"outcome": {"enum": ["complete", "park", "unroutable"]}, "reason": TEXT}, {"pins": PINS, "decision": SPEND}),
    CANCELLED: _data({}, {"reason": TEXT, "by": TEXT}),
    RESUMED: _data({}, {"reason": TEXT, "by": TEXT, "new_key": FLAG, "from_hop": {"type": "integer", "minimum": 1}, "restored": _RESTORED}),
    HUMAN_DECIDED: _data({"verdict": {"enum": ["approve", "reject", "edit"]}}, {"edit": OBJECT, "reason": TEXT, "by": TEXT}),
    DEADLINE_PASSED: _data({"deadline_ms": COUNT}),
    DECIDED: _data(
        {
            "outcome": {"enum": ["dispatch", "complete", "park", "unroutable"]},
            "strategy": NAME,
            "targets": {"type": "array", "items": _TARGET},
            "candidates": {"type": "array", "items": NAME},
            "reason": TEXT,
            "pins": PINS,
        },
        {
            "team": NAME,
            "tenant": TEXT,
            "deadline_ms": COUNT,
            "calls": COUNT,
            "tokens": OBJECT,
            "cost": NUMBER,
            "confidence": {"type": ["number", "null"]},
            "model": {"type": ["string", "null"]},
        },
    ),
    ASKED: _data(
        {
            "team": NAME,
            "candidates": {"type": "array", "items": NAME, "minItems": 1},
            "targets": {"type": "array", "items": _TARGET, "minItems": 1},
            "ran": {"type": "array", "items": NAME},
            "document": TEXT,
            "pins": PINS,
            "due_ms": COUNT,
            "decision": NAME,
        },
        {"tenant": TEXT, "deadline_ms": COUNT, "rejected": {"type": "array", "items": OBJECT}},
    ),
    CALLED_BACK: _data(
        {"branch": NAME},
        {
            "output": OBJECT,
            "error": OBJECT,
            "next": {"enum": ["continue", "complete"]},
            "usage": OBJECT,
            "sender": TEXT,
            "actions": ACTIONS,
        },
    ),
}
_CHOICE = {"calls": COUNT, "tokens": {"type": "object", "properties": {"prompt": COUNT, "completion": COUNT}}, "cost": NUMBER}
TOLD: dict[str, dict[str, Any]] = {
    FAILED: {"input_hash": TEXT, "duration_ms": COUNT, "retryable": FLAG},
    DECIDED: _CHOICE | {"rejected": {"type": "array", "items": _data({"agent": NAME, "why": TEXT})}, "duration_ms": COUNT},
}

_ORIGINAL = _data({"encoding": {"enum": ["utf-8", "base64"]}, "value": TEXT})
_LETTER = {"cause": NAME, "stage": NAME, "why": TEXT, "remedy": TEXT, "original": _ORIGINAL}
_RESULT = _data(
    {
        "document": OBJECT,
        "hops": COUNT,
        "path": {"type": "array", "items": NAME},
        "duration_ms": COUNT,
        "spend": SPEND,
        "reason": TEXT,
        "team": TEXT,
    }
)
WRITTEN: dict[str, dict[str, dict[str, Any]]] = {
    "results": {WORKFLOW_COMPLETED: _RESULT, WORKFLOW_FAILED: _RESULT, CANCELLED: _RESULT},
    "dead_letters": {
        REJECTED: _data(_LETTER | {"topic": TEXT, "partition": {"type": "integer"}, "offset": {"type": "integer"}}),
        FAILED: _data(SCHEMAS[FAILED]["properties"] | _LETTER, TOLD[FAILED]),
        LETTER_SETTLED: _data({"letter": NAME, "position": NAME, "action": {"enum": ["retried", "dropped"]}, "reason": TEXT, "by": TEXT}),
    },
    "progress": {PROGRESS: _data({"agent": NAME, "step": COUNT, "of": COUNT, "text": TEXT})},
    "audit": {
        ACCESS_REFUSED: _data(
            {"where": NAME, "what": TEXT, "cause": NAME, "why": TEXT, "who": {"type": "object", "additionalProperties": TEXT}},
            {"unwritten": COUNT},
        )
    },
}

_VALIDATORS = {kind: jsonschema_rs.Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}


def problem_with(kind: str, data: object) -> str | None:
    """What is wrong with the `data` of a record of this type, naming the field; None where it is right or the type has no schema."""
    validator = _VALIDATORS.get(kind)
    if validator is None or validator.is_valid(data):
        return None
    first = next(iter(validator.iter_errors(data)))
    path = ".".join(["data", *map(str, first.instance_path)])
    return f"{path}: {first.message[:200]}"
