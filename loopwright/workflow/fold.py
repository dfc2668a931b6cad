"""The fold: one record of agent-messages applied to the state of its workflow. Pure; the router and the command line both run it.

It never looks at the catalogue of agents: replies were validated before they were written, and routing comes after. So an old log folds
the same whatever the definitions are today.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loopwright import schemas
from loopwright.message import Message
from loopwright.settings import Limits
from loopwright.workflow.calls import with_call
from loopwright.workflow.document import fingerprint, merge_patch
from loopwright.workflow.resumption import state_from
from loopwright.workflow.state import Visit, WorkflowState
from loopwright.workflow.transitions import ENDED, OPEN, Event, Phase, after

EARLY = "deadline_early"
CLOCKS_DIFFER_MS = 5_000  # what the clocks of two machines that are well may differ by


@dataclass(frozen=True, slots=True)
class Applied:
    """The record was applied: this is the new state."""

    state: WorkflowState


@dataclass(frozen=True, slots=True)
class Ignored:
    """The record changes nothing: it is late, a duplicate, or out of order. `count` is the counter's name."""

    count: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The record contradicts what is known: it goes to the dead letters."""

    cause: str
    why: str
    remedy: str


Folded = Applied | Ignored | Contradiction


def fold(state: WorkflowState | None, message: Message, limits: Limits, default_team: str) -> Folded:
    """What `message` makes of `state` (None: the workflow is not known yet)."""
    if message.type == schemas.STARTED:
        return _started(state, message, limits, default_team)
    if message.type == schemas.RESUMED and "restored" in message.data:
        return _set_back(state, message, limits)
    handler = HANDLERS.get(message.type)
    if handler is None:
        return Contradiction("unexpected-type", f"{message.type} does not belong on this topic", "write it to the topic it belongs to")
    if state is None:
        why = f"workflow {message.workflow!r} has no start in the log, or ended longer ago than finished workflows are remembered"
        return Contradiction("unknown-workflow", why, "start it first, or start a new workflow with this content")
    return handler(state, message)


def _started(state: WorkflowState | None, message: Message, limits: Limits, default_team: str) -> Folded:
    data = message.data
    start_hash = fingerprint(data)
    if state is not None:
        if state.start_hash == start_hash:
            return Ignored("duplicate_start")
        why = f"workflow {message.workflow!r} was started before with other content"
        return Contradiction("conflicting-start", why, "use another workflow id")
    allowed_ms = min(data.get("deadline_ms", limits.deadline_ms), limits.deadline_ms)
    return Applied(
        WorkflowState(
            workflow=message.workflow,
            team=data.get("team", default_team),
            phase=Phase.ROUTING,
            document=data["document"],
            budget=data.get("budget", {}),
            hop_limit=min(data.get("hop_limit", limits.hops), limits.hops),
            started_ms=message.logged_ms,
            deadline_ms=message.logged_ms + allowed_ms,
            start_hash=start_hash,
            cause=message.id,
            traceparent=message.traceparent,
            tenant=data.get("tenant", ""),
            actions=None if data.get("actions") is None else tuple(data["actions"]),
        )
    )


def _moved(state: WorkflowState, event: Event, message: Message, reason: str = "") -> WorkflowState | None:
    phase = after(state.phase, event)
    if phase is None:
        return None
    ended_ms = message.logged_ms if phase in ENDED else 0
    return state.altered(phase=phase, cause=message.id, reason=reason, ended_ms=ended_ms)


def _late(state: WorkflowState, message: Message) -> str | None:
    """The counter for an answer to a decision that is not the present one; None where it answers the present one."""
    if state.phase in ENDED:
        return "after_end"
    if message.hop < state.hop:
        return "duplicate_reply"
    return "out_of_order" if message.hop > state.hop else None


def _spent(state: WorkflowState, message: Message) -> WorkflowState:
    decision, usage = message.data.get("decision", {}), message.data.get("usage", {})
    spend = state.spend.plus(
        int(decision.get("calls", 0)) + int(usage.get("calls", 0)),
        int(decision.get("tokens", 0)) + int(usage.get("prompt_tokens", 0)) + int(usage.get("completion_tokens", 0)),
        float(decision.get("cost", 0)) + float(usage.get("cost", 0)),
    )
    return state.altered(spend=spend, pins=state.pins or message.data.get("pins", {}))


def _replied(state: WorkflowState, message: Message) -> Folded:
    late = _late(state, message)
    moved = None if late else _moved(state, Event.REPLIED, message)
    if moved is None:
        return Ignored(late or "while_parked")
    data = message.data
    visit = Visit(data["agent"], data["version"], data.get("input_hash", ""))
    ending = f"{data['agent']} ended the workflow" if data["next"] == "complete" else ""
    merged = merge_patch(state.document, data["output"])
    keys = with_call(state.keys, state.workflow, state.hop, data)
    visits = (*state.visits, visit)
    return Applied(_spent(moved, message).altered(hop=state.hop + 1, document=merged, visits=visits, ending=ending, keys=keys))


def _agent_failed(state: WorkflowState, message: Message) -> Folded:
    late = _late(state, message)
    moved = None if late else _moved(state, Event.AGENT_FAILED, message)
    if moved is None:
        return Ignored(late or "while_parked")
    error = message.data["error"]
    failed = {**state.failed, message.data["agent"]: f"{error['class']}: {error['message']}"[:300]}
    keys = with_call(state.keys, state.workflow, state.hop, message.data)
    return Applied(_spent(moved, message).altered(hop=state.hop + 1, failed=failed, keys=keys))


SETTLED_EVENTS = {"complete": Event.COMPLETE, "park": Event.PARK, "unroutable": Event.UNROUTABLE}


def _settled(state: WorkflowState, message: Message) -> Folded:
    late = _late(state, message)
    moved = None if late else _moved(state, SETTLED_EVENTS[message.data["outcome"]], message, message.data["reason"])
    return Ignored(late or "while_parked") if moved is None else Applied(_spent(moved, message))


def _cancelled(state: WorkflowState, message: Message) -> Folded:
    moved = _moved(state, Event.CANCEL, message, message.data.get("reason", "cancelled"))
    return Applied(moved) if moved else Ignored("after_end")


def _resumed(state: WorkflowState, message: Message) -> Folded:
    moved = _moved(state, Event.RESUMED, message)
    if moved is None:
        return Ignored("not_parked")
    return Applied(_again(moved.altered(keys={}) if message.data.get("new_key") else moved))


def _set_back(state: WorkflowState | None, message: Message, limits: Limits) -> Folded:
    """What a record with `restored` makes of a workflow that rests or is forgotten. It says all that the new state holds."""
    back = state_from(message, limits)
    if state is None:
        return Applied(back)
    if state.start_hash != back.start_hash:
        why = f"workflow {message.workflow!r} was started with other content than the one that is to be resumed"
        return Contradiction("conflicting-resumption", why, "resume it again: what it is to go on from is read from the log anew")
    if after(state.phase, Event.SET_BACK) is None:
        return Ignored("not_at_rest")
    return Applied(back) if state.hop < back.hop else Ignored("gone_on")


def _again(state: WorkflowState) -> WorkflowState:
    """A parked workflow set going: a new decision is due, agents that failed may be tried again, and the hop limit starts anew."""
    return state.altered(hop=state.hop + 1, failed={}, ending="", hop_limit=state.hop_limit + state.hop)


def _human_decided(state: WorkflowState, message: Message) -> Folded:
    data = message.data
    if data["verdict"] == "reject":
        moved = _moved(state, Event.REJECTED, message, data.get("reason", "rejected by a person"))
        return Applied(moved) if moved else Ignored("not_parked")
    moved = _moved(state, Event.APPROVED, message)
    if moved is None:
        return Ignored("not_parked")
    return Applied(_again(moved.altered(document=merge_patch(state.document, data.get("edit", {})))))


def _deadline_passed(state: WorkflowState, message: Message) -> Folded:
    """Said by the job's clock, judged by Kafka's: a job whose clock is hours ahead ends nothing early, and says it again later."""
    if state.phase not in OPEN:
        return Ignored("after_end")
    if state.started_ms <= message.logged_ms < state.deadline_ms - CLOCKS_DIFFER_MS:
        return Ignored(EARLY)
    if message.data["deadline_ms"] <= state.started_ms <= message.logged_ms:  # not compared with ours: clocks differ, and are set
        return Ignored("earlier_run")
    moved = _moved(state, Event.DEADLINE, message, f"not done within {(state.deadline_ms - state.started_ms) // 1000} s")
    return Applied(moved) if moved else Ignored("after_end")


HANDLERS: dict[str, Callable[[WorkflowState, Message], Folded]] = {
    schemas.REPLIED: _replied,
    schemas.FAILED: _agent_failed,
    schemas.SETTLED: _settled,
    schemas.CANCELLED: _cancelled,
    schemas.RESUMED: _resumed,
    schemas.HUMAN_DECIDED: _human_decided,
    schemas.DEADLINE_PASSED: _deadline_passed,
}
