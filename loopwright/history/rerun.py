"""What `loopwright resume --from` writes: a workflow as the log gave it before one of its hops was decided. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.errors import Conflict, NotFound
from loopwright.history.replay import Life
from loopwright.workflow.calls import call_name, key_of
from loopwright.workflow.resumption import restored
from loopwright.workflow.state import WorkflowState
from loopwright.workflow.transitions import BUSY


@dataclass(frozen=True, slots=True)
class Rerun:
    """What the record says in `data` of a workflow that is set back, the hop that it is about, and the trace that goes on."""

    data: dict[str, Any]
    hop: int
    traceparent: str


def rerun(lives: Sequence[Life], hop: int, new_keys: bool) -> Rerun:
    """The workflow whose runs these are (oldest first), set back to before `hop` was decided.

    With `new_keys` no call keeps the Idempotency-Key of an earlier one. Raises NotFound (there is no such hop), Conflict (it runs, or the
    log no longer holds its start).
    """
    runs = _since_the_start(lives)
    first, last = runs[0].first, runs[-1].state
    name = runs[-1].workflow
    if first is None or last is None:
        raise Conflict(
            f"workflow {name!r} cannot be resumed from a hop", "its start is not in the log", "start it again with `loopwright send`"
        )
    if last.phase in BUSY:
        why, remedy = f"it is {last.phase.value} at hop {last.hop}", f"wait until it rests, or end it: `loopwright cancel {name}`"
        raise Conflict(f"workflow {name!r} is still running", why, remedy)
    before = {number: state for life in runs for number, state in life.before.items()}
    if hop not in before:
        decided = ", ".join(map(str, sorted(before)))
        raise NotFound(
            f"workflow {name!r} has no hop {hop}", f"its hops are {decided}", f"`loopwright trace {name}` shows what each one did"
        )
    reached = [last.hop, *(decision.hop for life in lives for _, decision in life.decisions)]
    keys = {} if new_keys else _keys(runs, last)
    data = {"from_hop": hop, "new_key": new_keys, "restored": restored(first, before[hop], last, max(reached) + 1, keys)}
    return Rerun(data, max(reached) + 1, last.traceparent)


def went_on(lives: Sequence[Life], hop: int) -> str:
    """What was decided after a call of `hop` was given up: who took over, or why nobody did; empty where nothing was decided yet."""
    taken = {number: told for life in lives for number, told in life.taken_up().items() if number > hop}
    if not taken:
        return ""
    _, decided = taken[min(taken)]
    names = ", ".join(target["agent"] for target in decided.data["targets"])
    return f"hop {decided.hop}: {names or decided.data['outcome']} ({decided.data['reason']})"


def _since_the_start(lives: Sequence[Life]) -> Sequence[Life]:
    """The last run, with those that it goes on from."""
    begin = max((number for number, life in enumerate(lives) if not life.first_hop), default=0)
    return lives[begin:]


def _keys(runs: Sequence[Life], last: WorkflowState) -> dict[str, str]:
    """The Idempotency-Key that each call went out with last, whether it was answered or not."""
    keys = dict(last.keys)
    for life in runs:
        for hop, (_, decision) in life.taken_up().items():
            for target in decision.data["targets"]:
                if target.get("input_hash"):
                    keys[call_name(target["agent"], target["input_hash"])] = key_of(life.workflow, hop, target)
    return keys
