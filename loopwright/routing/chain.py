"""The engine: one loop over the steps. The first to answer wins, and its name is in the decision."""

from collections.abc import Sequence

from loopwright.routing.budget import admitted
from loopwright.routing.elsewhere import elsewhere
from loopwright.routing.embedding import embed
from loopwright.routing.model import ask_model
from loopwright.routing.request import Ask, Decision, RouteRequest, RoutingStep
from loopwright.routing.steps import contracts, declared, end, fallback


def steps_for(model_configured: bool) -> tuple[RoutingStep, ...]:
    """The chain of the design: with a model endpoint it is asked, without one the offline embedding decides."""
    return (end, declared, contracts, elsewhere, ask_model if model_configured else embed, fallback)


def decide(request: RouteRequest, steps: Sequence[RoutingStep]) -> Decision | Ask:
    """A decision, or the question whose outcome has to be added to `request.answers` first. What the budget does not allow is parked."""
    for step in steps:
        answer = step(request)
        if answer is not None:
            return admitted(request, answer)
    return fallback(request)
