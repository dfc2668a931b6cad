"""`loopwright agents`: what is published, whether a folder of definitions is right, and publishing it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from loopwright.cli import show
from loopwright.edges import kafka
from loopwright.edges.entrance import published
from loopwright.edges.keyring import Keyring
from loopwright.registry.catalogue import Agent, Catalogue
from loopwright.registry.change import Change, plan, records
from loopwright.registry.definition import AgentDefinition
from loopwright.registry.loading import load_team
from loopwright.sealing import keys_for
from loopwright.settings import Settings


def apply_team(settings: Settings, folder: Path, dry_run: bool = False, again: bool = False) -> list[Change]:
    """Publish the definitions of `folder`: those that are new or have moved, with `again` the others too. Waits for Kafka.

    Raises InvalidDefinition, Conflict; InvalidSettings where they mark fields as sensitive and there are no keys.
    """
    wanted = load_team(folder, settings.variables())
    require_keys(settings, wanted)
    current = published(settings)
    changes = plan(current, wanted, again)
    if not dry_run:
        with kafka.Producer(settings) as producer:
            for key, value in records(current, changes):
                producer.send(settings.topics.definitions, key.encode(), value)
    return changes


def require_keys(settings: Settings, wanted: Iterable[AgentDefinition]) -> None:
    """Raise InvalidSettings where `wanted` mark fields as sensitive and there are no keys to encrypt them with."""
    marked = sorted({name for definition in wanted for name in Agent.of(definition).sensitive})
    if marked:
        keys_for(Keyring(settings.keys_file).keys(), marked[0])


def list_agents(settings: Settings, team: str, as_json: bool) -> None:
    """Print what is published, and what stands in the topic but cannot be used."""
    catalogue = published(settings)
    agents = [agent for agent in catalogue.agents if not team or agent.definition.team == team]
    if as_json:
        problems = [{"key": key, "why": why} for key, why in sorted(catalogue.problems.items())]
        show.print_json({"agents": [_as_dict(agent.definition, catalogue) for agent in agents], "problems": problems})
        return
    screen = show.console()
    if agents:
        screen.print(_table(agents, catalogue))
    else:
        screen.print(
            f"no agents are published{f' in team {team}' if team else ''}; publish some: loopwright agents apply DIR", markup=False
        )
    for key, why in sorted(catalogue.problems.items()):
        screen.print(Text.assemble(("cannot be used: ", "red"), f"{show.clean(key)}: {show.clean(why)}"))


def _as_dict(definition: AgentDefinition, catalogue: Catalogue) -> dict[str, Any]:
    newest = catalogue.team(definition.team)[definition.name].version == definition.version
    return {
        "team": definition.team,
        "name": definition.name,
        "version": definition.version,
        "newest": newest,
        "endpoint": definition.endpoint,
        "description": definition.description,
        "input": fields_of(definition.input),
        "output": fields_of(definition.output),
        "terminal": definition.terminal,
        "reply": definition.reply,
        "after": list(definition.after),
    }


def fields_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a contract, and whether each must be there."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    names = properties if isinstance(properties, dict) else {}
    return [{"field": name, "required": name in required} for name in names]


def _fields(schema: dict[str, Any]) -> str:
    return ", ".join(field["field"] + ("" if field["required"] else "?") for field in fields_of(schema)) or "-"


def _table(agents: list[Agent], catalogue: Catalogue) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", caption="? = the field may be missing", caption_justify="left")
    for name in ("team", "agent", "version", "needs", "promises", "endpoint"):
        table.add_column(name, overflow="fold")
    for agent in agents:
        definition = agent.definition
        newest = catalogue.team(definition.team)[definition.name].version == definition.version
        end = " (ends the workflow)" if definition.terminal else ""
        cells = (
            definition.team,
            definition.name,
            f"{definition.version}{'' if newest else ' (older)'}",
            _fields(definition.input),
            _fields(definition.output) + end,
            definition.endpoint,
        )
        table.add_row(*(Text(show.clean(cell), style="" if newest else "dim") for cell in cells))
    return table


def check(settings: Settings, folder: Path, as_json: bool) -> None:
    """Print what the definitions of `folder` say. Raises InvalidDefinition with every problem in them."""
    definitions = load_team(folder, settings.variables())
    if as_json:
        show.print_json({"folder": str(folder), "definitions": [{"ref": found.ref, "endpoint": found.endpoint} for found in definitions]})
        return
    screen = show.console()
    for found in definitions:
        screen.print(Text.assemble(("ok ", "green"), f"{found.ref}  ", (f"{_fields(found.input)} → {_fields(found.output)}", "dim")))
    screen.print(Text(f"{len(definitions)} definitions in {folder} are right; publish them: loopwright agents apply {folder}", style="dim"))


WORDS = {
    "new": ("published", "green"),
    "moved": ("moved", "yellow"),
    "again": ("again", "green"),
    "unchanged": ("unchanged", "dim"),
    "removed": ("removed", "red"),
}


def apply(settings: Settings, folder: Path, as_json: bool, dry_run: bool, again: bool) -> None:
    """Publish the definitions of `folder` and print what changed."""
    changes = apply_team(settings, folder, dry_run, again)
    if as_json:
        rows = [{"ref": change.definition.ref, "change": change.kind, "endpoint": change.definition.endpoint} for change in changes]
        show.print_json({"folder": str(folder), "dry_run": dry_run, "changes": rows})
        return
    screen = show.console()
    for change in changes:
        word, style = WORDS[change.kind]
        moved = f"  {change.before.endpoint} → {change.definition.endpoint}" if change.kind == "moved" and change.before else ""
        screen.print(Text.assemble((f"{word:<10}", style), change.definition.ref, moved))
    altered = sum(change.kind != "unchanged" for change in changes)
    if dry_run:
        screen.print(Text(f"{altered} would be written; nothing was (--dry-run)", style="dim"))
    elif altered:
        screen.print(Text("in effect for new workflows now; running ones keep the versions they began with", style="dim"))
