"""What several commands take: their options and arguments, and how a text becomes a length of time or a moment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loopwright.clock import now_ms

if TYPE_CHECKING:
    from loopwright.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else there.")]
Folder = Annotated[
    Path | None, typer.Argument(help="Folder with one YAML file per agent. Default: the team that comes along.", show_default=False)
]
Workflow = Annotated[str, typer.Argument(help="The workflow's id, or enough of its beginning.")]
LetterId = Annotated[str, typer.Argument(help="Its position, as in 0-17, or enough of the beginning of its record's id.", metavar="ID")]
NewKey = Annotated[bool, typer.Option("--new-key", help="Give repeated calls new Idempotency-Keys: their effects happen again.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show encrypted values in clear, with the keys of LOOPWRIGHT_KEYS_FILE.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the log.", show_default=False)]


def given_settings() -> "Settings":
    """The settings of whoever runs the command; imported when they are asked for, since a help text needs none."""
    from loopwright.settings import read_settings

    return read_settings()


def millis(text: str | None, option: str) -> int | None:
    """A length of time such as 90s, in ms. Raises BadParameter naming the option."""
    if text is None:
        return None
    from loopwright.registry.durations import to_ms

    try:
        return to_ms(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from error


def moment(text: str | None, option: str) -> int | None:
    """A moment such as 2h (ago) or 2026-01-31T12:00:00Z, in ms since the epoch. Raises BadParameter naming the option."""
    if text is None:
        return None

    from loopwright.registry.durations import moment_ms

    try:
        return moment_ms(text, now_ms())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from error
