"""How starting and stopping looks: a live line per part with its seconds in a terminal, a plain line per change elsewhere."""

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loopwright.edges.platform.config import Progress

_BUSY = ("waiting", "starting", "stopping")
_STYLES = {"ready": "green", "kept": "green", "stopped": "dim", "failed": "red", "waiting": "dim"}
_PER_SECOND = 8


class Screen:
    """Shows progress on `console`. Told from several threads. Use as a context."""

    def __init__(self, console: Console, live: bool) -> None:
        self._console = console
        self._parts: dict[str, Progress] = {}
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()
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
            before = self._parts.get(progress.name)
            self._since.setdefault(progress.name, time.monotonic())
            self._parts[progress.name] = progress
        if self._live is None and (before is None or before.state != progress.state):
            line = f"{progress.seconds:6.1f} s  {progress.name:<16} {progress.state:<9} {progress.detail}"
            self._console.print(line.rstrip(), markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        with self._lock:
            for name, part in self._parts.items():
                busy = part.state in _BUSY
                seconds = time.monotonic() - self._since[name] if busy else part.seconds
                table.add_row(name, Text(part.state, style=_STYLES.get(part.state, "yellow")), f"{seconds:5.1f} s", Text(part.detail))
        return table
