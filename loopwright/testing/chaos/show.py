"""How a chaos report looks in a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopwright.cli.show import clean
from loopwright.testing.chaos.report import ChaosReport, Check


def print_report(screen: Console, report: ChaosReport) -> None:
    """The kills, the workflows, the effects, and what held."""
    screen.print(Text(f"\n{len(report.kills)} kills in {report.seconds:.0f} s, seed {report.seed}", style="bold"))
    screen.print(_kills(report))
    counts = ", ".join(f"{count} {name}" for name, count in report.workflows.items() if count or name in ("started", "lost"))
    screen.print(Text(f"\nworkflows: {counts}"), soft_wrap=True)
    done = report.effects
    said = f"{done.answered} of {done.keys} calls answered by {done.runs} runs, {done.taken_over} of them done anew after a kill"
    screen.print(Text(f"effects: {said}; {done.mails} mails"), soft_wrap=True)
    causes = ", ".join(f"{count} {cause}" for cause, count in report.verified.dead_letters.items())
    screen.print(Text(f"dead letters: {clean(causes) or 0}\n"), soft_wrap=True)
    print_checks(screen, report.checks)


def print_checks(screen: Console, checks: Sequence[Check]) -> None:
    """A line for each."""
    for check in checks:
        mark = Text("✓ ", style="green") if check.holds else Text("✗ ", style="red")
        screen.print(mark + Text(f"{check.name}: ") + Text(clean(check.said, 600), style="dim"), soft_wrap=True)


def _kills(report: ChaosReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("part", "kills", "in flight, at least", "seconds to the first new result: min", "median", "max"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, found in sorted(report.recovery.items()):
        mine = [kill for kill in report.kills if kill.part == part]
        seconds = [f"{value:.1f}" for value in (found.min_s, found.median_s, found.max_s)] if found else ["-"] * 3
        table.add_row(part, str(len(mine)), str(min(kill.in_flight for kill in mine)), *seconds)
    return table
