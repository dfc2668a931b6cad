"""`loopwright sql`: Flink's own SQL client on the running platform, with the topics as tables and views over them."""

from dataclasses import dataclass
from pathlib import Path

from loopwright.cli.stack import stack_config
from loopwright.edges.kafka import bootstrap_servers
from loopwright.edges.platform import sql as client
from loopwright.edges.platform.code import ROOT
from loopwright.edges.platform.sql import Reading
from loopwright.edges.platform.stack import Stack
from loopwright.edges.private_file import write_private
from loopwright.errors import LoopwrightError, NotFound, Unreachable
from loopwright.settings import Settings

INIT = (ROOT / "sql" / "init.sql", ROOT / "sql" / "functions.sql")


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """A script to run, or one statement; neither: a prompt. `follow`: tables have no end."""

    file: Path | None = None
    statement: str = ""
    follow: bool = False


def sql(settings: Settings, options: SqlOptions) -> int:
    """Open the prompt, or run a script or statement. Raises PlatformFailed where one failed, Unreachable where no platform runs."""
    stack, reading = Stack(stack_config(settings)), Reading(options.follow)
    values = client.variables(settings, bootstrap_servers(settings), reading)
    _there(stack)
    room = stack.layout.run / "sql"
    before = write_private(room / "init.sql", client.preamble(reading, values, INIT))
    history = write_private(room / "history", "")  # else it keeps one in the home folder, with all that init.sql says
    wanted = _wanted(options)
    arguments = ["embedded", "-i", str(before), "--history", str(history)]
    if wanted is None:
        return client.interactive(*_client(stack, *arguments))
    file = write_private(room / "script.sql", client.filled(wanted, values, str(options.file or "the statement")))
    client.script(*_client(stack, *arguments, "-f", str(file)), stack.layout.log("sql-client"))
    return 0


def _client(stack: Stack, *arguments: str) -> tuple[list[str], dict[str, str]]:
    stack.jars.sync()
    return stack.flink().programs.sql_client(stack.jars.paths("sql-client"), *arguments)


def _wanted(options: SqlOptions) -> str | None:
    if options.statement:
        return options.statement.rstrip().removesuffix(";") + ";\n"
    if options.file is None:
        return None
    try:
        return options.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound("the script cannot be read", str(error), "give the path of a file of SQL statements, in UTF-8") from error


def _there(stack: Stack) -> None:
    """Raises Unreachable where no cluster answers or none of its slots is free: a query would wait for one without a word."""
    try:
        overview = stack.rest.overview()
    except LoopwrightError as error:
        raise Unreachable("no Flink cluster is known", error.why, "start the local platform with `loopwright up`") from error
    if not overview.get("slots-available"):
        remedy = "`loopwright down`, then `LOOPWRIGHT_PLATFORM__TASK_MANAGERS=2 loopwright up`"
        raise Unreachable("no query can run", f"all {overview.get('slots-total', 0)} slots of the cluster are taken", remedy)
