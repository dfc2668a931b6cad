"""The call to an agent: its address, headers and body. The address comes from the definition alone, never from a message."""

import re
from typing import Any
from urllib.parse import quote

import orjson

from loopwright.dispatch.confidential import terms
from loopwright.dispatch.state import Branch, DispatchState
from loopwright.message import trace_of
from loopwright.registry.catalogue import Agent
from loopwright.step import Call
from loopwright.workflow.calls import idempotency_key

_PLAIN = re.compile(r"[A-Za-z0-9._~:-]*")


def call_id(state: DispatchState, branch: str) -> str:
    """The id of the call that is under way for a branch."""
    return f"{state.hop}/{branch}/{state.branches[branch].attempts}"


def parts_of(made: str) -> tuple[int, str, int]:
    """Hop, branch and attempt in an id that `call_id` made. A branch may have any name."""
    hop, _, rest = made.partition("/")
    branch, _, attempt = rest.rpartition("/")
    return int(hop), branch, int(attempt)


def request(
    workflow: str, state: DispatchState, branch: str, agent: Agent, gateway_url: str, circuit: str, sensitive: frozenset[str] = frozenset()
) -> Call:
    """The POST to `agent` for this branch.

    `circuit` names the circuit breaker that it goes through, `sensitive` are the fields that the agent's team marks.
    """
    asked: Branch = state.branches[branch]
    definition, workflow_text, branch_text = agent.definition, _header_text(workflow), _header_text(branch)
    payload: dict[str, Any] = {
        "url": definition.endpoint,
        "timeout_ms": definition.timeout_ms,
        "circuit": circuit,
        "rate": definition.rate.model_dump() if definition.rate else None,
        "concurrency": {"key": f"{definition.team}/{definition.name}", "limit": definition.concurrency},
        "allow": list(definition.allow_addresses),
        "headers": {
            "content-type": "application/json",
            "accept": "application/json",
            "idempotency-key": f'"{asked.key or idempotency_key(workflow, state.hop, branch)}"',
            "traceparent": trace_of(workflow, state.hop, branch, state.traceparent),
            "ce-workflowid": workflow_text,
            "ce-hop": str(state.hop),
            "ce-branch": branch_text,
            "loopwright-agent": f"{definition.name}@{definition.version}",
            "loopwright-attempt": str(asked.attempts),
            "loopwright-deadline-ms": str(definition.timeout_ms),
            "loopwright-callback": f"{gateway_url}/callbacks/{workflow_text}/{state.hop}/{branch_text}",
        },
        "body": orjson.dumps(asked.input).decode(),
    }
    sealing = terms(workflow, agent, sensitive, asked.input)
    if sealing is not None:
        payload["seal"] = sealing
        payload["headers"]["loopwright-callback"] += f"?agent={quote(definition.ref, safe='')}"
    if definition.auth_secret:
        payload["auth"] = {"type": definition.auth.type, "secret": definition.auth_secret}
    return Call(call_id(state, branch), orjson.dumps(payload))


def _header_text(text: str) -> str:
    """A workflow id as it may stand in a header or a path: percent-encoded where it holds anything but plain letters."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe="-._~:")
