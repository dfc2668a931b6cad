"""`loopwright verify`: proof from the logs that the job did what it says. Exit code 1 when an invariant is broken."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from loopwright.agent.idempotency import KEEP_MS
from loopwright.agent.idempotency.opening import FILE, open_store, shown
from loopwright.cli import logs, show
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.history.findings import Clock, Finding
from loopwright.history.invariants import ALSO_COUNTED, COUNTED, Evidence, Report
from loopwright.history.witness import Execution, Witness
from loopwright.settings import Settings

SKEW_MS = 5_000
PATIENCE_MS = 60_000
RECORDS_SHOWN = 6
NOT_JUDGED = ("not_ours", "before_the_logs")


def verify(settings: Settings, since_ms: int | None, stores: Sequence[str], as_json: bool) -> int:
    """Read the logs, ask the agents' stores, and report every broken invariant. The exit code.

    `since_ms` (since the epoch): of workflows with a record since then alone. `stores` are addresses (`open_store`); none: the local
    platform's, where it has one. Raises NotFound, Unreachable, StoreUnavailable, InvalidSettings.
    """
    clock = Clock(now_ms(), SKEW_MS, PATIENCE_MS)
    evidence = Evidence(settings.topics, settings.limits, settings.team)
    evidence.extend(kafka.read_all(settings, logs.topics_of(settings)))
    asked = tuple(stores) or local_stores(settings)
    report = evidence.report(clock, since_ms or 0, Witness(executions(asked), KEEP_MS) if asked else None)
    if as_json:
        show.print_json(report.as_dict())
    else:
        print_report(show.console(), report)
    return 0 if report.holds else 1


def local_stores(settings: Settings) -> tuple[str, ...]:
    """The store that the settings name, or that of the local platform's agents where these are the logs of it."""
    named = settings.agent_store.get_secret_value()
    if named:
        return (named,)
    file = settings.home / "run" / "agents" / FILE
    return (str(file),) if file.exists() and not settings.kafka.bootstrap_servers else ()


def executions(stores: Iterable[str]) -> Iterator[Execution]:
    """Every call that these stores remember; they are not changed. Raises StoreUnavailable, InvalidSettings."""
    for address in stores:
        store = open_store(address, reading=True)
        try:
            for one in store.executions():
                whose, answer = one.cause, one.kept.body if one.kept else None
                yield Execution(shown(address), one.agent, one.key, whose.workflow, whose.hop, whose.branch, one.made_ms, answer)
        finally:
            store.close()


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
    if report.witness:
        told = [f"{report.witness[name]} {LABELS[name]}" for name in NOT_JUDGED if report.witness[name]]
        screen.print(Text(f"executions in the agents' stores: {report.witness['executions']}" + (f" ({', '.join(told)})" if told else "")))
    causes = ", ".join(f"{count} {cause or 'without a cause'}" for cause, count in report.dead_letters.items())
    screen.print(Text(f"dead letters: {show.clean(causes) or 0}"), soft_wrap=True)
    screen.print(_verdict(report))


LABELS = {
    "duplicates_fenced": "duplicates that changed nothing",
    "later_decisions_ignored": "later decisions that were ignored",
    "too_fresh": "too fresh to judge, look again in a minute",
    "not_kept": "not judged, since the topics no longer hold all their records",
    "not_ours": "called by somebody else",
    "before_the_logs": "older than what the topics hold",
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
