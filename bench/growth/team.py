"""The team of the growth measurements: five stages in a row, an agent that answers later, and one that holds its calls.

The contracts leave one candidate for every document, and the model is asked all the same (`ask_when_only_one`): a hop is one question to
the model and one POST to an agent, as in the comparison with other systems.
"""

from pathlib import Path
from typing import Any

import yaml

NAME = "growth"
STAGES = 5
LATER, HOLD = "later", "hold"
MOST_CALLS = 10_000
HOUR_LONG, DAY_LONG = "3h", "24h"


def stage(number: int) -> str:
    """The agent of a stage, counted from 1."""
    return f"stage-{number}"


def field(number: int) -> str:
    """The field that a stage adds; 0 is the one that a lead begins with."""
    return f"field_{number}" if number else "lead"


def definitions() -> list[dict[str, Any]]:
    """The definitions, as they stand in YAML."""
    stages = [_agent(stage(n), field(n - 1), field(n), terminal=n == STAGES) for n in range(1, STAGES + 1)]
    later = _agent(LATER, LATER, "answered", reply="callback", callback_timeout=DAY_LONG)
    return [*stages, later, _agent(HOLD, HOLD, "answered", terminal=True, timeout=HOUR_LONG)]


def _agent(name: str, needs: str, gives: str, **more: Any) -> dict[str, Any]:
    about = f"Takes a document that has {needs} and adds {gives}."
    return {
        "name": name,
        "team": NAME,
        "version": 1,
        "description": f"{about} Use it when the document has {needs} and no {gives} yet.",
        "endpoint": "${AGENTS_URL}/agents/" + name,
        "input": {"type": "object", "required": [needs], "properties": {needs: {}}},
        "output": {"type": "object", "required": [gives], "properties": {gives: {}}},
        "concurrency": MOST_CALLS,
        **more,
    }


def write(folder: Path) -> None:
    """One YAML file for each agent."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in definitions():
        (folder / f"{one['name']}.yaml").write_text(yaml.safe_dump(one, sort_keys=False))
