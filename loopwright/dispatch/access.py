"""What the dispatcher refuses although it came in the right form, as audit entries: replies of somebody else, actions and fields beyond a
definition, calls of another tenant's agent, calls that cannot prove who makes them."""

from loopwright.audit import Refusal
from loopwright.dispatch.outcome import FOREIGN_TENANT, NO_IDENTITY, NOT_ALLOWED, Accepted, Failure, Replied
from loopwright.dispatch.state import DispatchState
from loopwright.message import Message
from loopwright.registry.catalogue import Agent

CAUSES = {NOT_ALLOWED: "action-not-allowed", FOREIGN_TENANT: "foreign-tenant", **dict.fromkeys(NO_IDENTITY, "no-identity")}


def foreign_sender(workflow: str, state: DispatchState, branch: str, message: Message) -> Refusal | None:
    """The refusal of a late reply that another agent signed than the one that was called; None where it is that agent's, or unsigned.

    Whether replies must be signed is the gateway's to say: what it lets into the topic without a sender was not asked for one.
    """
    sender, called = str(message.data.get("sender", "")), f"{state.team}/{state.branches[branch].agent}"
    if sender in ("", called):
        return None
    why = f"{sender} replied to the call of {called}"
    return Refusal("dispatch", "callback", "foreign-agent", why, {"agent": sender, "tenant": state.tenant}, workflow, state.hop, branch)


def foreign_tenant(state: DispatchState, agent: Agent) -> Failure | None:
    """The failure of a decision, whoever made it, for an agent that works for other tenants."""
    tenants = agent.definition.tenants
    if not tenants or state.tenant in tenants:
        return None
    return Failure(FOREIGN_TENANT, "it works for other tenants than the one that the decision names", False)


def refusal_of(workflow: str, state: DispatchState, branch: str, verdict: Replied | Accepted | Failure) -> Refusal | None:
    """The audit entry of what became of a call; None where nothing was refused."""
    who = {"agent": f"{state.team}/{state.branches[branch].agent}", "tenant": state.tenant}
    if isinstance(verdict, Failure) and verdict.kind in CAUSES:
        what = "reply" if verdict.kind == NOT_ALLOWED else "call"
        return Refusal("dispatch", what, CAUSES[verdict.kind], verdict.message, who, workflow, state.hop, branch)
    if isinstance(verdict, (Replied, Failure)) and verdict.undeclared:
        fields = ", ".join(name[:60] for name in verdict.undeclared[:10])
        why = f"fields that its output contract does not declare are not taken over: {fields}"
        return Refusal("dispatch", "reply", "undeclared-fields", why, who, workflow, state.hop, branch)
    return None
