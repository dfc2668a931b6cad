"""The command `loopwright`: options and help. What a command does stands in the module of its name, imported when it runs.

Errors are printed in three parts (what, why, remedy) on stderr, or as JSON on stdout with --json. Exit codes: 0 fine, 1 the thing asked
about is bad, 2 usage, 3 a needed service is not reachable.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from loopwright.cli.cluster import app as cluster_app
from loopwright.cli.groups import agents_app, dlq_app
from loopwright.cli.keys import app as keys_app
from loopwright.cli.options import AsJson, NewKey, Reason, Reveal, Workflow, given_settings, millis, moment
from loopwright.cli.schemas import app as schemas_app
from loopwright.cli.sources import app as sources_app
from loopwright.cli.topics import app as topics_app
from loopwright.errors import LoopwrightError
from loopwright.masking import masked
from loopwright.process_log import mask_logs

app = typer.Typer(
    name="loopwright",
    help="A durable orchestrator for teams of AI agents, on Kafka and Flink. New here? Run `loopwright demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(agents_app, name="agents")
app.add_typer(dlq_app, name="dlq")
app.add_typer(keys_app, name="keys")
app.add_typer(sources_app, name="sources")
app.add_typer(schemas_app, name="schemas")
app.add_typer(cluster_app)
app.add_typer(topics_app, name="topics")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"loopwright {version('loopwright')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Read the options that come before the command."""


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything after the summary.")] = False,
    leads: Annotated[Path | None, typer.Option(help="Leads to send: JSON, an array, or JSON lines.", show_default=False)] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end.")] = False,
    timeout: Annotated[str, typer.Option(help="The longest time in which every lead has to be accounted for.")] = "5m",
    as_json: AsJson = False,
) -> None:
    """Kafka, Flink, five SDR agents and ten leads: started, worked before your eyes, and summed up."""
    from loopwright.cli.demo import DemoOptions, demo

    timeout_ms = millis(timeout, "--timeout") or 0
    raise typer.Exit(demo(given_settings(), DemoOptions(once, leads, keep, timeout_ms / 1000, as_json)))


@app.command()
def up(
    no_supervisor: Annotated[bool, typer.Option("--no-supervisor", help="Leave nothing behind that starts again what died.")] = False,
    registry: Annotated[bool, typer.Option("--registry", help="Run a schema registry too, with all our schemas in it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start Kafka, Flink, the agents, the gateway and the job on this machine."""
    from loopwright.cli import platform

    raise typer.Exit(platform.up(given_settings(), as_json, supervisor=not no_supervisor, registry=registry))


@app.command()
def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete the data as well: topics, state, logs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop what `up` started. The data stays."""
    from loopwright.cli import platform

    raise typer.Exit(platform.down(given_settings(), as_json, wipe))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show what runs, where, and whether it is well."""
    from loopwright.cli import platform

    raise typer.Exit(platform.status(given_settings(), as_json))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: what is missing, and how to mend it."""
    from loopwright.cli import platform

    raise typer.Exit(platform.doctor(given_settings(), as_json))


@app.command()
def send(
    file: Annotated[str, typer.Argument(help="JSON object, JSON array or JSON lines; - for standard input.", metavar="FILE|-")],
    *,
    team: Annotated[str, typer.Option(help="The team that is to work it.", show_default=False)] = "",
    workflow: Annotated[str, typer.Option("--id", help="The workflow's id. Default: a new one.", show_default=False)] = "",
    deadline: Annotated[str | None, typer.Option(help="Time for the whole workflow, as in 90s or 10m.", show_default=False)] = None,
    hop_limit: Annotated[int | None, typer.Option(min=1, help="Decisions at most.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until it ends; exit code 1 when it did not complete.")] = False,
    timeout: Annotated[str, typer.Option(help="The longest wait with --wait.")] = "10m",
    raw: Annotated[bool, typer.Option("--raw", help="Send the bytes as they are: a bare record, whatever is in it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a workflow for each document in FILE."""
    from loopwright.cli.send import SendOptions, send

    if raw and (team or workflow or deadline or hop_limit):
        raise typer.BadParameter("a bare record has no envelope to hold --team, --id, --deadline or --hop-limit", param_hint="--raw")
    wait_s = (millis(timeout, "--timeout") or 0) / 1000
    options = SendOptions(team, workflow, millis(deadline, "--deadline"), hop_limit, wait, wait_s, raw)
    raise typer.Exit(send(given_settings(), file, options, as_json))


@app.command()
def encrypt(
    file: Annotated[str, typer.Argument(help="One JSON object; - for standard input.", metavar="FILE|-")],
    workflow: Annotated[str, typer.Option("--id", help="The workflow that it is to start; it can be read in no other.")],
    team: Annotated[str, typer.Option(help="Its team. Default: LOOPWRIGHT_TEAM.", show_default=False)] = "",
) -> None:
    """Print a document with its sensitive fields encrypted, for a producer of your own that writes to Kafka."""
    from loopwright.cli.keys import encrypt

    encrypt(file, team, workflow)


@app.command()
def schedule(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where /health is served.")] = 8802,
    host: Annotated[str, typer.Option(help="The address that it listens on.")] = "127.0.0.1",
) -> None:
    """Start workflows by the schedules of LOOPWRIGHT_SOURCES_FILE, until it is stopped. `up` runs it by itself."""
    from loopwright.cli.schedule import schedule
    from loopwright.process_log import log_to_stderr

    log_to_stderr()
    raise typer.Exit(schedule(given_settings(), port, host))


@app.command()
def watch(
    once: Annotated[bool, typer.Option("--once", help="Print the workflows as they stand, and end.")] = False,
    since: Annotated[str | None, typer.Option(help="Leave out those that ended longer ago, as in 10m.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Show all workflows live: hop, agent, status, path, age."""
    from loopwright.cli.watch import watch

    watch(given_settings(), as_json, once, millis(since, "--since"))


@app.command()
def trace(
    workflow: Workflow,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print steps as they come, until it ends.")] = False,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show each message, decision, call and result of a workflow, with the reasons."""
    from loopwright.cli.trace import trace

    trace(given_settings(), workflow, as_json, follow, reveal)


@app.command()
def verify(
    since: Annotated[
        str | None, typer.Option(help="Only workflows with a record since then: 2h, or 2026-01-31T12:00:00Z.", show_default=False)
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(help="Agents' stores to ask: PATH or URL. Default: the local platform's.", metavar="STORE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove from the logs that nothing was lost, done twice or made up; exit code 1 when something was.

    The agents' Idempotency-Key stores are the witness for effects. Give every store of an agent, or none of it.
    """
    from loopwright.cli.verify import verify

    raise typer.Exit(verify(given_settings(), moment(since, "--since"), tuple(store or ()), as_json))


@app.command()
def sql(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Run this script, and end.", show_default=False)] = None,
    statement: Annotated[str, typer.Option("--execute", "-e", help="Run this statement, and end.", show_default=False)] = "",
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Queries go on with what comes, until they are stopped.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it as it would be run, without secrets.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the pipeline that the script is; its next run goes on there.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin the pipeline that the script is without what it kept.")] = False,
) -> None:
    """Open Flink's SQL client on the running platform: the topics as tables, and views over them. Exit code 1 when a statement failed.

    A script that begins with `-- pipeline: NAME` becomes a job that runs on by itself: see docs/connectors.md.
    """
    from loopwright.cli.sql import SqlOptions, sql

    if file and statement:
        raise typer.BadParameter("give a script or a statement, not both", param_hint="--file")
    if (dry_run or stop or fresh) and not (file or statement):
        raise typer.BadParameter("give the script", param_hint="--file")
    raise typer.Exit(sql(given_settings(), SqlOptions(file, statement, follow, dry_run, stop, fresh)))


@app.command()
def audit(
    since: Annotated[str | None, typer.Option(help="Only what was refused that lately, as in 10m.", show_default=False)] = None,
    tenant: Annotated[str, typer.Option(help="Only this tenant.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Show who was refused what, where and why."""
    from loopwright.cli.audit import audit

    audit(given_settings(), millis(since, "--since"), tenant, as_json)


@app.command()
def resume(
    workflow: Workflow,
    from_hop: Annotated[
        int | None,
        typer.Option("--from", min=1, help="Run again from this hop on, also one that has ended.", metavar="HOP", show_default=False),
    ] = None,
    new_key: NewKey = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Set a parked workflow going again, or run any that rests again from one of its hops on; agents that failed may be called again.

    A call that the workflow has made before, of the same agent with the same input, keeps its Idempotency-Key: the agent answers from its
    store, and nothing is done twice.
    """
    from loopwright.cli.control import Resumption, resume

    resume(given_settings(), workflow, Resumption(from_hop, new_key, reason), as_json)


@app.command()
def cancel(workflow: Workflow, reason: Reason = "", as_json: AsJson = False) -> None:
    """End a workflow: no further agent is called."""
    from loopwright.cli.control import cancel

    cancel(given_settings(), workflow, reason, as_json)


def main() -> None:
    """The entry point: run the command, and turn every error into a message and an exit code."""
    mask_logs()
    try:
        app()
    except LoopwrightError as error:
        sys.exit(_report(error))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from loopwright.cli.crash import keep_traceback

        sys.exit(_report(keep_traceback(error)))


def _report(error: LoopwrightError) -> int:
    if "--json" in sys.argv:
        import orjson

        told = {name: masked(said) for name, said in error.as_dict().items()}
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return error.exit_code
    from rich.text import Text

    from loopwright.cli.show import console

    screen = console(stderr=True)
    screen.print(Text.assemble(("error: ", "bold red"), (_clean(error.what), "bold")), soft_wrap=True)
    for label, said in (("why", error.why), ("remedy", error.remedy)):
        if said:
            screen.print(Text.assemble((f"  {label}: ", "yellow" if label == "why" else "green"), _clean(said)), soft_wrap=True)
    return error.exit_code


def _clean(said: str) -> str:
    """Several lines, each made safe for a terminal, without secrets."""
    from loopwright.cli.show import clean

    return "\n".join(clean(line) for line in masked(said).split("\n"))
