"""`loopwright sources`: whether the sources file is right, and what its sources are: addresses of webhooks, next times of schedules."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loopwright.cli.options import AsJson, given_settings

if TYPE_CHECKING:
    from rich.table import Table

    from loopwright.settings import Settings
    from loopwright.sources.definition import Schedule, Source, Sources, Webhook

File = Annotated[Path | None, typer.Argument(help="The sources file. Default: LOOPWRIGHT_SOURCES_FILE.", show_default=False)]
app = typer.Typer(help="What starts workflows from outside: webhooks and schedules.", no_args_is_help=True)


@app.command("check")
def check(file: File = None, as_json: AsJson = False) -> None:
    """Check the sources file; every problem at once, with file and line. Looks for the webhooks' secrets too."""
    from rich.text import Text

    from loopwright.cli import show

    settings, path, sources = _read(file)
    missing = _missing_secrets(settings, sources)
    if missing:
        from loopwright.errors import NotFound

        where = settings.agents_secrets() or "the file that LOOPWRIGHT_SECRETS_FILE names"
        remedy = f"write into {where}, one a line: NAME: whsec_... (the secret that its sender signs with)"
        raise NotFound("deliveries could not be checked: there are no secrets for them", "\n    ".join(missing), remedy)
    if as_json:
        show.print_json({"file": str(path), "webhooks": list(sources.webhooks), "schedules": list(sources.schedules)})
        return
    screen = show.console()
    for name, webhook in sources.webhooks.items():
        screen.print(Text.assemble(("ok ", "green"), f"{name}  ", (f"webhook, signed with {webhook.secret_name}", "dim")))
    for name, schedule in sources.schedules.items():
        screen.print(Text.assemble(("ok ", "green"), f"{name}  ", (f"{_words(schedule)}, {schedule.zone}", "dim")))
    count = len(sources.webhooks) + len(sources.schedules)
    screen.print(Text(f"{count} source{'' if count == 1 else 's'} in {path} {'is' if count == 1 else 'are'} right", style="dim"))


@app.command("list")
def list_sources(
    file: File = None,
    times: Annotated[int, typer.Option(min=1, max=100, help="How many of the next times are shown.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Show webhooks with their addresses, and schedules with their next times."""
    from rich.text import Text

    from loopwright.cli import show

    settings, path, sources = _read(file)
    webhooks = [_webhook(settings, webhook) for webhook in sources.webhooks.values()]
    schedules = [_schedule(schedule, times) for schedule in sources.schedules.values()]
    if as_json:
        show.print_json({"file": str(path), "webhooks": webhooks, "schedules": schedules})
        return
    screen = show.console()
    if webhooks:
        screen.print(_table(webhooks, ("webhook", "team", "tenant", "address")))
    if schedules:
        rows = [{**row, "when": f"{row['cron']}, {row['zone']}", "next": "\n".join(row["next"])} for row in schedules]
        screen.print(_table(rows, ("schedule", "team", "tenant", "when", "next")))
    if not (webhooks or schedules):
        screen.print(Text(f"there are no sources in {path}", style="dim"))


def _read(file: Path | None) -> "tuple[Settings, Path, Sources]":
    from loopwright.cli.stack import with_local_ports
    from loopwright.errors import InvalidSettings
    from loopwright.sources.loading import load_sources

    settings = with_local_ports(given_settings())
    path = file or settings.sources_file
    if path is None:
        raise InvalidSettings("no sources file is named", "LOOPWRIGHT_SOURCES_FILE is not set", "name one: loopwright sources check FILE")
    return settings, path, load_sources(path)


def _missing_secrets(settings: "Settings", sources: "Sources") -> list[str]:
    """The webhooks whose secret is not there. Raises InvalidSettings for one that is no key."""
    from loopwright.edges.secrets import SecretsFile

    path = settings.agents_secrets()
    secrets = SecretsFile(path) if path is not None else None
    missing = []
    for webhook in sources.webhooks.values():
        if secrets is None or not secrets.texts(webhook.secret_name):
            missing.append(f"{webhook.name}: there is no secret {webhook.secret_name}")
        else:
            secrets.signing_keys(webhook.secret_name)
    return missing


def _source(source: "Source") -> dict[str, Any]:
    return {"team": source.team, "tenant": source.tenant, "actions": source.actions}


def _webhook(settings: "Settings", webhook: "Webhook") -> dict[str, Any]:
    address = f"{settings.gateway_url.rstrip('/')}/webhooks/{webhook.name}"
    return {"webhook": webhook.name, **_source(webhook), "address": address, "secret": webhook.secret_name}


def _schedule(schedule: "Schedule", times: int) -> dict[str, Any]:
    from itertools import islice

    from loopwright.clock import now_ms
    from loopwright.sources.times import instants, local_time

    following = islice(instants(schedule.cron, schedule.zone, now_ms()), times)
    return {
        "schedule": schedule.name,
        **_source(schedule),
        "cron": schedule.cron,
        "zone": schedule.zone,
        "words": _words(schedule),
        "missed": schedule.missed,
        "next": [local_time(at_ms, schedule.zone).isoformat() for at_ms in following],
    }


def _words(schedule: "Schedule") -> str:
    from loopwright.sources.times import in_words

    return in_words(schedule.cron)


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    from loopwright.cli import show

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = [str(row[column]) if row[column] is not None else "-" for column in columns]
        table.add_row(*(Text("\n".join(map(show.clean, cell.split("\n")))) for cell in cells))
    return table
