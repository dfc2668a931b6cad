"""A workflow set back to an earlier hop: what the record that does it says, and the state it gives. Pure.

The record carries the state that the log gave before the hop was decided, so it works after the operators have forgotten the workflow, and
their state stays a function of agent-messages alone. Hops go on rising: what was decided, called and answered before keeps its number.
"""

from dataclasses import asdict
from typing import Any

from loopwright.message import Message
from loopwright.settings import Limits
from loopwright.workflow.state import Spend, Visit, WorkflowState
from loopwright.workflow.transitions import Phase


def restored(first: WorkflowState, before: WorkflowState, last: WorkflowState, hop: int, keys: dict[str, str]) -> dict[str, Any]:
    """What the record says under `restored`.

    `first` is the state at the start of the run, `before` that before the hop which is to run again, `last` the present one; `hop` is the
    number of the next decision, `keys` are the Idempotency-Keys to use again. Time and hops are allowed anew, what was spent stays spent.
    """
    return {
        "hop": hop,
        "team": before.team,
        "tenant": before.tenant,
        **({} if before.actions is None else {"actions": list(before.actions)}),
        "document": before.document,
        "visits": [[visit.agent, visit.version, visit.input_hash] for visit in before.visits],
        "pins": before.pins,
        "budget": before.budget,
        "spend": asdict(last.spend),
        "hop_limit": max(1, first.hop_limit - first.hop + 1),
        "deadline_ms": max(0, first.deadline_ms - first.started_ms),
        "start_hash": before.start_hash,
        "keys": keys,
    }


def state_from(message: Message, limits: Limits) -> WorkflowState:
    """The state that a record with `restored` gives: as before the hop that is run again, its deadline counted from when it was logged."""
    data = message.data["restored"]
    spend, hop = data.get("spend", {}), data["hop"]
    return WorkflowState(
        workflow=message.workflow,
        team=data["team"],
        phase=Phase.ROUTING,
        hop=hop,
        document=data["document"],
        visits=tuple(Visit(*visit) for visit in data.get("visits", ())),
        pins=data.get("pins", {}),
        spend=Spend(spend.get("calls", 0), spend.get("tokens", 0), float(spend.get("cost", 0))),
        budget=data.get("budget", {}),
        hop_limit=min(data.get("hop_limit", limits.hops), limits.hops) + hop - 1,
        started_ms=message.logged_ms,
        deadline_ms=message.logged_ms + min(data.get("deadline_ms", limits.deadline_ms), limits.deadline_ms),
        start_hash=data.get("start_hash", ""),
        cause=message.id,
        traceparent=message.traceparent,
        tenant=data.get("tenant", ""),
        actions=None if data.get("actions") is None else tuple(data["actions"]),
        keys=data.get("keys", {}),
        resumed_hop=hop,
    )
