"""Agent cards: what a served agent can do, for those who look for agents. Source: A2A protocol 1.0, AgentCard; `url` is the field of 0.3.

The one interface that a card names is Loopwright's own (a plain POST of the input contract); it does not claim A2A's bindings.
"""

from collections.abc import Sequence
from typing import Any

from loopwright.agent.agent import Agent

WELL_KNOWN = "/.well-known/agent-card.json"
BINDING = "LOOPWRIGHT+JSON"
JSON = "application/json"


def card(agent: Agent) -> dict[str, Any]:
    """The card of one agent."""
    definition = agent.definition
    return _card(definition.name, definition.description, str(definition.version), definition.endpoint, [agent])


def team_card(agents: Sequence[Agent], url: str) -> dict[str, Any]:
    """The card of a process: the card of its one agent, or one that lists each agent as a skill."""
    if len(agents) == 1:
        return card(agents[0])
    teams = ", ".join(sorted({agent.definition.team for agent in agents}))
    names = ", ".join(agent.name for agent in agents)
    return _card(teams, f"The agents {names}. Each has a card of its own under its path + {WELL_KNOWN}.", "1", url, agents)


def _card(name: str, description: str, version: str, url: str, agents: Sequence[Agent]) -> dict[str, Any]:
    return {
        "protocolVersion": "1.0",
        "name": name,
        "description": description,
        "version": version,
        "url": url,
        "supportedInterfaces": [
            {"url": agent.definition.endpoint, "protocolBinding": BINDING, "protocolVersion": "1.0"} for agent in agents
        ],
        "capabilities": {"streaming": False, "pushNotifications": any(agent.definition.reply == "callback" for agent in agents)},
        "defaultInputModes": [JSON],
        "defaultOutputModes": [JSON],
        "skills": [_skill(agent) for agent in agents],
    }


def _skill(agent: Agent) -> dict[str, Any]:
    definition = agent.definition
    return {
        "id": definition.ref,
        "name": definition.name,
        "description": definition.description,
        "tags": [definition.team, definition.kind],
        "inputModes": [JSON],
        "outputModes": [JSON],
    }
