"""What routing is given and what it answers with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from loopwright.masking import MASK
from loopwright.registry.catalogue import Agent
from loopwright.routing.access import Denied, Policy, allowed_actions, denied
from loopwright.sealing import any_sealed, is_sealed
from loopwright.settings import Limits, Routing
from loopwright.workflow.document import fingerprint
from loopwright.workflow.state import WorkflowState

ELSEWHERE = "elsewhere"


class Candidate(NamedTuple):
    """An agent whose input contract accepts the document, and the part of the document that it may see. `known_hash` is that part's
    fingerprint, where it is known already."""

    agent: Agent
    input: dict[str, Any]
    known_hash: str = ""

    @property
    def input_hash(self) -> str:
        """The fingerprint of the input."""
        return self.known_hash or fingerprint(self.input)


class Masked(NamedTuple):
    """What the contracts leave: the candidates, and why each other agent is none."""

    candidates: tuple[Candidate, ...]
    rejected: dict[str, str]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt: int, completion: int) -> float:
        """The price of so many tokens."""
        return prompt * self.prompt / 1e6 + completion * self.completion / 1e6


@dataclass(frozen=True)
class RouteRequest:
    """One question: who is next for `state`, among `agents`? `answers` are the outcomes of the questions asked so far, oldest first."""

    state: WorkflowState
    agents: Mapping[str, Agent]
    routing: Routing = field(default_factory=Routing)
    limits: Limits = field(default_factory=Limits)
    model_attempts: int = 5
    answers: tuple[dict[str, Any], ...] = ()
    prices: Prices = Prices()
    policy: Policy = field(default_factory=dict)

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """The fields that one of the agents marks: nobody but an agent that is called ever sees their values."""
        return frozenset[str]().union(*(agent.sensitive for agent in self.agents.values()))

    @property
    def shown(self) -> dict[str, Any]:
        """The fields of the document that a candidate may see, with `***` for those that are sensitive: all that a model is told."""
        fields: dict[str, Any] = {}
        sensitive = self.sensitive
        for candidate in self.masked.candidates:
            fields.update(candidate.input)
        return {name: MASK if name in sensitive or is_sealed(value) else value for name, value in fields.items()}

    @cached_property
    def clear(self) -> bool:
        """Whether no field of the document is sealed, and so none of what an agent may see of it."""
        return not any_sealed(self.state.document)

    @cached_property
    def denied(self) -> dict[str, Denied]:
        """The agents that the workflow may not use, whatever the contracts, a payload or a model say."""
        found: dict[str, Denied] = {}
        allowed = allowed_actions(self.state, self.policy)
        for name, agent in self.agents.items():
            why = denied(agent.definition, self.state, allowed) if allowed is not None or agent.tenants else None
            if why is not None:
                found[name] = why
        return found

    @cached_property
    def refused(self) -> dict[str, Denied]:
        """Those of them that would have been candidates."""
        visited = self.state.path
        return {name: why for name, why in self.denied.items() if isinstance(self._fit(name, self.agents[name], visited), Candidate)}

    @cached_property
    def masked(self) -> Masked:
        """The contract mask, made once per request."""
        candidates: list[Candidate] = []
        rejected: dict[str, str] = {}
        kept_out, visited = self.denied, self.state.path
        for name, agent in self.agents.items():
            found = kept_out[name].why if name in kept_out else self._fit(name, agent, visited)
            if isinstance(found, Candidate):
                candidates.append(found)
            else:
                rejected[name] = found
        return Masked(tuple(candidates), rejected)

    def _fit(self, name: str, agent: Agent, visited: list[str]) -> Candidate | str:
        """The agent as a candidate, or why its contracts make it none: the cheap reasons first."""
        state, contract = self.state, agent.input
        document = state.document
        if name in state.failed:
            return f"it failed: {state.failed[name]}"
        not_yet = [other for other in agent.after if other not in visited] if agent.after else ()
        if not_yet:
            return f"runs after {', '.join(not_yet)}"
        if not contract.required <= document.keys():
            return f"needs {', '.join(sorted(contract.required - document.keys()))}"
        promised = agent.output.required
        if promised and promised <= document.keys():
            return f"{', '.join(sorted(promised))} is there already"
        again = name in visited
        if again and not promised:
            return "it has run already"
        seen = contract.project(document)
        input_hash = fingerprint(seen) if again else ""
        if again and any(visit.agent == name and visit.input_hash == input_hash for visit in state.visits):
            return "it has run with this very input"
        if not contract.accepts(seen, self.clear):
            return "; ".join(contract.errors(seen, self.sensitive)[:3])
        return Candidate(agent, seen, input_hash)


class Target(NamedTuple):
    """An agent to be called: its exact version and the input it is given."""

    agent: str
    version: int
    input: dict[str, Any]
    input_hash: str
    branch: str = "0"


class Decision(NamedTuple):
    """Who is next, decided by `strategy`. `outcome` is dispatch, complete, park or unroutable; only dispatch has targets."""

    outcome: str
    strategy: str
    reason: str
    targets: tuple[Target, ...] = ()
    confidence: float | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A question for the outside. `payload` is for the performer (its `kind` is model or embedding), or says that the choice is left to
    others (`elsewhere`); `delay_ms` to wait before."""

    payload: dict[str, Any]
    delay_ms: int = 0


RoutingStep = Callable[[RouteRequest], Decision | Ask | None]


def towards(candidate: Candidate, strategy: str, reason: str, confidence: float | None = None, model: str | None = None) -> Decision:
    """The decision to call this candidate."""
    agent = candidate.agent
    target = Target(agent.name, agent.version, candidate.input, candidate.input_hash)
    return Decision("dispatch", strategy, reason, (target,), confidence, model)
