"""How starting and stopping looks: a live line per part with its seconds in a terminal, a plain line per part that got there elsewhere."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from loopwright.cli.show import clean
from loopwright.edges.platform.config import Progress

_DONE = {"ready": ("✓", "green"), "kept": ("✓", "green"), "stopped": ("✓", "green"), "failed": ("✗", "red")}
_WORDS = {"kept": "runs already"}
_PER_SECOND = 8


class Screen:
    """Shows progress on `console`. Told from several threads. Use as a context."""

    def __init__(self, console: Console, live: bool) -> None:
        self._console = console
        self._parts: dict[str, Progress] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=_PER_SECOND, transient=False) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, progress: Progress) -> None:
        """Take note of a change."""
        with self._lock:
            self._since.setdefault(progress.name, time.monotonic())
            self._parts[progress.name] = progress
        if self._live is None and progress.state in _DONE:
            line = Text(" ").join([Text(*_DONE[progress.state]), *_cells(progress, progress.seconds)])
            self._console.print(line, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            parts = list(self._parts.items())
        for name, part in parts:
            done = part.state in _DONE
            mark: RenderableType = Text(*_DONE[part.state]) if done else self._spinner
            table.add_row(mark, *_cells(part, part.seconds if done else time.monotonic() - self._since[name]))
        return table


def _cells(part: Progress, seconds: float) -> tuple[Text, Text, Text, Text]:
    style = _DONE.get(part.state, ("", "cyan"))[1]
    word = _WORDS.get(part.state, part.state)
    return Text(f"{part.name:<13}"), Text(f"{word:<12}", style), Text(f"{seconds:6.1f} s", "dim"), Text(clean(part.detail, 160), "dim")
