"""The roster: which agents, in which versions, make up a team. It is published after their definitions, under the team's name.

A team becomes known by its roster alone, so a workflow never begins with half of a team that is still being published, and an agent that
is left out of the next roster is no candidate for new workflows any more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import orjson

from loopwright.errors import InvalidDefinition
from loopwright.registry.definition import AgentDefinition, cut


@dataclass(frozen=True, slots=True)
class Roster:
    """The agents of `team`: name and version."""

    team: str
    agents: Mapping[str, int]

    def to_json(self) -> bytes:
        """The roster as JSON, the same bytes for the same roster."""
        return orjson.dumps({"team": self.team, "agents": dict(self.agents)}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """The roster in `value`. Raises InvalidDefinition."""
        try:
            body = orjson.loads(value)
            agents = {str(name): version for name, version in body["agents"].items()}
            if not all(isinstance(version, int) and not isinstance(version, bool) for version in agents.values()):
                raise TypeError("a version is not a whole number")
            return cls(str(body["team"]), agents)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidDefinition(
                "a roster cannot be read", f"{cut(value)}: {error}", "publish it with `loopwright agents apply`"
            ) from error


def rosters_of(definitions: Iterable[AgentDefinition]) -> list[Roster]:
    """One roster per team among `definitions`, which are all of its agents."""
    teams: dict[str, dict[str, int]] = {}
    for definition in definitions:
        teams.setdefault(definition.team, {})[definition.name] = definition.version
    return [Roster(team, agents) for team, agents in teams.items()]


def records_of(definitions: Iterable[AgentDefinition]) -> list[tuple[str, bytes]]:
    """Key and value of every record that makes `definitions` known, in the order in which they must be written."""
    known = list(definitions)
    return [(d.ref, d.to_json()) for d in known] + [(roster.team, roster.to_json()) for roster in rosters_of(known)]
