"""The commands of the groups `loopwright agents` and `loopwright dlq`: options and help."""

from typing import Annotated

import typer

from loopwright.cli.options import AsJson, Folder, LetterId, NewKey, Reason, Reveal, given_settings

agents_app = typer.Typer(help="Agent definitions: what is published, whether a folder is right, publishing it.", no_args_is_help=True)
dlq_app = typer.Typer(help="Dead letters: what could not be processed, why, trying it again, dropping it.", no_args_is_help=True)


@dlq_app.command("list")
def dlq_list(
    cause: Annotated[str, typer.Option(help="Only those with this cause, as in invalid-json.", show_default=False)] = "",
    every: Annotated[bool, typer.Option("--all", help="Those that were retried or dropped as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the open dead letters, oldest first."""
    from loopwright.cli.dlq import list_letters

    list_letters(given_settings(), cause, every, as_json)


@dlq_app.command("show")
def dlq_show(letter: LetterId, reveal: Reveal = False, as_json: AsJson = False) -> None:
    """Show everything about a dead letter, with the original bytes."""
    from loopwright.cli.dlq import show_letter

    show_letter(given_settings(), letter, as_json, reveal)


@dlq_app.command("retry")
def dlq_retry(
    letter: Annotated[str, typer.Argument(help="Its position, or the beginning of its record's id.", metavar="ID")] = "",
    *,
    cause: Annotated[str, typer.Option(help="All open ones with this cause.", show_default=False)] = "",
    all_open: Annotated[bool, typer.Option("--all-open", help="All open ones.")] = False,
    edit: Annotated[str, typer.Option(help="Send these bytes instead of the original ones.", metavar="FILE|-", show_default=False)] = "",
    new_key: NewKey = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Try it again: a refused record is written again where it stood, a call that was given up resumes its parked workflow.

    A resumed workflow decides anew. The call of the same agent with the same input keeps its Idempotency-Key, unless --new-key is given.
    """
    from loopwright.cli.dlq import Chosen, retry

    if sum(map(bool, (letter, cause, all_open))) != 1:
        raise typer.BadParameter("name one dead letter, or give --cause, or --all-open", param_hint="ID")
    if edit and not letter:
        raise typer.BadParameter("a correction is for one dead letter: name it", param_hint="--edit")
    raise typer.Exit(retry(given_settings(), Chosen(letter, cause, new_key), edit, reason, as_json))


@dlq_app.command("drop")
def dlq_drop(
    letter: LetterId,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the log.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Mark a dead letter as dropped. It stays in the log."""
    from loopwright.cli.dlq import drop

    drop(given_settings(), letter, reason, as_json)


@agents_app.command("list")
def agents_list(
    team: Annotated[str, typer.Option(help="Only this team.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Show what is published."""
    from loopwright.cli.agents import list_agents

    list_agents(given_settings(), team, as_json)


@agents_app.command("check")
def agents_check(folder: Folder = None, as_json: AsJson = False) -> None:
    """Check the definitions in a folder; every problem at once, with file and line."""
    from loopwright.cli.agents import check
    from loopwright.cli.stack import team_dir, with_local_ports

    settings = with_local_ports(given_settings())
    check(settings, folder or team_dir(settings), as_json)


@agents_app.command("apply")
def agents_apply(
    folder: Folder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Publish what is unchanged too: an agent that was gone (410) is called again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish the definitions in a folder; takes effect without a restart."""
    from loopwright.cli.agents import apply
    from loopwright.cli.stack import team_dir, with_local_ports

    settings = with_local_ports(given_settings())
    apply(settings, folder or team_dir(settings), as_json, dry_run, again)
