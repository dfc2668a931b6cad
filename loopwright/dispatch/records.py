"""What the dispatcher writes: replies, failures, settled decisions. What the decision said travels on in them."""

from dataclasses import replace
from typing import Any

import orjson

from loopwright import schemas
from loopwright.deadletter import original
from loopwright.dispatch.outcome import Failure, Replied
from loopwright.dispatch.state import DispatchState
from loopwright.masking import masked
from loopwright.message import Message, encode, headers_of, record_id, trace_of
from loopwright.step import Emit

SOURCE = "/loopwright/dispatch"


def _record(workflow: str, state: DispatchState, branch: str, kind: str, data: dict[str, Any], now_ms: int) -> Message:
    return Message(
        id=record_id(workflow, state.hop, branch, kind),
        type=kind,
        source=SOURCE,
        workflow=workflow,
        hop=state.hop,
        branch=branch,
        time_ms=now_ms,
        causation=state.cause,
        traceparent=trace_of(workflow, state.hop, branch, state.traceparent),
        data=data,
    )


def _call_data(state: DispatchState, branch: str, now_ms: int) -> dict[str, Any]:
    asked = state.branches[branch]
    return {
        "agent": asked.agent,
        "version": asked.version,
        "branch": branch,
        "attempts": asked.attempts,
        "input_hash": asked.input_hash,
        "duration_ms": max(0, now_ms - asked.since_ms),
        "decision": state.decision,
        "pins": state.pins,
    }


def replied(workflow: str, state: DispatchState, branch: str, reply: Replied, now_ms: int) -> Message:
    """The record of an agent's reply."""
    data = _call_data(state, branch, now_ms) | {"output": reply.output, "next": reply.next, "usage": reply.usage, "status": reply.status}
    if reply.actions:
        data["actions"] = list(reply.actions)
    return _record(workflow, state, branch, schemas.REPLIED, data, now_ms)


def agent_failed(workflow: str, state: DispatchState, branch: str, failure: Failure, now_ms: int) -> Message:
    """The record that the dispatcher gave up on an agent."""
    error = {"class": failure.kind, "message": masked(failure.message)}
    data = _call_data(state, branch, now_ms) | {"error": error, "status": failure.status, "retryable": failure.retryable}
    return _record(workflow, state, branch, schemas.FAILED, data, now_ms)


def settled(workflow: str, state: DispatchState, decided: dict[str, Any], now_ms: int) -> Message:
    """The record that a decision which calls no agent was taken up."""
    data = {"outcome": decided["outcome"], "reason": decided["reason"], "decision": state.decision, "pins": state.pins}
    return _record(workflow, state, "", schemas.SETTLED, data, now_ms)


def failure_letter(workflow: str, state: DispatchState, branch: str, failure: Failure, failed: Message, topic: str) -> Emit:
    """The dead letter of a call that was given up: its input, why, and how to go on."""
    why = masked(failure.message)
    data = failed.data | {
        "cause": failure.kind,
        "stage": "dispatch",
        "why": why,
        "remedy": f"mend the agent; the workflow went on with another one, or is parked: `loopwright resume {workflow}`",
        "original": original(orjson.dumps(state.branches[branch].input)),
    }
    letter = replace(failed, data=data)
    headers = headers_of(letter) | {
        "__connect.errors.stage": b"dispatch",
        "__connect.errors.exception.class.name": failure.kind.encode("utf-8", "replace"),
        "__connect.errors.exception.message": why.encode("utf-8", "replace"),
    }
    return Emit(topic, workflow.encode(), encode(letter), headers)
