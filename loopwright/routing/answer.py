"""Reading a model's answer: strictly one of the candidates or "none", or it is invalid, with the reason."""

import re
from typing import Any

import orjson

from loopwright.routing.request import Candidate

NOBODY = "none"
FENCE = re.compile(r"^\s*```(?:json)?\s*(.*?)\s*```\s*$", re.DOTALL)


def read_answer(content: str, candidates: tuple[Candidate, ...]) -> tuple[dict[str, Any], str | None]:
    """The model's answer, and what is wrong with it (None: nothing; then `agent` is a candidate's name or "none")."""
    fenced = FENCE.match(content)
    try:
        answer = orjson.loads(fenced.group(1) if fenced else content)
    except ValueError:
        return {}, "it is empty" if not content.strip() else f"it is not JSON: {content[:60]!r}"
    if not isinstance(answer, dict):
        return {}, "it is not a JSON object"
    name = answer.get("agent")
    if not isinstance(name, str) or (name != NOBODY and name not in {candidate.agent.name for candidate in candidates}):
        return {}, f"{str(name)[:60]!r} is not among the candidates"
    return answer, None
