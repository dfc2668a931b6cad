"""Audit records: who was refused what, where and why. Written beside the refusal, never instead of it, and never with a secret in it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from loopwright import schemas
from loopwright.masking import masked
from loopwright.message import Message, emitted, record_id
from loopwright.step import Emit

NOWHERE = "-"  # the workflow of a refusal that belongs to none
LONGEST = 500
Where = Literal["gateway", "route", "dispatch"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`what` was asked for, `cause` is a word to count by, `why` says more; `who` asked: `agent`, `tenant`, `token` (its id), `address`."""

    where: Where
    what: str
    cause: str
    why: str
    who: dict[str, str] = field(default_factory=dict)
    workflow: str = ""
    hop: int = 0
    branch: str = ""


def refused(refusal: Refusal, topic: str, now_ms: int, name: str = "", unwritten: int = 0, causation: str = "") -> Emit:
    """The record of `refusal`, for `topic`. `name` tells it from others like it; `unwritten` counts those before it that were too many."""
    workflow = refusal.workflow or NOWHERE
    data: dict[str, Any] = {
        "where": refusal.where,
        "what": refusal.what[:LONGEST],
        "cause": refusal.cause,
        "why": masked(refusal.why)[:LONGEST],
        "who": {kind: value[:LONGEST] for kind, value in refusal.who.items() if value},
    }
    parts = (schemas.ACCESS_REFUSED, refusal.where, refusal.what, refusal.cause, name)
    message = Message(
        id=record_id(workflow, refusal.hop, refusal.branch, "/".join(parts)),
        type=schemas.ACCESS_REFUSED,
        source=f"/loopwright/{refusal.where}",
        workflow=workflow,
        hop=refusal.hop,
        branch=refusal.branch,
        time_ms=now_ms,
        causation=causation,
        data=data | ({"unwritten": unwritten} if unwritten else {}),
    )
    return emitted(topic, message)
