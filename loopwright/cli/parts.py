"""The parts of the platform while they start or stop: live in a terminal, a line for each elsewhere."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from loopwright.cli import show
from loopwright.edges.platform.config import Progress

DONE = {"ready": ("✓", "green"), "kept": ("✓", "green"), "stopped": ("✓", "green"), "failed": ("✗", "red")}
WORDS = {"kept": "runs already"}


class Parts:
    """An observer of the platform that shows what it is told; `screen` None shows nothing. Use it as a context while something happens."""

    def __init__(self, screen: Console | None) -> None:
        self._screen = screen
        self._told: dict[str, Progress] = {}
        self._lock = threading.Lock()
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    def __call__(self, progress: Progress) -> None:
        """Take note; called from several threads."""
        with self._lock:
            self._told[progress.name] = progress
            if self._screen is not None and self._live is None and progress.state in DONE:
                self._screen.print(line_of(progress), soft_wrap=True)

    def __enter__(self) -> Self:
        self._told.clear()
        if self._screen is not None and self._screen.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._screen, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            told = list(self._told.values())
        for progress in told:
            mark: RenderableType = Text(*DONE[progress.state]) if progress.state in DONE else self._spinner
            table.add_row(mark, *_cells(progress))
        return table


def _cells(progress: Progress) -> tuple[Text, Text, Text, Text]:
    word = WORDS.get(progress.state, progress.state)
    return (
        Text(f"{progress.name:<9}"),
        Text(f"{word:<12}", style=DONE.get(progress.state, ("", "cyan"))[1]),
        Text(f"{show.duration(progress.seconds * 1000):>8}", style="dim"),
        Text(show.clean(progress.detail, 120), style="dim"),
    )


def line_of(progress: Progress) -> Text:
    """A part that has got somewhere, as a line of a log."""
    return Text(" ").join([Text(*DONE[progress.state]), *_cells(progress)])
