"""`loopwright topics`: the topics beside the settings, and making them so. For a Kafka that is not the local platform's."""

from collections.abc import Sequence
from typing import Annotated

import typer

from loopwright.cli.options import AsJson, given_settings

app = typer.Typer(help="Topics: whether they are there and as the settings say, making them so.", no_args_is_help=True)


@app.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """Show the topics and how they differ from the settings. Exit code 1 where one is missing or `apply` would alter one."""
    from loopwright.cli.topics_table import Look, show_look

    look = Look.at(given_settings())
    show_look(look, as_json)
    raise typer.Exit(1 if look.missing or look.alterable else 0)


@app.command("apply")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the topics that are missing, and give the others the settings of this product. Their partitions stay as they are."""
    from loopwright.cli.topics_table import Look, show_changes
    from loopwright.edges.topic_settings import settle_topics

    settings = given_settings()
    look = Look.at(settings)
    made: Sequence[str] = look.missing
    if not dry_run:
        made = settle_topics(settings, look.wanted, alter_present=True)
    show_changes(made, look.alterable, dry_run, as_json)
