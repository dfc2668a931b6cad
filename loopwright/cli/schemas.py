"""`loopwright schemas`: the schemas of our records, and what a schema registry says to them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from loopwright.cli.options import AsJson, given_settings

if TYPE_CHECKING:
    from loopwright.edges.registry import SchemaRegistry
    from loopwright.settings import Settings
    from loopwright.subjects import Kind, Subject

Target = Annotated[Path, typer.Argument(help="The folder that they are written to; it is made.", metavar="DIR")]
app = typer.Typer(help="Schemas of our records in a schema registry: list, register, check, export.", no_args_is_help=True)
Row = dict[str, Any]


@app.command("list")
def list_schemas(as_json: AsJson = False) -> None:
    """Show every subject, and under which id and version the registry has our schema."""
    rows = [_listed(registry, subject, kind) for registry, subject, kind in _each()]
    _print(rows, as_json, "subjects")


@app.command("register")
def register(as_json: AsJson = False) -> None:
    """Register every schema that is not there yet; from then on only compatible versions are taken."""
    _print(register_all(given_settings()), as_json, "registered")


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Whether our schemas are registered, or could be: compatible with every version before. Exit code 1 when one could not."""
    rows = [_checked(registry, subject, kind) for registry, subject, kind in _each()]
    _print(rows, as_json, "checked")
    if any(row["state"] == "incompatible" for row in rows):
        raise typer.Exit(1)


@app.command("export")
def export(folder: Target, as_json: AsJson = False) -> None:
    """Write every schema to a file, TOPIC/RECORD.json or .avsc: for code generators, and for registries that are set up by hand."""
    from loopwright.subjects import subjects

    topics = given_settings().topics
    rows = [_written(folder, subject, kind, getattr(topics, subject.role)) for subject in subjects() for kind in subject.kinds]
    _print(rows, as_json, "written")


def register_all(settings: "Settings") -> list[Row]:
    """Register every schema; where each stands. Raises as `SchemaRegistry.register`."""
    return [
        _row(subject, kind, settings, "registered") | _standing(registry.register(subject, kind))
        for registry, subject, kind in _each(settings)
    ]


def _each(settings: "Settings | None" = None) -> "Iterator[tuple[SchemaRegistry, Subject, Kind]]":
    from loopwright.edges.registry import SchemaRegistry
    from loopwright.subjects import subjects

    registry = SchemaRegistry(settings or given_settings())
    try:
        for subject in subjects():
            for kind in subject.kinds:
                yield registry, subject, kind
    finally:
        registry.close()


def _row(subject: "Subject", kind: "Kind", settings: "Settings", state: str) -> Row:
    return {"subject": subject.subject(kind, settings.topics), "kind": kind, "state": state, "id": None, "version": None}


def _standing(found: Any) -> Row:
    return {"id": found.id, "version": found.version}


def _listed(registry: "SchemaRegistry", subject: "Subject", kind: "Kind") -> Row:
    from loopwright.errors import NotFound

    try:
        found = registry.registered(subject, kind)
    except NotFound:
        return _row(subject, kind, registry.settings, "not registered")
    return _row(subject, kind, registry.settings, "registered") | _standing(found)


def _checked(registry: "SchemaRegistry", subject: "Subject", kind: "Kind") -> Row:
    row = _listed(registry, subject, kind)
    if row["state"] == "not registered":
        row["state"] = "compatible" if registry.compatible(subject, kind) else "incompatible"
    return row


def _written(folder: Path, subject: "Subject", kind: "Kind", topic: str) -> Row:
    name = f"{subject.type}.json" if kind == "JSON" else f"{subject.fullname}.avsc"
    file = folder / topic / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(subject.schema(kind), option=orjson.OPT_INDENT_2) + b"\n")
    return {"file": str(file), "kind": kind, "state": "written"}


_STYLES = {"registered": "green", "compatible": "green", "written": "green", "not registered": "yellow", "incompatible": "red"}


def _print(rows: list[Row], as_json: bool, name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from loopwright.cli import show

    if as_json:
        show.print_json({name: rows})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = list(rows[0])
    for column in columns:
        table.add_column(column, no_wrap=column != columns[0], overflow="fold")
    for row in rows:
        cells = ["" if row[column] is None else str(row[column]) for column in columns]
        table.add_row(*(Text(show.clean(cell, 300), style=_STYLES.get(cell, "")) for cell in cells))
    show.console().print(table)
