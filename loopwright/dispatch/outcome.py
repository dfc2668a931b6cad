"""What the outcome of a call means: a reply, an acceptance (the reply comes later), or a failure that is worth another attempt or not.

Sources: RFC 9110 (status codes, Retry-After), RFC 9457 (problem details), IETF draft-ietf-httpapi-idempotency-key-header-07.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from loopwright.json_strict import JsonRefused, read_object
from loopwright.registry.catalogue import Agent
from loopwright.retry import retry_after_ms

RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
CONFIDENTIAL_ERRORS = frozenset({"InputContractViolation", "ContractViolation", "InvalidReply", "NoKeys", "KeyMissing", "SealBroken"})
NO_IDENTITY = frozenset({"MissingSecret", "InvalidSecret"})
FINAL_ERRORS = frozenset(
    {"TlsError", "InvalidUrl", "ResponseTooLarge", "NotUtf8", "InvalidHeader", "InvalidCall", "Redirected", "AddressRefused", "AgentGone"}
    | CONFIDENTIAL_ERRORS
    | NO_IDENTITY
)
NOT_ALLOWED, FOREIGN_TENANT = "ActionNotAllowed", "TenantNotAllowed"
ACTIONS = "loopwright-actions"
NESTING = 64


@dataclass(frozen=True, slots=True)
class Replied:
    """The agent kept its contract: `output` holds the fields that the contract declares, `undeclared` names others, which are left out.

    `actions` are the effects on the world that it says it had.
    """

    output: dict[str, Any]
    next: Literal["continue", "complete"]
    usage: dict[str, Any]
    status: int
    actions: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """202: the reply comes later, through the callback."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The call failed. `kind` is a word to count by; `retryable` says whether another attempt may succeed; `undeclared` as in Replied."""

    kind: str
    message: str
    retryable: bool
    status: int | None = None
    retry_after_ms: int | None = None
    undeclared: tuple[str, ...] = ()


def judge(outcome: dict[str, Any], agent: Agent, now_ms: int) -> Replied | Accepted | Failure:
    """What the outcome of a POST to `agent` means."""
    error = outcome.get("error")
    if error is not None:
        return Failure(str(error.get("class")), str(error.get("message"))[:500], error.get("class") not in FINAL_ERRORS)
    status, headers, body = int(outcome["status"]), outcome.get("headers", {}), str(outcome.get("body", ""))
    if status == 202:
        if agent.definition.reply == "callback":
            return Accepted()
        return Failure(
            "UnexpectedAccepted", "it answered 202, but its definition says `reply: response`; set `reply: callback`", False, status
        )
    if 200 <= status < 300:
        return read_reply(body, headers, agent, status)
    if 300 <= status < 400:
        return Failure("RedirectRefused", f"it answered {status}; redirects are not followed: correct the endpoint", False, status)
    retryable = status in RETRYABLE_STATUS or status >= 500
    return Failure(f"Status{status}", _detail(body), retryable, status, retry_after_ms(headers, now_ms))


def read_reply(body: str, headers: dict[str, str], agent: Agent, status: int) -> Replied | Failure:
    """The reply in a response body, checked against the output contract."""
    try:
        output = read_object(body.encode("utf-8", "replace"), NESTING)
    except JsonRefused as refused:
        return Failure("InvalidReply", f"the body is not one JSON object: {refused.why}", False, status)
    return check_output(output, headers, agent, status)


def check_output(output: dict[str, Any], headers: dict[str, str], agent: Agent, status: int) -> Replied | Failure:
    """The reply, if it keeps the output contract; only the fields that the contract declares are taken over."""
    undeclared = tuple(name for name in output if name not in agent.output.properties)
    if not agent.output.accepts(output):
        why = "; ".join(agent.output.errors(output)[:3])
        return Failure("ContractViolation", f"the reply breaks the output contract: {why}", False, status, undeclared=undeclared)
    actions = actions_of(headers.get(ACTIONS))
    beyond = [action for action in actions if action not in agent.definition.actions]
    if beyond:
        why = f"it reports the action {', '.join(beyond)[:200]}, which its definition does not list"
        return Failure(NOT_ALLOWED, why, False, status)
    ends = agent.definition.terminal or headers.get("loopwright-next", "").strip() == "complete"
    usage = usage_of(headers.get("loopwright-usage"))
    usage["cost"] = usage.get("cost", 0.0) + agent.definition.cost.per_call
    return Replied(agent.output.project(output), "complete" if ends else "continue", usage, status, actions, undeclared)


def actions_of(header: str | None) -> tuple[str, ...]:
    """The actions in the header `loopwright-actions`, separated by commas."""
    return tuple(dict.fromkeys(name for part in header.split(",") if (name := part.strip()))) if header else ()


def usage_of(header: str | None) -> dict[str, Any]:
    """What the agent says it used: only the known fields, only numbers that make sense; anything else is left out."""
    if not header:
        return {}
    try:
        said = orjson.loads(header)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    known: dict[str, Any] = {}
    for name in ("calls", "prompt_tokens", "completion_tokens"):
        if isinstance(said.get(name), int) and not isinstance(said[name], bool) and 0 <= said[name] < 2**53:
            known[name] = said[name]
    cost = said.get("cost")
    if isinstance(cost, (int, float)) and not isinstance(cost, bool) and 0 <= cost < 1e12:
        known["cost"] = float(cost)
    return known


def _detail(body: str) -> str:
    try:
        problem = orjson.loads(body)
    except ValueError:
        return body[:300] or "no body"
    if not isinstance(problem, dict):
        return body[:300]
    parts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return ": ".join(parts)[:500] or body[:300]
