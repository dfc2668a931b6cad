"""`loopwright demo`: the whole product, from nothing to ten worked leads, and back to nothing."""

import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from loopwright.cli import logs, show
from loopwright.cli.demo_leads import read_leads, work
from loopwright.cli.demo_summary import LeadRow, as_json, summary_lines, totals, totals_lines
from loopwright.cli.progress import Screen
from loopwright.cli.stack import GATEWAY, at, stack_config
from loopwright.cli.watch import tell_changes
from loopwright.edges.platform.config import StackConfig
from loopwright.edges.platform.services import Endpoints
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import status
from loopwright.settings import Settings

INTERRUPTED = 130


@dataclass(frozen=True)
class DemoOptions:
    """`once`: stop after the summary. `leads`: a file of leads. `keep`: leave everything up. `deadline_s`: for all leads together."""

    once: bool = False
    leads: Path | None = None
    keep: bool = False
    deadline_s: float = 300.0
    as_json: bool = False


def demo(settings: Settings, options: DemoOptions) -> int:
    """Run the demo. The exit code: 0 only where every lead is accounted for. Raises what the platform raises, and PlatformFailed."""
    leads = read_leads(settings, options.leads)
    screen = None if options.as_json else show.console()
    config = stack_config(settings)
    was_up = status(config).well
    code = INTERRUPTED
    with _ended_by_signals():
        try:
            _say(screen, "Starting Kafka, Flink, the job, the agents and the gateway", "the first time this fetches what is missing")
            with Screen(*_quiet(screen)) as progress:
                endpoints = Stack(config, progress.tell).up()
            here = at(settings, endpoints)
            _say(screen, f"Sending {len(leads)} leads", f"each is a workflow of team {settings.team!r}")
            rows = work(here, leads, options.deadline_s, screen)
            code = 0 if all(row.accounted for row in rows) else 1
            _sum_up(here, endpoints, rows, screen)
            if not options.once:
                _stay(here, endpoints, rows, screen, stops=not (options.keep or was_up))
        except KeyboardInterrupt:
            if code == INTERRUPTED:
                _say(screen, "Interrupted", "")
        finally:
            _leave(config, screen, options.keep or was_up)
    return code


def _say(screen: Console | None, title: str, aside: str) -> None:
    if screen is not None:
        screen.print(Text.assemble(("\n" + title, "bold"), (f"  {aside}" if aside else "", "dim")))


def routing_words(settings: Settings, rows: Sequence[LeadRow]) -> str:
    """How decisions were made, as far as a model or its stand-in had a part in them."""
    steps = [step for row in rows if row.view for step in row.view.steps if step.kind == "decision" and not step.ignored]
    models = sorted({str(step.detail["model"]) for step in steps if step.detail["strategy"] == "llm" and step.detail["model"]})
    if models:
        return f"llm ({', '.join(map(show.clean, models))})"
    if settings.llm_base_url:
        return f"llm ({show.clean(settings.llm_base_url)}), which was never asked"
    return "embedding, offline (LOOPWRIGHT_LLM_BASE_URL sets a model)"


def _sum_up(settings: Settings, endpoints: Endpoints, rows: Sequence[LeadRow], screen: Console | None) -> None:
    routing = routing_words(settings, rows)
    if screen is None:
        urls = {"flink": endpoints.flink, "kafka": endpoints.kafka, **endpoints.services}
        show.print_json({"leads": as_json(rows), "totals": totals(rows), "routing": routing, "urls": urls})
        return
    _say(screen, "What became of the leads", "")
    for line in (*summary_lines(rows), Text(), *totals_lines(rows, routing)):
        screen.print(line)


def command() -> str:
    """What a person types to run this program."""
    return "loopwright" if shutil.which("loopwright") else sys.argv[0]


def _stay(settings: Settings, endpoints: Endpoints, rows: Sequence[LeadRow], screen: Console | None, stops: bool) -> None:
    if screen is not None:
        _next_steps(settings, endpoints, rows, screen, stops)
    records = logs.follow(settings, lambda: False, from_beginning=False)
    tell_changes(logs.empty(settings), records, screen, started_only=True)


def _next_steps(settings: Settings, endpoints: Endpoints, rows: Sequence[LeadRow], screen: Console, stops: bool) -> None:
    name = command()
    places = [("lead form", endpoints.services.get(GATEWAY, settings.gateway_url)), ("Flink", endpoints.flink)]
    places += [("Kafka", endpoints.kafka), ("mails that were sent", str(settings.home / "outbox")), ("logs", str(settings.home / "logs"))]
    _say(screen, "Everything is up", "")
    for what, where in places:
        screen.print(Text.assemble((f"  {what:<22}", "dim"), where), soft_wrap=True)
    lead = '{"name": "Ada", "email": "ada@engines.example", "company_name": "Engines Ltd", "lead_source": "webinar"}'
    _say(screen, "Try next", "in another terminal")
    for line in (f"{name} trace {rows[0].workflow}", f"{name} watch", f"echo '{lead}' | {name} send - --wait"):
        screen.print(Text(f"  {line}", style="cyan"), soft_wrap=True)
    end = "Ctrl-C stops everything" if stops else "Ctrl-C ends this; what runs stays up"
    _say(screen, "New workflows show up here", end)


def _leave(config: StackConfig, screen: Console | None, stays: bool) -> None:
    if stays:
        _say(screen, "What runs stays up", f"`{command()} down` stops it")
        return
    _say(screen, "Stopping", "the data stays")
    with _deaf(), Screen(*_quiet(screen)) as progress:
        Stack(config, progress.tell).down()


def _quiet(screen: Console | None) -> tuple[Console, bool]:
    """The console for progress, and whether it is live; one that shows nothing for None."""
    return (Console(quiet=True), False) if screen is None else (screen, screen.is_terminal)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does, so that it never leaves anything behind."""
    before = {name: signal.signal(name, _interrupt) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    """Stopping is not interrupted: half a stop would leave processes behind."""
    before = {name: signal.signal(name, signal.SIG_IGN) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
