"""`loopwright watch`: all workflows, live. A table in a terminal, changes as lines elsewhere."""

import time
from collections.abc import Iterable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from loopwright.cli import logs, show
from loopwright.clock import now_ms
from loopwright.history.steps import Kind
from loopwright.history.timeline import Timeline
from loopwright.history.view import WorkflowView
from loopwright.settings import Settings
from loopwright.step import Record

REFRESH_S = 0.25
FIRST_S = 3.0  # so that what is long past is told as it stands now, not step by step
MARGIN_LINES = 5


def watch(settings: Settings, as_json: bool, once: bool, since_ms: int | None) -> None:
    """Show the workflows until Ctrl-C (`once`: as they stand now). `since_ms` leaves out those that ended longer ago than that."""
    screen = show.console()
    try:
        if once:
            _once(settings, screen, as_json, since_ms)
        elif as_json or not screen.is_terminal:
            _as_lines(settings, screen, as_json, since_ms)
        else:
            _live(settings, screen, since_ms)
    except KeyboardInterrupt:
        if not as_json:
            show.console(stderr=True).print("stopped watching; the workflows go on", style="dim")


def chosen(views: Iterable[WorkflowView], since_ms: int | None, now: int) -> list[WorkflowView]:
    """Open ones first, then the others, the newest first; those that rested for longer than `since_ms` are left out."""
    kept = [view for view in views if view.open or since_ms is None or now - view.updated_ms <= since_ms]
    return sorted(kept, key=lambda view: not view.open)


def _once(settings: Settings, screen: Console, as_json: bool, since_ms: int | None) -> None:
    timeline, now = logs.load(settings), now_ms()
    views = chosen(timeline.views(), since_ms, now)
    if as_json:
        show.print_json({"workflows": [view.as_dict() for view in views], "dead_letters": timeline.dead_letters})
        return
    screen.print(show.workflow_table(views, now))
    screen.print(Text(show.summary(views, timeline.dead_letters), style="dim"))


def _as_lines(settings: Settings, screen: Console, as_json: bool, since_ms: int | None) -> None:
    records = logs.follow(settings, lambda: False)
    tell_changes(logs.empty(settings), records, screen, as_json, since_ms)


def tell_changes(
    timeline: Timeline,
    records: Iterator[Record | None],
    screen: Console | None,
    as_json: bool = False,
    since_ms: int | None = None,
    started_only: bool = False,
) -> None:
    """Print each change of a workflow as a line, or as JSON; `screen` None without `as_json`: nothing. Ends when `records` do.

    `started_only` leaves out workflows whose start is not among the records, of which the end alone may be seen.
    """
    told: dict[str, tuple[str, int, int]] = {}
    for changed in _changes(timeline, records, FIRST_S):
        for name in changed:
            view = timeline.view(name)
            state = (view.activity, view.hop, len(view.path))
            old = since_ms is not None and not view.open and now_ms() - view.updated_ms > since_ms
            unseen = started_only and not any(step.kind is Kind.STARTED for step in view.steps)
            if told.get(name) == state or old or unseen:
                continue
            told[name] = state
            if as_json:
                show.print_json(view.as_dict(), lines=True)
            elif screen is not None:
                screen.print(_line(view), soft_wrap=True)


def _line(view: WorkflowView) -> Text:
    clock = time.strftime("%H:%M:%S", time.localtime(view.updated_ms / 1000))
    line = Text.assemble((clock, "dim"), f"  {show.clean(view.workflow)}  hop {view.hop}  ", show.status_text(view))
    line.append(f"  {show.arrow_path(view.path)}", style="dim")
    said = show.outcome(view)
    return line.append(f"  {said}") if said and not view.open else line


def _changes(timeline: Timeline, records: Iterator[Record | None], first_s: float = REFRESH_S) -> Iterator[list[str]]:
    """The names of the workflows that changed, gathered until the log pauses or a quarter of a second (at first: `first_s`) has passed."""
    changed: dict[str, None] = {}
    last = time.monotonic() + first_s - REFRESH_S
    for record in records:
        name = timeline.add(record) if record is not None else None
        if name is not None:
            changed[name] = None
        if record is None or time.monotonic() - last > REFRESH_S:
            yield list(changed)
            changed.clear()
            last = time.monotonic()


def _live(settings: Settings, screen: Console, since_ms: int | None) -> None:
    timeline = logs.empty(settings)
    records = logs.follow(settings, lambda: False)
    with Live(Text("reading the logs ..."), console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        for _ in _changes(timeline, records):
            live.update(picture(timeline, screen.size.height - MARGIN_LINES, since_ms), refresh=True)


def picture(timeline: Timeline, height: int, since_ms: int | None = None) -> Group:
    """The table, cut to `height` rows, with the summary below."""
    now = now_ms()
    views = chosen(timeline.views(), since_ms, now)
    shown = views[: max(height, 3)]
    more = f" · {len(views) - len(shown)} more not shown" if len(shown) < len(views) else ""
    footer = Text(show.summary(views, timeline.dead_letters) + more + " · Ctrl-C ends", style="dim")
    return Group(show.workflow_table(shown, now), Text(), footer)
