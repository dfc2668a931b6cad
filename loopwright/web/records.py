"""Requests to the gateway as records of the log. Pure: ids and times are given."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from loopwright.masking import masked
from loopwright.message import Message, emitted, record_id
from loopwright.registry.contract import Contract
from loopwright.schemas import CALLED_BACK, PROGRESS, STARTED
from loopwright.settings import Topics
from loopwright.sources.starts import start_data
from loopwright.step import Emit
from loopwright.web.tenancy import ANYBODY, Caller

SOURCE = "/loopwright/gateway"
MOST_HOPS = 2**31 - 1
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TEXT = {"type": "string", "maxLength": 500}
CALLBACK = Contract(
    {
        "type": "object",
        "properties": {
            "output": {"type": "object"},
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {"class": _TEXT, "message": _TEXT, "retryable": {"type": "boolean"}},
            },
            "next": {"enum": ["continue", "complete"]},
            "usage": {"type": "object"},
            "actions": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 64}, "maxItems": 64},
        },
        "oneOf": [{"required": ["output"]}, {"required": ["error"]}],
    }
)
REPORT = Contract(
    {
        "type": "object",
        "required": ["agent", "step", "of"],
        "properties": {
            "agent": {"type": "string", "minLength": 1, "maxLength": 64},
            "branch": {"type": "string", "maxLength": 256},
            "step": {"type": "integer", "minimum": 0, "maximum": 10**6},
            "of": {"type": "integer", "minimum": 1, "maximum": 10**6},
            "text": _TEXT,
        },
    }
)


def trace_in(headers: Mapping[str, str]) -> str:
    """The traceparent that a request came with; empty where it has none that can be used. Source: W3C Trace Context."""
    trace = headers.get("traceparent", "")
    return trace if _TRACE.fullmatch(trace) else ""


def workflow_id(key: str, tenant: str = "") -> str:
    """The workflow that an Idempotency-Key of a tenant stands for: 20 hex digits, the same for the same key of the same tenant."""
    name = f"start\x1f{tenant}\x1f{key}" if tenant else f"start/{key}"  # neither a tenant nor a header holds a unit separator
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def started(
    topics: Topics, workflow: str, document: Mapping[str, Any], team: str, traceparent: str, now_ms: int, caller: Caller = ANYBODY
) -> Emit:
    """The start of a workflow on `document`, in `team` (empty: the default one), for the tenant of `caller`."""
    data = start_data(document, team, caller.tenant, caller.actions)
    message = Message(record_id(workflow, 0, "", STARTED), STARTED, SOURCE, workflow, data, time_ms=now_ms, traceparent=traceparent)
    return emitted(topics.messages, message)


def called_back(
    topics: Topics, workflow: str, hop: int, branch: str, body: Mapping[str, Any], digest: str, now_ms: int, *, sender: str = ""
) -> Emit:
    """The late reply of an agent; `body` keeps the contract CALLBACK, `digest` tells different replies to one call apart.

    `sender` (`team/name`) is the agent that signed it.
    """
    data = {"branch": branch, **CALLBACK.project(body)} | ({"sender": sender} if sender else {})
    name = record_id(workflow, hop, branch, f"{CALLED_BACK}/{digest}")
    return emitted(topics.callbacks, Message(name, CALLED_BACK, SOURCE, workflow, data, hop=hop, branch=branch, time_ms=now_ms))


def progressed(topics: Topics, workflow: str, hop: int, body: Mapping[str, Any], digest: str, now_ms: int) -> Emit:
    """A report of progress; `body` keeps the contract REPORT."""
    data = {"text": "", **REPORT.project(body)}
    data["text"] = masked(str(data["text"]))
    branch = str(data.pop("branch", ""))
    name = record_id(workflow, hop, branch, f"{PROGRESS}/{digest}")
    return emitted(topics.progress, Message(name, PROGRESS, SOURCE, workflow, data, hop=hop, branch=branch, time_ms=now_ms))
