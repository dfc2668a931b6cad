"""`loopwright verify`: proof from the logs that the job did what it says. Exit code 1 when an invariant is broken."""

import time

from rich.console import Console
from rich.text import Text

from loopwright.cli import logs, show
from loopwright.edges import kafka
from loopwright.history.invariants import ALSO_COUNTED, COUNTED, Clock, Evidence, Finding, Report
from loopwright.settings import Settings

SKEW_MS = 5_000
PATIENCE_MS = 60_000
RECORDS_SHOWN = 6


def verify(settings: Settings, since_ms: int | None, as_json: bool) -> int:
    """Read the logs and report every broken invariant; `since_ms`: of workflows with a record that young alone. The exit code.

    Raises NotFound, Unreachable.
    """
    clock = Clock(time.time_ns() // 1_000_000, SKEW_MS, PATIENCE_MS)
    evidence = Evidence(settings.topics, settings.limits, settings.team)
    evidence.extend(kafka.read_all(settings, logs.topics_of(settings)))
    report = evidence.report(clock, 0 if since_ms is None else clock.now_ms - since_ms)
    if as_json:
        show.print_json(report.as_dict())
    else:
        print_report(show.console(), report)
    return 0 if report.holds else 1


def print_report(screen: Console, report: Report) -> None:
    """The findings, then the counts."""
    workflow = None
    for finding in report.findings:
        if finding.workflow != workflow:
            workflow = finding.workflow
            screen.print(Text.assemble(("workflow ", "bold"), (show.clean(workflow), "bold")), soft_wrap=True)
        screen.print(_line(finding), soft_wrap=True)
    standing = [f"{report.counts[name]} {name}" for name in COUNTED[1:] if report.counts[name]]
    screen.print(Text(f"workflows: {report.counts['workflows']}" + (f" ({', '.join(standing)})" if standing else "")), soft_wrap=True)
    for name in ALSO_COUNTED:
        if report.counts[name] or name not in ("too_fresh", "not_kept"):
            screen.print(Text(f"{LABELS[name]}: {report.counts[name]}"), soft_wrap=True)
    causes = ", ".join(f"{count} {cause or 'without a cause'}" for cause, count in report.dead_letters.items())
    screen.print(Text(f"dead letters: {show.clean(causes) or 0}"), soft_wrap=True)
    screen.print(_verdict(report))


LABELS = {
    "duplicates_fenced": "duplicates that changed nothing",
    "later_decisions_ignored": "later decisions that were ignored",
    "too_fresh": "too fresh to judge, look again in a minute",
    "not_kept": "not judged, since the topics no longer hold all their records",
}


def _line(finding: Finding) -> Text:
    places = ", ".join(position.name for position in finding.at[:RECORDS_SHOWN])
    more = f" and {len(finding.at) - RECORDS_SHOWN} more" if len(finding.at) > RECORDS_SHOWN else ""
    return Text.assemble(
        (f"  ✗ {finding.invariant.value}: ", "red"), show.clean(finding.what, 400), (f"  [{show.clean(places)}{more}]", "dim")
    )


def _verdict(report: Report) -> Text:
    if report.holds:
        return Text("every invariant holds", style="bold green")
    count = len(report.findings)
    return Text(f"{count} broken; read a workflow's records with `loopwright trace WORKFLOW --json`", style="bold red")
