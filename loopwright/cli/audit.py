"""`loopwright audit`: who was refused what, where and why, from the topic of refusals."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from loopwright.audit import Entry, entry_of
from loopwright.cli import show
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.message import shown_time
from loopwright.settings import Settings


def entries(settings: Settings, since_ms: int | None = None, tenant: str = "") -> list[Entry]:
    """The refusals on record, oldest first; those of the last `since_ms` alone, those of one tenant alone. Raises Unreachable."""
    topic = settings.topics.audit
    if not kafka.present(settings, [topic]):
        return []
    first_ms = 0 if since_ms is None else now_ms() - since_ms
    found = {entry.id: entry for record in kafka.read_all(settings, [topic]) if (entry := entry_of(record)) is not None}
    wanted = (entry for entry in found.values() if entry.time_ms >= first_ms and tenant in ("", entry.who.get("tenant", "")))
    return sorted(wanted, key=lambda entry: entry.time_ms)


def audit(settings: Settings, since_ms: int | None, tenant: str, as_json: bool) -> None:
    """Print the refusals."""
    found = entries(settings, since_ms, tenant)
    counts: dict[str, int] = {}
    for entry in found:
        counts[entry.cause] = counts.get(entry.cause, 0) + 1
    if as_json:
        show.print_json({"refusals": [_as_dict(entry) for entry in found], "causes": counts, "unwritten": sum(e.unwritten for e in found)})
        return
    screen = show.console()
    if found:
        screen.print(_table(found))
    said = ", ".join(f"{count} {show.clean(cause)}" for cause, count in sorted(counts.items())) or "nothing was refused"
    unwritten = sum(entry.unwritten for entry in found)
    screen.print(Text(said + (f"; {unwritten} more were too many to be written" if unwritten else ""), style="dim"))


def _as_dict(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"time": shown_time(entry.time_ms)}


def _table(found: Sequence[Entry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "where", "cause", "who", "workflow", "hop"):
        table.add_column(name, no_wrap=name != "who", overflow="ellipsis")
    table.add_column("why", overflow="fold")
    for entry in found:
        who = " ".join(f"{kind} {value}" for kind, value in entry.who.items()) or "-"
        hop = str(entry.hop) if entry.workflow else ""
        cells = [shown_time(entry.time_ms), f"{entry.where} {entry.what}", entry.cause, who, entry.workflow or "-", hop, entry.why]
        table.add_row(*(Text(show.clean(cell, 200)) for cell in cells))
    return table
