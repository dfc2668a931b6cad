"""Whose answer it is: an agent that sends our `ce-workflowid` and `ce-hop` back has to send back those of the call that it answers."""

from typing import Any
from urllib.parse import unquote

from loopwright.dispatch.outcome import Failure


def mismatch(outcome: dict[str, Any], workflow: str, hop: int, repeats: bool = False) -> Failure | None:
    """The failure where a response names another workflow or hop than the call had; None where it names these, or none.

    Where the call `repeats` that of an earlier hop, under its Idempotency-Key, the stored response may name the hop of then.
    """
    status = outcome.get("status")
    if not isinstance(status, int) or not 200 <= status < 300:
        return None
    headers = outcome.get("headers", {})
    named, at = headers.get("ce-workflowid"), headers.get("ce-hop")
    if named is not None and workflow not in (named, unquote(named)):
        return Failure("MismatchedReply", f"it answers for workflow {unquote(named)[:100]!r}", False, status)
    earlier = repeats and at is not None and len(at) < 20 and at.strip().isdecimal() and int(at) < hop
    if at is not None and at.strip() != str(hop) and not earlier:
        return Failure("MismatchedReply", f"it answers for hop {at[:20]!r} of the workflow, not for hop {hop}", False, status)
    return None
