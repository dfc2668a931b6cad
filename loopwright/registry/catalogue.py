"""The catalogue: every known agent in every version, compiled, in memory. Built from the records of the topic agent-definitions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Self

from loopwright.errors import InvalidDefinition
from loopwright.registry.contract import Contract
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.roster import Roster

MOST_PINNED = 256  # sets of versions whose agents are kept together: one for each roster that workflows still run with
_NOBODY: Mapping[str, "Agent"] = MappingProxyType({})


@dataclass(frozen=True)
class Agent:
    """A definition with both of its contracts compiled. What is asked of it for every hop is looked up once."""

    definition: AgentDefinition
    input: Contract
    output: Contract

    @classmethod
    def of(cls, definition: AgentDefinition) -> Self:
        """Compile the definition's contracts. Raises InvalidDefinition saying which one is wrong and where."""
        return cls(definition, _contract(definition, "input"), _contract(definition, "output"))

    @cached_property
    def name(self) -> str:
        """The agent's name within its team."""
        return self.definition.name

    @cached_property
    def version(self) -> int:
        """The definition's version."""
        return self.definition.version

    @cached_property
    def ref(self) -> str:
        """`team/name@version`."""
        return self.definition.ref

    @cached_property
    def after(self) -> tuple[str, ...]:
        """The agents that it runs after."""
        return tuple(self.definition.after)

    @cached_property
    def tenants(self) -> tuple[str, ...]:
        """The tenants that it works for; none: for all."""
        return tuple(self.definition.tenants)

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """The fields that either of its contracts marks `x-sensitive`."""
        return self.input.sensitive | self.output.sensitive

    @cached_property
    def line(self) -> str:
        """Its name and its description, in one line."""
        return f"{self.name}: {' '.join(self.definition.description.split())}"


@dataclass(frozen=True, slots=True)
class _Pinned:
    """Agents in the versions of a roster, and the fields that one of them marks `x-sensitive`."""

    agents: Mapping[str, Agent]
    sensitive: frozenset[str]


class Catalogue:
    """All agents. `apply` takes the topic's records one by one; the look-ups are dictionary look-ups and give shared, read-only results."""

    def __init__(self, records: Iterable[tuple[str, bytes | None]] = ()) -> None:
        """Start with `records`, each a key (`team/name@version`) and a definition as JSON or None where it was removed."""
        self._agents: dict[str, Agent] = {}
        self._problems: dict[str, str] = {}
        self._rosters: dict[str, Roster] = {}
        self._newest: dict[str, dict[str, Agent]] = {}
        self._views: dict[str, Mapping[str, Agent]] = {}
        self._pinned: dict[tuple[str, str], _Pinned] = {}
        for key, value in records:
            self.apply(key, value)

    def apply(self, key: str, value: bytes | None) -> None:
        """Take in one record: of a definition, or of a roster, whose key is the team's name alone.

        A record that cannot be used changes nothing but `problems`; it never raises.
        """
        self._pinned.clear()
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

    def pinned(self, team: str, pins: Mapping[str, int]) -> Mapping[str, Agent]:
        """The agents of `team` in exactly the versions of `pins`, by name. Those that are not known are left out: see `missing`."""
        return self._known(team, pins).agents

    def _known(self, team: str, pins: Mapping[str, int]) -> _Pinned:
        asked = (team, str(pins))  # as text, in which 1 and 1.0 are not the same
        known = self._pinned.get(asked)
        if known is None:
            found = ((name, self.get(team, name, pins[name])) for name in sorted(pins))
            agents = {name: agent for name, agent in found if agent is not None}
            known = _Pinned(MappingProxyType(agents), _marked(agents.values()))
            if len(self._pinned) >= MOST_PINNED:
                self._pinned.clear()
            self._pinned[asked] = known
        return known

    def missing(self, team: str, pins: Mapping[str, int]) -> tuple[str, ...]:
        """The refs among `pins` that the catalogue does not hold, in order."""
        return tuple(f"{team}/{name}@{pins[name]}" for name in sorted(pins) if self.get(team, name, pins[name]) is None)

    def get(self, team: str, name: str, version: int) -> Agent | None:
        """One agent in one version, or None."""
        return self._agents.get(f"{team}/{name}@{version}")

    def sensitive(self, team: str, pins: Mapping[str, int] | None = None) -> frozenset[str]:
        """The fields that an agent of `team` marks `x-sensitive`, in the versions of `pins`; without `pins` in any version."""
        if pins is not None:
            return self._known(team, pins).sensitive
        return _marked(agent for agent in self._agents.values() if agent.definition.team == team)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Every agent in every version, in the order of their refs."""
        return tuple(sorted(self._agents.values(), key=lambda agent: (agent.definition.team, agent.name, agent.version)))

    @property
    def problems(self) -> Mapping[str, str]:
        """By key: why the last record under that key was kept out."""
        return MappingProxyType(self._problems)


def _marked(agents: Iterable[Agent]) -> frozenset[str]:
    return frozenset[str]().union(*(agent.sensitive for agent in agents))


def _contract(definition: AgentDefinition, side: str) -> Contract:
    try:
        return Contract(definition.input if side == "input" else definition.output)
    except InvalidDefinition as error:
        raise InvalidDefinition(f"the {side} contract of {definition.ref} cannot be used", error.why, error.remedy) from error
