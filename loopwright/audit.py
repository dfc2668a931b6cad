"""Audit records: who was refused what, where and why. Written beside the refusal, never instead of it, and never with a secret in it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from loopwright import schemas
from loopwright.json_strict import JsonRefused, read_object
from loopwright.masking import masked
from loopwright.message import Message, emitted, from_json, record_id
from loopwright.step import Emit, Record

NOWHERE = "-"  # the workflow of a refusal that belongs to none
LONGEST = 500
NESTING = 16
Where = Literal["gateway", "route", "dispatch"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`what` was asked for, `cause` is a word to count by, `why` says more.

    `who` asked: `agent`, `tenant`, `token` (its id), `source` (a webhook's name), `address`.
    """

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


@dataclass(frozen=True, slots=True)
class Entry:
    """An audit record as it is shown: see `Refusal`. `time_ms` is when Kafka took it, `unwritten` how many before it were left out."""

    id: str
    time_ms: int
    where: str
    what: str
    cause: str
    why: str
    who: dict[str, str]
    workflow: str
    hop: int
    branch: str
    unwritten: int


def entry_of(record: Record) -> Entry | None:
    """The entry in a record of the audit topic; None for one that is none. Never raises."""
    try:
        message = from_json(read_object(record.value or b"", NESTING), record)
    except JsonRefused:
        return None
    if message.type != schemas.ACCESS_REFUSED:
        return None
    data = message.data
    where, what, cause, why = (str(data.get(name, "")) for name in ("where", "what", "cause", "why"))
    who, unwritten = data.get("who"), data.get("unwritten")
    return Entry(
        message.id,
        message.logged_ms,
        where,
        what,
        cause,
        why,
        {kind: str(value) for kind, value in who.items()} if isinstance(who, dict) else {},
        "" if message.workflow == NOWHERE else message.workflow,
        message.hop,
        message.branch,
        unwritten if isinstance(unwritten, int) and not isinstance(unwritten, bool) else 0,
    )
