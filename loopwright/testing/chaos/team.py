"""Whom the load is for: the SDR team, which comes along with slow agents that are watched, or a team of your own, whose agents you run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.cli.documents import documents_in, read_input
from loopwright.edges.platform.code import ROOT
from loopwright.errors import InvalidDefinition
from loopwright.registry.loading import load_team


@dataclass(frozen=True)
class Team:
    """A team, the folder of its definitions, and documents to start workflows with, in turn (none: leads, each with its own address)."""

    name: str
    folder: Path
    documents: tuple[dict[str, Any], ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is a team of the user's, whose agents are started and watched by nobody here."""
        return bool(self.documents)

    def document(self, number: int) -> dict[str, Any]:
        """What workflow `number` starts with."""
        return self.documents[number % len(self.documents)] if self.documents else lead(number)


SDR = Team("sdr", ROOT / "agents" / "sdr")


def address(number: int) -> str:
    """The mail address of a lead: no two have the same."""
    return f"lead{number}@engines.example"


def lead(number: int) -> dict[str, Any]:
    """A lead."""
    return {
        "name": f"Lead {number}",
        "email": address(number),
        "company_name": "Engines Ltd",
        "lead_source": "webinar",
        "project_description": "We need a tool before Q3; the budget is approved.",
    }


def own_team(folder: Path, documents: str, variables: Mapping[str, str]) -> Team:
    """The team defined in `folder`, with the documents in a file. Raises InvalidDefinition, InvalidDocument, NotFound."""
    names = sorted({definition.team for definition in load_team(folder, variables)})
    if len(names) > 1:
        raise InvalidDefinition(f"{folder} holds more than one team", ", ".join(names), "name a folder with the definitions of one")
    return Team(names[0], folder.resolve(), tuple(documents_in(read_input(documents), documents)))
