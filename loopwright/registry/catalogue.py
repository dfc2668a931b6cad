"""The catalogue: every known agent in every version, compiled, in memory. Built from the records of the topic agent-definitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from loopwright.errors import InvalidDefinition
from loopwright.registry.contract import Contract
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.roster import Roster

_NOBODY: Mapping[str, "Agent"] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Agent:
    """A definition with both of its contracts compiled."""

    definition: AgentDefinition
    input: Contract
    output: Contract

    @classmethod
    def of(cls, definition: AgentDefinition) -> Self:
        """Compile the definition's contracts. Raises InvalidDefinition saying which one is wrong and where."""
        return cls(definition, _contract(definition, "input"), _contract(definition, "output"))

    @property
    def name(self) -> str:
        """The agent's name within its team."""
        return self.definition.name

    @property
    def version(self) -> int:
        """The definition's version."""
        return self.definition.version

    @property
    def ref(self) -> str:
        """`team/name@version`."""
        return self.definition.ref

    @property
    def sensitive(self) -> frozenset[str]:
        """The fields that either of its contracts marks `x-sensitive`."""
        return self.input.sensitive | self.output.sensitive


class Catalogue:
    """All agents. `apply` takes the topic's records one by one; the look-ups are dictionary look-ups and give shared, read-only results."""

    def __init__(self, records: Iterable[tuple[str, bytes | None]] = ()) -> None:
        """Start with `records`, each a key (`team/name@version`) and a definition as JSON or None where it was removed."""
        self._agents: dict[str, Agent] = {}
        self._problems: dict[str, str] = {}
        self._rosters: dict[str, Roster] = {}
        self._newest: dict[str, dict[str, Agent]] = {}
        self._views: dict[str, Mapping[str, Agent]] = {}
        for key, value in records:
            self.apply(key, value)

    def apply(self, key: str, value: bytes | None) -> None:
        """Take in one record: of a definition, or of a roster, whose key is the team's name alone.

        A record that cannot be used changes nothing but `problems`; it never raises.
        """
        if "/" not in key:
            self._apply_roster(key, value)
        elif value is None:
            self._problems.pop(key, None)
            removed = self._agents.pop(key, None)
            if removed is not None:
                self._rank(removed.definition.team)
        else:
            self._apply_definition(key, value)

    def _apply_definition(self, key: str, value: bytes) -> None:
        try:
            agent = Agent.of(AgentDefinition.from_json(value))
            if agent.ref != key:
                raise InvalidDefinition("a definition stands under a key that is not its own", f"key {key!r}, definition {agent.ref!r}")
        except InvalidDefinition as error:
            self._problems[key] = str(error)
            return
        self._problems.pop(key, None)
        self._agents[key] = agent
        self._rank(agent.definition.team)

    def _apply_roster(self, key: str, value: bytes | None) -> None:
        self._problems.pop(key, None)
        if value is None:
            self._rosters.pop(key, None)
            return
        try:
            roster = Roster.from_json(value)
        except InvalidDefinition as error:
            self._problems[key] = str(error)
            return
        self._rosters[key] = roster

    def _rank(self, team: str) -> None:
        newest: dict[str, Agent] = {}
        for agent in self._agents.values():
            if agent.definition.team == team and (agent.name not in newest or newest[agent.name].version < agent.version):
                newest[agent.name] = agent
        self._newest[team] = {name: newest[name] for name in sorted(newest)}
        self._views[team] = MappingProxyType(self._newest[team])

    def team(self, team: str) -> Mapping[str, Agent]:
        """The newest version of each agent of `team`, by name, in the names' order; empty for a team that is not known."""
        return self._views.get(team, _NOBODY)

    def roster(self, team: str) -> Mapping[str, int]:
        """The agents of `team` and their versions, as published; empty while the team is not known as a whole."""
        known = self._rosters.get(team)
        return known.agents if known is not None and not self.missing(team, known.agents) else {}

    def pinned(self, team: str, pins: Mapping[str, int]) -> dict[str, Agent]:
        """The agents of `team` in exactly the versions of `pins`, by name. Those that are not known are left out: see `missing`."""
        found = ((name, self.get(team, name, pins[name])) for name in sorted(pins))
        return {name: agent for name, agent in found if agent is not None}

    def missing(self, team: str, pins: Mapping[str, int]) -> tuple[str, ...]:
        """The refs among `pins` that the catalogue does not hold, in order."""
        return tuple(f"{team}/{name}@{pins[name]}" for name in sorted(pins) if self.get(team, name, pins[name]) is None)

    def get(self, team: str, name: str, version: int) -> Agent | None:
        """One agent in one version, or None."""
        return self._agents.get(f"{team}/{name}@{version}")

    def sensitive(self, team: str, pins: Mapping[str, int] | None = None) -> frozenset[str]:
        """The fields that an agent of `team` marks `x-sensitive`, in the versions of `pins`; without `pins` in any version."""
        agents = self.pinned(team, pins).values() if pins is not None else (a for a in self._agents.values() if a.definition.team == team)
        return frozenset[str]().union(*(agent.sensitive for agent in agents))

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Every agent in every version, in the order of their refs."""
        return tuple(sorted(self._agents.values(), key=lambda agent: (agent.definition.team, agent.name, agent.version)))

    @property
    def problems(self) -> Mapping[str, str]:
        """By key: why the last record under that key was kept out."""
        return MappingProxyType(self._problems)


def _contract(definition: AgentDefinition, side: str) -> Contract:
    try:
        return Contract(definition.input if side == "input" else definition.output)
    except InvalidDefinition as error:
        raise InvalidDefinition(f"the {side} contract of {definition.ref} cannot be used", error.why, error.remedy) from error
