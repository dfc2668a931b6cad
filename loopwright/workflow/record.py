"""A record in which the router says something of a workflow, at the hop where that stands."""

from typing import Any

from loopwright.message import Message, trace_of
from loopwright.workflow.state import WorkflowState

SOURCE = "/loopwright/route"


def record_of(state: WorkflowState, kind: str, id_: str, data: dict[str, Any], now_ms: int) -> Message:
    """The record `id_` of the type `kind`. It is caused by what the state was last changed by, and belongs to the workflow's trace."""
    return Message(
        id=id_,
        type=kind,
        source=SOURCE,
        workflow=state.workflow,
        hop=state.hop,
        time_ms=now_ms,
        causation=state.cause,
        traceparent=trace_of(state.workflow, state.hop, "", state.traceparent),
        data=data,
    )
