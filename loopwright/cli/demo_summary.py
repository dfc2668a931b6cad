"""What the demo shows of its leads: the live table, the summary, the totals. Pure: views in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loopwright.cli import show
from loopwright.history.steps import Kind
from loopwright.history.view import RESTING, Status, WorkflowView


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead that was sent: its document, and what is known of its workflow (None: nothing yet)."""

    workflow: str
    document: dict[str, Any]
    view: WorkflowView | None

    @property
    def name(self) -> str:
        """The lead's name."""
        return show.clean(self.document.get("name") or self.document.get("email") or self.workflow, 28)

    @property
    def company(self) -> str:
        """The lead's company."""
        return show.clean(self.document.get("company_name") or "-", 28)

    @property
    def resting(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.view is not None and self.view.status in RESTING

    @property
    def accounted(self) -> bool:
        """Whether it completed, or stopped with a stated reason."""
        view = self.view
        return view is not None and (view.status is Status.COMPLETED or (view.status in RESTING and bool(view.reason)))

    @property
    def end(self) -> str:
        """How it ended, and why where it did not complete."""
        if self.view is None:
            return "not seen in the logs"
        if self.view.status is Status.COMPLETED or not self.view.reason:
            return self.view.activity
        return f"{self.view.activity}: {self.view.reason}"


def hops_of(view: WorkflowView) -> list[str]:
    """Each hop that was decided: the agent and the strategy that chose it, as in `lead-scoring (llm)`; `end` where none was called."""
    failed = {(step.hop, step.branch) for step in view.steps if step.kind is Kind.FAILURE and not step.ignored}
    hops = []
    for step in view.steps:
        if step.kind is Kind.DECISION and not step.ignored:
            targets, strategy = step.detail["targets"], step.detail["strategy"]
            names = [f"{t['agent']} ({strategy}){' failed' if (step.hop, t['branch']) in failed else ''}" for t in targets]
            hops.append(show.clean(" + ".join(names) or strategy))
    return hops


def live_table(rows: Sequence[LeadRow], now_ms: int) -> Table:
    """The leads while they are being worked."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("lead", "company"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("hop", justify="right")
    table.add_column("status", no_wrap=True, min_width=24)
    table.add_column("path so far", no_wrap=True, overflow="ellipsis")
    table.add_column("age", justify="right", no_wrap=True, min_width=8)
    for row in rows:
        view = row.view
        if view is None:
            table.add_row(Text(row.name), Text(row.company), "0", Text("sent", style="dim"), "", "")
        else:
            age = Text(show.duration(view.age_ms(now_ms)), style="dim" if view.ended else "")
            table.add_row(Text(row.name), Text(row.company), str(view.hop), show.status_text(view), Text(show.arrow_path(view.path)), age)
    return table


def change_line(row: LeadRow, since_start_ms: int) -> Text:
    """One change as a line of a log."""
    view = row.view
    status = show.status_text(view) if view else Text("sent")
    line = Text.assemble((f"{show.duration(since_start_ms):>9}  ", "dim"), set_cell_size(row.name, NAME_CELLS), "  ", status)
    if view and view.path:
        line.append(f"  after {show.arrow_path(view.path)}", style="dim")
    return line.append(f"  {show.clean(view.reason, 120)}") if view and view.reason and not view.ended else line


@dataclass(frozen=True)
class Way:
    """Hops with arrows between them, indented; a line is broken only after an arrow."""

    hops: list[str]
    indent: int = 4

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """As rich wants it: the lines, as wide as there is room."""
        lines = [""]
        for number, hop in enumerate(self.hops):
            word = hop if number == len(self.hops) - 1 else f"{hop} → "
            if lines[-1] and cell_len(lines[-1]) + cell_len(word.rstrip()) > options.max_width - self.indent:
                lines.append("")
            lines[-1] += word
        yield from (Text(" " * self.indent + line.rstrip(), style="dim") for line in lines)


NAME_CELLS, COMPANY_CELLS = 25, 23
HEADER = f"  {'lead':<{NAME_CELLS}} {'company':<{COMPANY_CELLS}} score  model calls       time  end"


def summary_lines(rows: Sequence[LeadRow]) -> list[RenderableType]:
    """What became of each lead: a line of facts, the way it took below, and the reason where it did not complete."""
    lines: list[RenderableType] = [Text(HEADER, style="bold")]
    for row in rows:
        lines.extend(_summary_of(row))
    return lines


def _summary_of(row: LeadRow) -> list[RenderableType]:
    view = row.view
    fine = view is not None and view.status is Status.COMPLETED
    mark, colour = ("✓", "green") if fine else ("✗", "red") if not row.accounted else ("■", "yellow")
    line = Text.assemble((f"{mark} ", colour), f"{set_cell_size(row.name, NAME_CELLS)} {set_cell_size(row.company, COMPANY_CELLS)} ")
    if view is None:
        return [line.append("not seen in the logs", style="red")]
    score = "-" if view.score is None else f"{view.score:g}"
    line.append(f"{score:>5}  {view.model_calls:>11}  {show.duration(view.duration_ms):>9}  ")
    line.append_text(show.status_text(view))
    lines: list[RenderableType] = [line, Way(hops_of(view) or ["no decision"])]
    if not fine:
        said = Text.assemble(("why: ", "yellow"), show.clean(view.reason, 300) or "no reason was given")
        lines.append(Padding(said, (0, 0, 0, 4), expand=False))
    if view.status is Status.PARKED:
        lines.append(Text.assemble("    ", ("to go on: ", "yellow"), (f"loopwright resume {show.clean(view.workflow)}", "cyan")))
    return lines


def totals(rows: Sequence[LeadRow]) -> dict[str, Any]:
    """The sums, as JSON shows them."""
    views = [row.view for row in rows if row.view]
    ends: dict[str, int] = {}
    for row in rows:
        word = row.view.activity if row.view else "not seen"
        ends[word] = ends.get(word, 0) + 1
    calls = sum(view.model_calls for view in views)
    return {
        "leads": len(rows),
        "accounted_for": sum(row.accounted for row in rows),
        "ends": ends,
        "model_calls": calls,
        "model_calls_per_workflow": round(calls / len(rows), 2) if rows else 0,
        "tokens": sum(view.tokens for view in views),
        "agent_model_calls": sum(view.agent_calls for view in views),
        "agent_tokens": sum(view.agent_tokens for view in views),
        "cost": sum(view.cost for view in views),
        "dead_letters": sum(view.dead_letters for view in views),
        "duration_ms": max((view.updated_ms for view in views), default=0) - min((view.started_ms for view in views), default=0),
    }


def totals_lines(rows: Sequence[LeadRow], routing: str) -> list[Text]:
    """The sums, for people. `routing` says how decisions were made."""
    said = totals(rows)
    whole = said["accounted_for"] == said["leads"]
    ends = ", ".join(f"{count} {word}" for word, count in said["ends"].items())
    head = Text.assemble(("accounted for ", "bold"), (f"{said['accounted_for']} of {said['leads']}", "bold green" if whole else "bold red"))
    head.append(f" ({ends}) in {show.duration(said['duration_ms'])}")
    calls = f"{said['model_calls']} model calls, {said['model_calls_per_workflow']:g} per workflow · {said['tokens']} tokens"
    lines = [head, Text(f"routing: {routing} · {calls}")]
    if said["agent_model_calls"] or said["agent_tokens"]:
        lines.append(Text(f"the agents' own work: {said['agent_model_calls']} model calls · {said['agent_tokens']} tokens"))
    return lines


def as_json(rows: Sequence[LeadRow]) -> list[dict[str, Any]]:
    """The leads as `demo --json` shows them."""
    return [
        {
            "workflow": row.workflow,
            "lead": row.document.get("name"),
            "company": row.document.get("company_name"),
            "accounted": row.accounted,
        }
        | ({"end": row.end} | row.view.as_dict() if row.view else {"end": row.end})
        for row in rows
    ]
