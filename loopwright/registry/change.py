"""What publishing a set of definitions would change. (team, name, version) is immutable but for where the agent is and how to log in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from loopwright.errors import Conflict
from loopwright.registry.catalogue import Catalogue
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.roster import rosters_of

MOVABLE = frozenset({"endpoint", "auth"})


@dataclass(frozen=True, slots=True)
class Change:
    """What publishing `definition` means: it is new, it is there already (unchanged; or again, if it is written all the same), only
    its endpoint or auth differ (moved), or its team goes on without it (removed)."""

    kind: Literal["new", "unchanged", "again", "moved", "removed"]
    definition: AgentDefinition
    before: AgentDefinition | None = None

    @property
    def record(self) -> tuple[str, bytes]:
        """Key and value to write to the topic agent-definitions."""
        return self.definition.ref, self.definition.to_json()


def plan(current: Catalogue, wanted: Iterable[AgentDefinition], again: bool = False) -> list[Change]:
    """What publishing `wanted` would change, in the order given. Raises Conflict, naming each definition whose version must be raised.

    `again`: what is there already is published once more, which ends the time in which an agent that was gone (410) is not called.
    """
    as_it_is: Literal["again", "unchanged"] = "again" if again else "unchanged"
    changes: list[Change] = []
    conflicts: list[str] = []
    remedies: list[str] = []
    for definition in wanted:
        newest = _newest(current, definition)
        known = current.get(definition.team, definition.name, definition.version)
        differing = _differing(known.definition, definition) if known is not None else frozenset()
        if known is not None and differing <= MOVABLE:
            changes.append(Change("moved" if differing else as_it_is, definition, known.definition))
        elif known is None and definition.version > newest:
            changes.append(Change("new", definition))
        else:
            conflicts.append(_conflict(definition, differing, newest))
            remedies.append(f"{definition.name}: raise version to {newest + 1}")
    if conflicts:
        raise Conflict("a published version of an agent never changes", "; ".join(conflicts), "; ".join(remedies))
    return changes + _removed(current, [change.definition for change in changes])


def _removed(current: Catalogue, wanted: list[AgentDefinition]) -> list[Change]:
    names = {(definition.team, definition.name) for definition in wanted}
    rosters = {team: current.pinned(team, current.roster(team)) for team in sorted({definition.team for definition in wanted})}
    return [
        Change("removed", agent.definition)
        for team, agents in rosters.items()
        for name, agent in agents.items()
        if (team, name) not in names
    ]


def records(current: Catalogue, changes: Iterable[Change]) -> list[tuple[str, bytes]]:
    """Key and value of every record that has to be written to make `changes` come true, in the order in which they must be written."""
    made = list(changes)
    wanted = [change.definition for change in made if change.kind != "removed"]
    altered = [change.record for change in made if change.kind in ("new", "again", "moved")]
    return altered + [(r.team, r.to_json()) for r in rosters_of(wanted) if current.roster(r.team) != r.agents]


def _newest(current: Catalogue, definition: AgentDefinition) -> int:
    agent = current.team(definition.team).get(definition.name)
    return 0 if agent is None else agent.version


def _differing(one: AgentDefinition, other: AgentDefinition) -> frozenset[str]:
    return frozenset(name for name in AgentDefinition.model_fields if getattr(one, name) != getattr(other, name))


def _conflict(definition: AgentDefinition, differing: frozenset[str], newest: int) -> str:
    if not differing:
        return f"{definition.ref} is older than version {newest}, which is published"
    fields = ", ".join(sorted(differing - MOVABLE))
    return f"{definition.ref} is published with other content ({fields})"
