"""How things look in a terminal: safe text, durations, colours, the table of workflows."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loopwright.history.view import Status, WorkflowView

STYLES = {
    Status.NEW: "cyan",
    Status.ROUTING: "cyan",
    Status.CALLING: "bold blue",
    Status.PARKED: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.CANCELLED: "magenta",
    Status.REJECTED: "red",
}
PLAIN_WIDTH = 160


def console(stderr: bool = False) -> Console:
    """The console of this process. Where it is no terminal, lines are not broken at 80 columns."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=None if stream.isatty() else PLAIN_WIDTH)


def print_json(value: Any, lines: bool = False) -> None:
    """`value` as one JSON document on stdout; on one line where `lines` is set."""
    option = orjson.OPT_NON_STR_KEYS | (0 if lines else orjson.OPT_INDENT_2)
    sys.stdout.write(orjson.dumps(value, option=option, default=str).decode() + "\n")
    sys.stdout.flush()


def clean(said: object, limit: int = 0) -> str:
    """Text from a log, made safe for a terminal: control characters and direction marks are shown, not obeyed. Cut to `limit` letters."""
    shown = "".join(letter if _harmless(letter) else f"\\x{ord(letter):02x}" for letter in str(said))
    return shown if not limit or len(shown) <= limit else shown[: limit - 1] + "…"


def _harmless(letter: str) -> bool:
    return letter in " \u200c\u200d" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def duration(ms: float) -> str:
    """A duration as a person says it: 340 ms, 2.4 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
    seconds = int(ms / 1000)
    if ms < 1000:
        return f"{int(ms)} ms"
    if seconds < 60:
        return f"{ms / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def arrow_path(path: Sequence[str]) -> str:
    """Agents in order, with arrows."""
    return clean(" → ".join(path)) or "-"


def status_text(view: WorkflowView) -> Text:
    """What the workflow is doing, in its colour."""
    return Text(clean(view.activity), style=STYLES[view.status])


def workflow_table(views: Iterable[WorkflowView], now_ms: int, title: str = "") -> Table:
    """The table of `watch`."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("workflow", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("hop", justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("path")
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("score or reason", overflow="fold", max_width=48)
    for view in views:
        table.add_row(
            Text(clean(view.workflow)),
            str(view.hop),
            status_text(view),
            Text(arrow_path(view.path)),
            duration(view.age_ms(now_ms)),
            Text(outcome(view)),
        )
    return table


def outcome(view: WorkflowView) -> str:
    """The score where there is one, and the reason of an end or a stop."""
    score = "" if view.score is None else f"{view.score:g}"
    reason = "" if view.status is Status.COMPLETED and score else view.reason
    return clean(" · ".join(part for part in (score, reason) if part), 120)


def summary(views: Sequence[WorkflowView], dead_letters: int) -> str:
    """One line: how many workflows stand where."""
    counts: dict[str, int] = {}
    for view in views:
        word = "open" if view.open else view.status.value
        counts[word] = counts.get(word, 0) + 1
    order = ("open", "completed", "parked", "failed", "cancelled", "rejected")
    parts = [f"{counts[word]} {word}" for word in order if word in counts]
    letters = f"{dead_letters} dead letter{'' if dead_letters == 1 else 's'}"
    return f"{len(views)} workflow{'' if len(views) == 1 else 's'}: {', '.join(parts) or 'none yet'} · {letters}"
