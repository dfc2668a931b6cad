"""`loopwright resume` and `loopwright cancel`: a person's word on a workflow, written into the log like everything else."""

import getpass
import uuid
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from loopwright import schemas
from loopwright.cli import logs, show
from loopwright.cli.trace import find
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.errors import Conflict
from loopwright.history.rerun import rerun
from loopwright.history.timeline import Timeline
from loopwright.history.view import Status, WorkflowView
from loopwright.message import Message, emitted
from loopwright.settings import Settings
from loopwright.step import Emit

SOURCE = "/loopwright/cli"


@dataclass(frozen=True)
class Resumption:
    """How a workflow is to go on: from which of its hops (None: where it is parked), why, and whether calls get new Idempotency-Keys."""

    from_hop: int | None = None
    new_key: bool = False
    reason: str = ""


def resume(settings: Settings, wanted: str, how: Resumption, as_json: bool) -> None:
    """Set a parked workflow going again, or any that rests from one of its hops on. Raises NotFound, Conflict."""
    timeline = logs.load(settings)
    name = find(timeline, wanted)
    emit, data = resumed(settings, timeline, name, how)
    _send(settings, emit)
    _print(name, schemas.RESUMED, data, as_json)


def resumed(settings: Settings, timeline: Timeline, workflow: str, how: Resumption) -> tuple[Emit, dict[str, Any]]:
    """The record that says that a workflow is to go on, and what of it is shown. Raises NotFound, Conflict."""
    view = timeline.view(workflow)
    if how.from_hop is not None:
        again = rerun(timeline.lives(workflow), how.from_hop, how.new_key)
        emit = _record(settings, workflow, schemas.RESUMED, again.data | _by(how.reason), again.hop, again.traceparent)
        if len(emit.value or b"") > settings.limits.message_bytes:
            why = f"its record would have {len(emit.value or b'')} bytes; the limit is {settings.limits.message_bytes}"
            raise Conflict(
                f"workflow {workflow!r} cannot be resumed from hop {how.from_hop}", why, "raise LOOPWRIGHT_LIMITS__MESSAGE_BYTES"
            )
        return emit, _by(how.reason) | {"from_hop": how.from_hop, "hop": again.hop, "new_key": how.new_key}
    if view.status is not Status.PARKED:
        hops = sorted({hop for life in timeline.lives(workflow) for hop in life.before})
        again_from = f": `loopwright resume {workflow} --from {hops[-1]}`" if view.ended and hops else ""
        remedy = "only a parked workflow can be resumed; one that has ended runs again from one of its hops" + again_from
        raise Conflict(f"workflow {workflow!r} is not parked", f"it is {view.activity}", remedy)
    data = _by(how.reason) | ({"new_key": True} if how.new_key else {})
    return _record(settings, workflow, schemas.RESUMED, data, view.hop), data


def cancel(settings: Settings, wanted: str, reason: str, as_json: bool) -> None:
    """End a workflow: no further agent is called; a call that is under way is not taken back. Raises NotFound, Conflict."""
    view = _view(settings, wanted)
    if view.ended:
        raise Conflict(
            f"workflow {view.workflow!r} has ended", f"it is {view.activity}", "only an open or a parked workflow can be cancelled"
        )
    data = _by(reason)
    _send(settings, _record(settings, view.workflow, schemas.CANCELLED, data, view.hop))
    _print(view.workflow, schemas.CANCELLED, data, as_json)


def _view(settings: Settings, wanted: str) -> WorkflowView:
    timeline = logs.load(settings)
    return timeline.view(find(timeline, wanted))


def _by(reason: str) -> dict[str, Any]:
    return {"by": getpass.getuser()} | ({"reason": reason} if reason else {})


def _record(settings: Settings, workflow: str, kind: str, data: dict[str, Any], hop: int, traceparent: str = "") -> Emit:
    message = Message(uuid.uuid4().hex, kind, SOURCE, workflow, data, hop, time_ms=now_ms(), traceparent=traceparent)
    return emitted(settings.topics.messages, message)


def _send(settings: Settings, emit: Emit) -> None:
    with kafka.Producer(settings) as producer:
        producer.send_many([emit])


def _print(workflow: str, kind: str, data: dict[str, Any], as_json: bool) -> None:
    said = kind.rpartition(".")[2]
    if as_json:
        show.print_json({"workflow": workflow, "said": said, **data})
        return
    where = f" from hop {data['from_hop']}; its next decision is hop {data['hop']}" if "from_hop" in data else ""
    follow = f"loopwright trace {workflow} --follow"
    show.console().print(Text.assemble((f"{said} ", "green"), show.clean(workflow), where, (f"    next: {follow}", "dim")), soft_wrap=True)
