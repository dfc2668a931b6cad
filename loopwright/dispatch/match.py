"""Whose answer it is: an agent that sends our `ce-workflowid` and `ce-hop` back has to send back those of the call that it answers."""

from typing import Any
from urllib.parse import unquote

from loopwright.dispatch.outcome import Failure


def mismatch(outcome: dict[str, Any], workflow: str, hop: int) -> Failure | None:
    """The failure where a response names another workflow or hop than the call had; None where it names these, or none."""
    status = outcome.get("status")
    if not isinstance(status, int) or not 200 <= status < 300:
        return None
    headers = outcome.get("headers", {})
    named, at = headers.get("ce-workflowid"), headers.get("ce-hop")
    if named is not None and workflow not in (named, unquote(named)):
        return Failure("MismatchedReply", f"it answers for workflow {unquote(named)[:100]!r}", False, status)
    if at is not None and at.strip() != str(hop):
        return Failure("MismatchedReply", f"it answers for hop {at[:20]!r} of the workflow, not for hop {hop}", False, status)
    return None
