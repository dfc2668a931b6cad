"""The steps that need nobody: end, declared, contract mask, fallback."""

from loopwright.routing.answer import read_answer
from loopwright.routing.request import Decision, RouteRequest, towards
from loopwright.workflow.document import size_of


def end(request: RouteRequest) -> Decision | None:
    """The end: a terminal reply, the hop limit, the budget, the size of the document. It depends on the log alone."""
    state, limits = request.state, request.limits
    if state.ending:
        return Decision("complete", "end", state.ending)
    if state.hop > state.hop_limit:
        return Decision("park", "end", f"hop limit: {state.hop - 1} decisions made, {state.hop_limit} allowed")
    for name in ("calls", "tokens", "cost") if state.budget else ():
        used = getattr(state.spend, name)
        if name in state.budget and used >= state.budget[name]:
            return Decision("park", "end", f"budget: {used:g} {name} spent of {state.budget[name]:g}")
    size = size_of(state.document)
    if size > limits.document_bytes:
        return Decision("park", "end", f"the document has {size} bytes; the limit is {limits.document_bytes}")
    return None


def declared(request: RouteRequest) -> Decision | None:
    """The one agent that names the last one in its `after`, where its contract accepts the document."""
    path = request.state.path
    if not path:
        return None
    successors = [agent for name, agent in request.agents.items() if path[-1] in agent.after and name not in request.denied]
    if len(successors) != 1:
        return None
    chosen = next((c for c in request.masked.candidates if c.agent is successors[0]), None)
    return towards(chosen, "declared", f"it is declared to run after {path[-1]}", 1.0) if chosen else None


def contracts(request: RouteRequest) -> Decision | None:
    """Where the contracts leave one candidate it is taken without asking anybody; where they leave none the workflow is done, or stuck."""
    masked, state = request.masked, request.state
    if len(masked.candidates) == 1 and not request.routing.ask_when_only_one:
        return towards(masked.candidates[0], "only-candidate", "its input contract alone accepts the document", 1.0)
    if masked.candidates:
        return None
    missed = {name: why for name, why in state.failed.items() if not _made_up_for(name, request)}
    if missed:
        failures = "; ".join(f"{name} failed ({why})" for name, why in missed.items())
        return Decision("park", "no-candidate", f"{failures}; no other agent can go on")
    kept_out = [f"{name}: {found.why}" for name, found in request.refused.items() if found.cause == "action-not-allowed"]
    if kept_out and state.visits:
        return Decision("park", "no-candidate", f"nobody else can go on, and {'; '.join(kept_out)}"[:1000])
    if state.visits:
        return Decision("complete", "no-candidate", "no agent is left to run")
    closest_first = sorted(masked.rejected.items(), key=lambda item: (len(item[1]), item[0]))
    refused = "; ".join(f"{name}: {why}" for name, why in closest_first)
    return Decision("unroutable", "no-candidate", f"no agent takes the document: {refused}"[:1000])


def _made_up_for(name: str, request: RouteRequest) -> bool:
    """Whether what an agent that failed had promised is in the document: another one took over."""
    promised = request.agents[name].output.required if name in request.agents else frozenset()
    return bool(promised) and promised <= request.state.document.keys()


def fallback(request: RouteRequest) -> Decision:
    """Nobody could decide: a person has to."""
    names = ", ".join(candidate.agent.name for candidate in request.masked.candidates)
    return Decision("park", "fallback", f"undecided between {names}: {_why_undecided(request)}"[:1000])


def _why_undecided(request: RouteRequest) -> str:
    if not request.answers:
        return "no step of the chain decided"
    last = request.answers[-1]
    if not last.get("ok"):
        return f"the {last.get('kind')} did not answer: {last['error'].get('class')}: {last['error'].get('message')}"
    if last.get("kind") == "model":
        return f"the model's answer cannot be used: {read_answer(str(last.get('content', '')), request.masked.candidates)[1]}"
    return "the descriptions are equally close to the document"
