"""`loopwright resume` and `loopwright cancel`: a person's word on a workflow, written into the log like everything else."""

import getpass
import time
import uuid

from rich.text import Text

from loopwright import schemas
from loopwright.cli import logs, show
from loopwright.cli.trace import find
from loopwright.edges import kafka
from loopwright.errors import Conflict
from loopwright.history.view import Status, WorkflowView
from loopwright.message import Message, encode, headers_of
from loopwright.settings import Settings

SOURCE = "/loopwright/cli"


def resume(settings: Settings, wanted: str, reason: str, as_json: bool) -> None:
    """Set a parked workflow going again: a new decision is made, and agents that failed may be called again. Raises NotFound, Conflict."""
    view = _view(settings, wanted)
    _print(view, schemas.RESUMED, write_resumed(settings, view, reason), as_json)


def write_resumed(settings: Settings, view: WorkflowView, reason: str) -> dict[str, str]:
    """Write that a parked workflow is to go on; what the record says. Raises Conflict where it is not parked."""
    if view.status is not Status.PARKED:
        raise Conflict(f"workflow {view.workflow!r} is not parked", f"it is {view.activity}", "only a parked workflow can be resumed")
    return _write(settings, view, schemas.RESUMED, reason)


def cancel(settings: Settings, wanted: str, reason: str, as_json: bool) -> None:
    """End a workflow: no further agent is called; a call that is under way is not taken back. Raises NotFound, Conflict."""
    view = _view(settings, wanted)
    if view.ended:
        raise Conflict(
            f"workflow {view.workflow!r} has ended", f"it is {view.activity}", "only an open or a parked workflow can be cancelled"
        )
    _print(view, schemas.CANCELLED, _write(settings, view, schemas.CANCELLED, reason), as_json)


def _view(settings: Settings, wanted: str) -> WorkflowView:
    timeline = logs.load(settings)
    return timeline.view(find(timeline, wanted))


def _write(settings: Settings, view: WorkflowView, kind: str, reason: str) -> dict[str, str]:
    now_ms, data = time.time_ns() // 1_000_000, {"by": getpass.getuser()} | ({"reason": reason} if reason else {})
    message = Message(uuid.uuid4().hex, kind, SOURCE, view.workflow, data, view.hop, time_ms=now_ms)
    with kafka.Producer(settings) as producer:
        producer.send(settings.topics.messages, view.workflow.encode(), encode(message), headers_of(message))
    return data


def _print(view: WorkflowView, kind: str, data: dict[str, str], as_json: bool) -> None:
    said = kind.rpartition(".")[2]
    if as_json:
        show.print_json({"workflow": view.workflow, "said": said, **data})
    else:
        follow = f"loopwright trace {view.workflow} --follow"
        show.console().print(Text.assemble((f"{said} ", "green"), show.clean(view.workflow), (f"    next: {follow}", "dim")))
