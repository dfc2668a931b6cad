"""The states of a workflow and the events that lead from one to the next: the one table, which docs/workflow.md shows too.

An event that the table does not allow in the present phase is never applied: it is late or a duplicate (counted and ignored) or it
contradicts what is known (dead-lettered).
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where a workflow stands."""

    NONE = "none"
    ROUTING = "routing"
    WAITING = "waiting"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What may happen to it."""

    STARTED = "started"
    DISPATCHED = "decided: dispatch"
    REPLIED = "replied"
    AGENT_FAILED = "agent failed"
    COMPLETE = "decided: complete"
    PARK = "decided: park"
    UNROUTABLE = "decided: unroutable"
    RESUMED = "resumed"
    SET_BACK = "resumed from a hop"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCEL = "cancelled"
    DEADLINE = "deadline passed"


OPEN = (Phase.ROUTING, Phase.WAITING, Phase.PARKED)
ENDED = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})
BUSY = (Phase.ROUTING, Phase.WAITING)
RESTING = (Phase.NONE, Phase.PARKED, Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)  # none: forgotten since

TRANSITIONS: dict[tuple[Phase, Event], Phase] = {
    (Phase.NONE, Event.STARTED): Phase.ROUTING,
    (Phase.ROUTING, Event.DISPATCHED): Phase.WAITING,
    **{(phase, Event.REPLIED): Phase.ROUTING for phase in BUSY},
    **{(phase, Event.AGENT_FAILED): Phase.ROUTING for phase in BUSY},
    **{(phase, Event.COMPLETE): Phase.COMPLETED for phase in BUSY},
    **{(phase, Event.PARK): Phase.PARKED for phase in BUSY},
    **{(phase, Event.UNROUTABLE): Phase.FAILED for phase in BUSY},
    (Phase.PARKED, Event.RESUMED): Phase.ROUTING,
    **{(phase, Event.SET_BACK): Phase.ROUTING for phase in RESTING},
    (Phase.PARKED, Event.APPROVED): Phase.ROUTING,
    (Phase.PARKED, Event.REJECTED): Phase.FAILED,
    **{(phase, Event.CANCEL): Phase.CANCELLED for phase in OPEN},
    **{(phase, Event.DEADLINE): Phase.FAILED for phase in OPEN},
}


def after(phase: Phase, event: Event) -> Phase | None:
    """The phase that `event` leads to from `phase`; None where the table does not allow it."""
    return TRANSITIONS.get((phase, event))
