"""The end of a workflow as a record of workflow-results."""

from dataclasses import asdict

from loopwright import schemas
from loopwright.message import Message, record_id
from loopwright.workflow.record import record_of
from loopwright.workflow.state import WorkflowState
from loopwright.workflow.transitions import Phase

RESULT_TYPES = {
    Phase.COMPLETED: schemas.WORKFLOW_COMPLETED,
    Phase.FAILED: schemas.WORKFLOW_FAILED,
    Phase.CANCELLED: schemas.CANCELLED,
}


def result_of(state: WorkflowState, now_ms: int) -> Message:
    """The result of an ended workflow: how it ended and why, its document, path, duration and spend."""
    kind = RESULT_TYPES[state.phase]
    data = {
        "document": state.document,
        "hops": len(state.visits),
        "path": state.path,
        "duration_ms": max(0, state.ended_ms - state.started_ms),
        "spend": asdict(state.spend),
        "reason": state.reason,
        "team": state.team,
    }
    return record_of(state, kind, record_id(state.workflow, state.resumed_hop, "", f"result/{kind}"), data, now_ms)
