"""What the dispatcher refuses although it came in the right form: replies of somebody else. Each is an audit record."""

from loopwright.audit import Refusal
from loopwright.dispatch.state import DispatchState
from loopwright.message import Message


def foreign_sender(workflow: str, state: DispatchState, branch: str, message: Message) -> Refusal | None:
    """The refusal of a late reply that another agent signed than the one that was called; None where it is that agent's, or unsigned.

    Whether replies must be signed is the gateway's to say: what it lets into the topic without a sender was not asked for one.
    """
    sender, called = str(message.data.get("sender", "")), f"{state.team}/{state.branches[branch].agent}"
    if sender in ("", called):
        return None
    why = f"{sender} replied to the call of {called}"
    return Refusal("dispatch", "callback", "foreign-agent", why, {"agent": sender}, workflow, state.hop, branch)
