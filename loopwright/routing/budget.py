"""The budget: what a step may cost at most has to fit into what is left, before anything is spent on it. Else the workflow is parked.

What a question to the model takes is estimated, on the cautious side: half a token for each ASCII letter, one for each byte of any other.
What an agent takes is the `cost.per_call` of its definition; what it says beyond that is counted when it replies, and stops the next step.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from loopwright.routing.record import tokens_of
from loopwright.routing.request import Ask, Decision, RouteRequest

ROUNDING = 1 + 1e-9  # sums of prices are binary fractions
OVERHEAD_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Toll:
    """What a step takes at most."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0


def admitted(request: RouteRequest, step: Decision | Ask) -> Decision | Ask:
    """The step, if it fits into the budget; otherwise the decision to park, with the sums."""
    budget = request.state.budget
    if not budget:
        return step
    used, (toll, what) = used_by(request), _toll(request, step)
    for name in ("calls", "tokens", "cost"):
        more, left = getattr(toll, name), float(budget.get(name, float("inf")))
        if more > 0 and getattr(used, name) + more > left * ROUNDING:
            spent = f"{getattr(used, name):g} {name} spent of {left:g}"
            return Decision("park", "budget", f"budget: {spent}; {what} may take {more:g}")
    return step


def used_by(request: RouteRequest) -> Toll:
    """What the workflow has used up, with the questions asked for the decision at hand."""
    spend, tokens = request.state.spend, tokens_of(request.answers)
    asked = len([answer for answer in request.answers if answer.get("kind") == "model"])
    return Toll(spend.calls + asked, spend.tokens + sum(tokens.values()), spend.cost + request.prices.of(**tokens))


def estimate(payload: dict[str, Any]) -> int:
    """The most tokens that the prompt of a question is expected to have."""
    text = orjson.dumps([payload["messages"], payload["schema"]])
    plain = sum(byte < 128 for byte in text)
    return len(text) - plain + (plain + 1) // 2 + OVERHEAD_TOKENS


def _toll(request: RouteRequest, step: Decision | Ask) -> tuple[Toll, str]:
    if isinstance(step, Decision):
        names = [target.agent for target in step.targets]
        return Toll(cost=sum(_per_call(request, name) for name in names)), f"calling {', '.join(names)}"
    kind = step.payload["kind"]
    if kind == "embedding":
        return Toll(), "comparing texts"
    cheapest = min((_per_call(request, candidate.agent.name) for candidate in request.masked.candidates), default=0.0)
    known = kind == "model"  # what others spend on a choice that is left to them is theirs to know
    prompt, completion = (estimate(step.payload), int(step.payload["max_tokens"])) if known else (0, 0)
    question = Toll(1, prompt + completion, request.prices.of(prompt, completion) + cheapest)
    what = "a question to the model" if known else "a choice that is left to others"
    return question, f"{what} and the call it leads to" if cheapest else what


def _per_call(request: RouteRequest, name: str) -> float:
    return request.agents[name].definition.cost.per_call
