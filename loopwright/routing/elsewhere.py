"""The step that leaves a choice to somebody else: the question becomes a record, and whoever reads it writes the decision.

The choice alone is left to them. Who is a candidate, what each candidate is given, and where there is nothing to choose, is decided here as
ever; a decision that takes one of the question's targets as it stands calls nobody else and gives nobody more than its contract allows.
Where nobody decides in time the workflow is parked. Whichever decision for the hop is logged first is the one that counts.
"""

import json
from collections.abc import Iterable

from loopwright import schemas
from loopwright.masking import masked
from loopwright.message import Message, record_id
from loopwright.registry.catalogue import Agent
from loopwright.routing.budget import admitted
from loopwright.routing.model import SYSTEM, render
from loopwright.routing.record import targeted
from loopwright.routing.request import ELSEWHERE, Ask, Candidate, Decision, RouteRequest, towards
from loopwright.workflow.document import size_of
from loopwright.workflow.record import record_of

MOST_BYTES = 8_000_000  # of what the candidates together are given: half of what a topic takes
# the outcome of a question that nobody has decided in time
SILENCE = {"kind": ELSEWHERE, "ok": False, "error": {"class": "NoDecision", "message": "nobody decided in time", "retryable": False}}


def elsewhere(request: RouteRequest) -> Decision | Ask | None:
    """Leave the choice to others where the team's is left to them. Park when they did not decide, or cannot be asked."""
    if request.state.team not in request.routing.elsewhere:
        return None
    names = ", ".join(candidate.agent.name for candidate in request.masked.candidates)
    if any(answer.get("kind") == ELSEWHERE for answer in request.answers):
        return _parked(f"nobody has decided between {names} within {request.routing.elsewhere_ms / 1000:g} s")
    size = sum(size_of(candidate.input) for candidate in request.masked.candidates)
    if size > MOST_BYTES:
        return _parked(f"what {names} would be given has {size} bytes together; a question may have {MOST_BYTES}")
    return Ask({"kind": ELSEWHERE})


def _parked(reason: str) -> Decision:
    return Decision("park", ELSEWHERE, reason[:1000])


def posed(request: RouteRequest, due_ms: int, now_ms: int) -> Message:
    """The question as a record. A decision comes too late after `due_ms`; `decision` is the id that it is to have.

    `targets` are what a decision may take over, in the order of `candidates`. `document` is all that a model may be told.
    """
    state = request.state
    offered = [candidate for candidate in request.masked.candidates if _fits(request, candidate)]
    data = {
        "team": state.team,
        **({"tenant": state.tenant} if state.tenant else {}),
        "candidates": [candidate.agent.name for candidate in offered],
        "targets": [targeted(towards(candidate, ELSEWHERE, "").targets[0], state) for candidate in offered],
        "rejected": [{"agent": name, "why": masked(why)} for name, why in request.masked.rejected.items()],
        "ran": state.path,
        "document": render(request.shown, request.routing.prompt_bytes),
        "pins": {name: agent.version for name, agent in request.agents.items()},
        "deadline_ms": state.deadline_ms,
        "due_ms": due_ms,
        "decision": record_id(state.workflow, state.hop, "", schemas.DECIDED),
    }
    return record_of(state, schemas.ASKED, record_id(state.workflow, state.hop, "", schemas.ASKED), data, now_ms)


def _fits(request: RouteRequest, candidate: Candidate) -> bool:
    """Whether the budget leaves room for a call of this candidate."""
    step = admitted(request, towards(candidate, ELSEWHERE, ""))
    return isinstance(step, Decision) and step.outcome == "dispatch"


def briefing(agents: Iterable[Agent]) -> str:
    """What a model is told once about a team: the task, and each agent's name, description and contracts. The same text for the same team.

    It is one line of ASCII, for it stands in a literal of SQL, which Flink's client reads line by line.
    """
    told = [
        {
            "name": agent.name,
            "description": " ".join(agent.definition.description.split()),
            "needs": agent.definition.input,
            "promises": agent.definition.output,
        }
        for agent in sorted(agents, key=lambda agent: agent.name)
    ]
    return f"{SYSTEM} Only those that are named as candidates can run. The agents: {json.dumps(told, sort_keys=True)}"
