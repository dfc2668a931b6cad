"""Which call is the same as an earlier one of its workflow: the same agent with the same input. It keeps its Idempotency-Key. Pure."""

from typing import Any

from loopwright.message import record_id


def idempotency_key(workflow: str, hop: int, branch: str) -> str:
    """The key of a call that no earlier one is like: the same for every attempt at one (workflow, hop, branch)."""
    return record_id(workflow, hop, branch, "call")


def call_name(agent: str, input_hash: str) -> str:
    """What makes two calls of a workflow the same."""
    return f"{agent}/{input_hash}"


def with_call(keys: dict[str, str], workflow: str, hop: int, call: dict[str, Any]) -> dict[str, str]:
    """`keys` (by `call_name`) with the call that a reply or a failure tells of; a call that is known keeps the key of the first one."""
    input_hash = call.get("input_hash")
    if not input_hash:
        return keys
    name = call_name(call["agent"], input_hash)
    return keys if name in keys else {**keys, name: idempotency_key(workflow, hop, call["branch"])}


def key_of(workflow: str, hop: int, target: dict[str, Any]) -> str:
    """The key that the call of a decision's target goes out with: the one that it names, or its own."""
    return str(target.get("idempotency_key") or idempotency_key(workflow, hop, str(target["branch"])))
