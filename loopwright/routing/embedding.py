"""The offline step: the candidate whose description is closest to the document, by a small embedding model. No endpoint, no key."""

import math

from loopwright.masking import MASK, is_secret, masked
from loopwright.routing.model import visible
from loopwright.routing.request import Ask, Candidate, Decision, RouteRequest, towards

TEMPERATURE = 0.02
NEWEST, VALUE_LENGTH = 2, 120


def embed(request: RouteRequest) -> Decision | Ask | None:
    """Ask for the similarities, or take the closest. None when the best two are closer than the margin, or the model cannot be had."""
    candidates = request.masked.candidates
    answer = next((a for a in request.answers if a.get("kind") == "embedding"), None)
    if answer is None:
        return Ask({"kind": "embedding", "query": query(request), "passages": {c.agent.name: passage(c) for c in candidates}})
    if not answer.get("ok"):
        return None
    scores = {c.agent.name: float(answer["scores"].get(c.agent.name, -1.0)) for c in candidates}
    ranked = sorted(candidates, key=lambda c: (-scores[c.agent.name], c.agent.name))
    best, runner_up = ranked[0].agent.name, ranked[1].agent.name if len(ranked) > 1 else ""
    if runner_up and scores[best] - scores[runner_up] < request.routing.embedding_margin:
        return None
    reason = f"its description is closest to the document ({scores[best]:.3f}" + (
        f"; {runner_up} {scores[runner_up]:.3f})" if runner_up else ")"
    )
    return towards(ranked[0], "embedding", reason, round(_share(scores, best), 3), str(answer.get("model", "")))


def _share(scores: dict[str, float], best: str) -> float:
    """The best one's share in a softmax: 1 is certain, 1/n is a guess."""
    return 1 / sum(math.exp((score - scores[best]) / TEMPERATURE) for score in scores.values())


def passage(candidate: Candidate) -> str:
    """What an agent is compared by."""
    return f"{candidate.agent.name.replace('-', ' ')}: {' '.join(candidate.agent.definition.description.split())}"


def query(request: RouteRequest) -> str:
    """The document as a short text: the fields for which a candidate's contract names the choices, else the two newest short values.

    The shorter the query, the better a small model tells descriptions apart.
    """
    fields = request.shown
    seen = {name for name, value in fields.items() if isinstance(value, (str, int, float)) and value != MASK and not is_secret(name)}
    newest_first = [name for name in reversed(request.state.document) if name in seen]
    choices = [name for name in newest_first if _is_choice(request, name)]
    parts = [f"{name.replace('_', ' ')}: {_said(fields[name])}" for name in choices or newest_first[:NEWEST]]
    return "; ".join(parts) or "an empty document"


def _said(value: object) -> str:
    return masked(visible(str(value)))[:VALUE_LENGTH]


def _is_choice(request: RouteRequest, name: str) -> bool:
    schemas = (candidate.agent.definition.input["properties"].get(name) for candidate in request.masked.candidates)
    return any(isinstance(schema, dict) and ("enum" in schema or "const" in schema) for schema in schemas)
