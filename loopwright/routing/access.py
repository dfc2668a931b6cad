"""Which agents a workflow may use at all: those of its tenant, whose actions it allows. Looked at before the contracts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loopwright.audit import Refusal
from loopwright.registry.definition import AgentDefinition
from loopwright.workflow.state import WorkflowState

Policy = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a workflow may not use an agent."""

    cause: Literal["foreign-tenant", "action-not-allowed"]
    why: str


def allowed_actions(state: WorkflowState, policy: Policy) -> frozenset[str] | None:
    """What a workflow may have done in the world: what its start, its tenant and its team all allow; None: anything.

    `policy` has lists of actions under `tenant/NAME` and `team/NAME`.
    """
    if state.actions is None and not policy:
        return None
    lists = [state.actions, policy.get(f"tenant/{state.tenant}"), policy.get(f"team/{state.team}")]
    sets = [frozenset(allowed) for allowed in lists if allowed is not None]
    return frozenset.intersection(*sets) if sets else None


def denied(definition: AgentDefinition, state: WorkflowState, allowed: frozenset[str] | None) -> Denied | None:
    """Why `state`, which may have these actions done (`allowed_actions`), may not use the agent; None where it may."""
    if definition.tenants and state.tenant not in definition.tenants:
        whose = f"of tenant {state.tenant!r}" if state.tenant else "of no tenant"
        return Denied("foreign-tenant", f"it works for other tenants; this workflow is {whose}")
    needed = [] if allowed is None else [action for action in definition.actions if action not in allowed]
    if needed:
        return Denied("action-not-allowed", f"it needs the action {', '.join(needed)}, which this workflow does not allow")
    return None


def refusals(state: WorkflowState, found: Mapping[str, Denied]) -> list[Refusal]:
    """The audit entries of one decision: the agents that the contracts would have let in."""
    who = {"tenant": state.tenant}
    return [
        Refusal(
            "route",
            f"agent {name}",
            found[name].cause,
            found[name].why,
            {"agent": f"{state.team}/{name}", **who},
            state.workflow,
            state.hop,
        )
        for name in sorted(found)
    ]
