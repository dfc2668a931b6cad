"""The leads of the demo: read, sent, and followed live until each has come to rest."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from loopwright.cli import logs
from loopwright.cli.demo_summary import LeadRow, change_line, live_table
from loopwright.cli.documents import documents_in, read_input
from loopwright.cli.send import SendOptions, new_id, start_emit, start_message
from loopwright.cli.stack import team_dir
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.entrance import Entrance
from loopwright.errors import NotFound, PlatformFailed
from loopwright.history.timeline import Timeline
from loopwright.settings import Settings

REFRESH_S = 0.2
SETTLE_S = 1.0
Show = Callable[[Sequence[LeadRow]], None]


def read_leads(settings: Settings, file: Path | None) -> list[tuple[str, dict[str, Any]]]:
    """Id and document of each lead: of `file`, or the samples beside the team's definitions. Raises NotFound, InvalidDocument."""
    run = new_id()[:4]
    if file is not None:
        documents = documents_in(read_input(str(file)), str(file))
        return [(f"lead-{run}-{number:02d}", document) for number, document in enumerate(documents, 1)]
    folder = team_dir(settings) / "leads"
    files = sorted(folder.glob("*.json"))
    if not files:
        remedy = "run this in the folder of the repository, or name a file of your own with --leads"
        raise NotFound("the sample leads are not there", f"no *.json in {folder}", remedy)
    return [(f"{one.stem}-{run}", document) for one in files for document in documents_in(one.read_bytes(), str(one))]


class Leads:
    """The leads that were sent, and where they stand."""

    def __init__(self, settings: Settings, leads: Sequence[tuple[str, dict[str, Any]]], timeline: Timeline) -> None:
        self._settings, self._leads, self._timeline = settings, leads, timeline

    def send(self, now_ms: int) -> None:
        """Start a workflow for each."""
        options = SendOptions(team=self._settings.team)
        entrance = Entrance.now(self._settings)
        starts = [entrance.sealed(start_message(document, name, options, now_ms)) for name, document in self._leads]
        emits = [start_emit(message, self._settings) for message in starts]
        with kafka.Producer(self._settings) as producer:
            producer.send_many(emits)

    def rows(self) -> list[LeadRow]:
        """Each lead with what the logs say of it so far."""
        return [LeadRow(name, document, self._timeline.view(name) if name in self._timeline else None) for name, document in self._leads]


def work(settings: Settings, leads: Sequence[tuple[str, dict[str, Any]]], deadline_s: float, screen: Console | None) -> list[LeadRow]:
    """Send the leads and show them (`screen` None: silently) until all rest. Raises PlatformFailed at the deadline: what is stuck."""
    timeline, deadline = logs.empty(settings), time.monotonic() + deadline_s
    sent = Leads(settings, leads, timeline)
    records = logs.follow(settings, lambda: time.monotonic() > deadline, from_beginning=False)
    sent.send(now_ms())
    rested_at = shown_at = 0.0
    with _shown(screen) as show_rows:
        for record in records:
            if record is not None:
                timeline.add(record)
            now = time.monotonic()
            if record is None or now - shown_at > REFRESH_S:
                shown_at, rows = now, sent.rows()
                show_rows(rows)
                rested_at = (rested_at or now) if all(row.resting for row in rows) else 0.0
                if rested_at and (_results_seen(rows) or now - rested_at > SETTLE_S):
                    return rows
    raise _stuck(sent.rows(), deadline_s, settings)


def _results_seen(rows: Sequence[LeadRow]) -> bool:
    """Whether the result record of every ended workflow was seen: it comes a moment after the record that ended it."""
    return all(row.view is not None and (not row.view.ended or any(step.kind == "result" for step in row.view.steps)) for row in rows)


def _stuck(rows: Sequence[LeadRow], deadline_s: float, settings: Settings) -> PlatformFailed:
    left = [row for row in rows if not row.resting]
    said = "; ".join(f"{row.name} ({row.workflow}): {row.view.activity if row.view else 'not seen in the logs'}" for row in left)
    what_next = "`loopwright trace` shows what a workflow waits for, `loopwright status` whether everything runs"
    remedy = f"{what_next}; the logs are in {settings.home / 'logs'}"
    return PlatformFailed(f"{len(left)} of {len(rows)} leads were not accounted for within {deadline_s:g} s", said, remedy)


@contextmanager
def _shown(screen: Console | None) -> Iterator[Show]:
    if screen is None:
        yield _nothing
    elif screen.is_terminal:
        with Live(Text("sending ..."), console=screen, auto_refresh=False, transient=True) as live:
            yield lambda rows: live.update(_picture(rows), refresh=True)
    else:
        yield _Lines(screen)


def _picture(rows: Sequence[LeadRow]) -> Group:
    done = sum(row.resting for row in rows)
    return Group(live_table(rows, now_ms()), Text(f"\n{done} of {len(rows)} at rest", style="dim"))


def _nothing(_rows: Sequence[LeadRow]) -> None:
    """Show nothing."""


class _Lines:
    """Changes as lines, for where there is no terminal."""

    def __init__(self, screen: Console) -> None:
        self._screen, self._began, self._told = screen, time.monotonic(), dict[str, str]()

    def __call__(self, rows: Sequence[LeadRow]) -> None:
        for row in rows:
            state = f"{row.view.activity} {row.view.hop if row.view.open else ''}" if row.view else ""
            if state and self._told.get(row.workflow) != state:
                self._told[row.workflow] = state
                self._screen.print(change_line(row, int((time.monotonic() - self._began) * 1000)), soft_wrap=True)
