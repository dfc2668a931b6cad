"""The decision as a record of routing-decisions."""

from typing import Any

from loopwright import schemas
from loopwright.masking import masked
from loopwright.message import Message, record_id
from loopwright.routing.request import Decision, RouteRequest, Target
from loopwright.workflow.calls import call_name
from loopwright.workflow.record import record_of
from loopwright.workflow.state import WorkflowState


def decided(request: RouteRequest, decision: Decision, duration_ms: int, now_ms: int) -> Message:
    """The record that says who is next and why, with everything that the dispatcher needs to act on it."""
    state = request.state
    tokens, asked = tokens_of(request.answers), [a for a in request.answers if a.get("kind") == "model"]
    mask = request.masked if decision.strategy != "end" else None
    data: dict[str, Any] = {
        "outcome": decision.outcome,
        "strategy": decision.strategy,
        "reason": masked(decision.reason),
        "targets": [targeted(target, state) for target in decision.targets],
        "candidates": [c.agent.name for c in mask.candidates] if mask else [],
        "rejected": [{"agent": name, "why": masked(why)} for name, why in mask.rejected.items()] if mask else [],
        "confidence": decision.confidence,
        "model": decision.model,
        "calls": len(asked),
        "tokens": tokens,
        "cost": request.prices.of(**tokens),
        "duration_ms": duration_ms,
        "pins": {name: agent.version for name, agent in request.agents.items()},
        "team": state.team,
        **({"tenant": state.tenant} if state.tenant else {}),
        "deadline_ms": state.deadline_ms,
    }
    return record_of(state, schemas.DECIDED, record_id(state.workflow, state.hop, "", schemas.DECIDED), data, now_ms)


def targeted(target: Target, state: WorkflowState) -> dict[str, Any]:
    """A target on the wire. A call that the workflow has made before goes out with the Idempotency-Key of then."""
    known = state.keys.get(call_name(target.agent, target.input_hash))
    return {**target._asdict(), "idempotency_key": known} if known else target._asdict()


def tokens_of(answers: tuple[dict[str, Any], ...]) -> dict[str, int]:
    """Prompt and completion tokens of all the questions asked for one decision."""
    used = {"prompt": 0, "completion": 0}
    for answer in answers:
        tokens = answer.get("tokens") if answer.get("kind") == "model" else None
        if tokens:
            used["prompt"] += int(tokens.get("prompt") or 0)
            used["completion"] += int(tokens.get("completion") or 0)
    return used
