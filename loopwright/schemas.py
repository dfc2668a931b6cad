"""What each record type must carry in `data`, as JSON Schema 2020-12, and the check of it.

These schemas pin the wire format: the golden files in tests/golden hold an example of each type and version.
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
_VISIT = {"type": "array", "prefixItems": [NAME, {"type": "integer", "minimum": 1}, TEXT], "minItems": 3, "maxItems": 3}
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

_VALIDATORS = {kind: jsonschema_rs.Draft202012Validator(schema) for kind, schema in SCHEMAS.items()}


def problem_with(kind: str, data: object) -> str | None:
    """What is wrong with the `data` of a record of this type, naming the field; None where it is right or the type has no schema."""
    validator = _VALIDATORS.get(kind)
    if validator is None or validator.is_valid(data):
        return None
    first = next(iter(validator.iter_errors(data)))
    path = ".".join(["data", *map(str, first.instance_path)])
    return f"{path}: {first.message[:200]}"
