"""`loopwright sql`: Flink's own SQL client on the running platform, with the topics as tables and views over them.

A script that says that it is a pipeline becomes a job of its own, which runs on until it is stopped.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from loopwright.cli.stack import stack_config
from loopwright.edges.entrance import published
from loopwright.edges.kafka import bootstrap_servers
from loopwright.edges.platform import sql as client
from loopwright.edges.platform.code import ROOT
from loopwright.edges.platform.pipelines import Pipeline, passing
from loopwright.edges.platform.sql import Reading
from loopwright.edges.platform.sql_script import Script, Values, filled, hidden, read_script
from loopwright.edges.platform.stack import Stack
from loopwright.edges.private_file import write_private
from loopwright.errors import InvalidSettings, LoopwrightError, NotFound, Unreachable
from loopwright.routing.elsewhere import briefing
from loopwright.settings import Settings

INIT = (ROOT / "sql" / "init.sql", ROOT / "sql" / "functions.sql")


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """A script to run, or one statement; neither: a prompt. `follow`: tables have no end. `dry_run`: print it as it would be run.

    Of a pipeline: `stop` it, or begin it `fresh`, without what it kept.
    """

    file: Path | None = None
    statement: str = ""
    follow: bool = False
    dry_run: bool = False
    stop: bool = False
    fresh: bool = False


def sql(settings: Settings, options: SqlOptions) -> int:
    """Open the prompt, or run a script or statement. Raises PlatformFailed where one failed, Unreachable where no platform runs."""
    script, stack = _script(options), Stack(stack_config(settings))
    if script.pipeline and not options.dry_run:
        return _pipeline(settings, stack, script, options)
    if options.stop or options.fresh:
        why = f"{script.origin} does not begin with `-- pipeline: NAME`"
        raise InvalidSettings("only a pipeline is stopped or begun afresh", why, "give its script with --file")
    reading = Reading(options.follow)
    values = values_of(settings, reading)
    if options.dry_run:
        text = filled(script.text, values, script.origin)
        sys.stdout.write(hidden(text, values.secrets).rstrip() + "\n")
        return 0
    _there(stack)
    _run(stack, script, reading, values, passing(stack.layout), [])
    return 0


def _pipeline(settings: Settings, stack: Stack, script: Script, options: SqlOptions) -> int:
    pipeline = Pipeline.of(script.pipeline, stack.jobs)
    if options.stop:
        _overview(stack)
        savepoint = pipeline.stop()
        kept = f"the next run goes on from {savepoint}" if savepoint else "the next run goes on from its newest checkpoint"
        sys.stdout.write(f"{pipeline.name} is stopped; {kept}\n")
        return 0
    reading = Reading(follow=True)
    values = values_of(settings, reading)
    _overview(stack)
    pipeline.refuse_second()
    _there(stack)
    submitted: list[str] = []
    try:
        _run(stack, script, reading, values, pipeline.options(options.fresh), submitted)
    except BaseException:
        for job in submitted:
            pipeline.jobs.retire(job)
        raise
    job = pipeline.begun(submitted)
    sys.stdout.write(f"{pipeline.name} runs as job {job}, until `loopwright sql -f {script.origin} --stop`\n")
    return 0


def _run(stack: Stack, script: Script, reading: Reading, values: Values, session: dict[str, str], submitted: list[str]) -> None:
    room = stack.layout.run / "sql"
    before = write_private(room / "init.sql", client.preamble(reading, values, INIT, session))
    history = write_private(room / "history", "")  # else it keeps one in the home folder, with all that init.sql says
    arguments = ["embedded", "-i", str(before), "--history", str(history)]
    if not script.text:
        client.interactive(*_client(stack, script, *arguments))
        return
    file = write_private(room / "script.sql", filled(script.text, values, script.origin))
    args, environment = _client(stack, script, *arguments, "-f", str(file))
    client.script(args, environment, stack.layout.log("sql-client"), submitted, values.secrets)


def _client(stack: Stack, script: Script, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The client, to which the sets of jars that the script needs are given for this session: they go with its jobs, not to the cluster."""
    stack.jars.sync(on_demand=script.jars)
    jars = [part for name in script.jars for jar in stack.jars.paths(name) for part in ("--jar", str(jar))]
    return stack.flink().programs.sql_client(stack.jars.paths("sql-client"), *arguments, *jars)


def _script(options: SqlOptions) -> Script:
    """What is to be run; without a text: the prompt."""
    if options.statement:
        return Script("the statement", options.statement.rstrip().removesuffix(";") + ";\n")
    if options.file is None:
        return Script("the prompt", "")
    shipped = ROOT / options.file  # from any folder the scripts that come along go by the names that the docs give them
    return read_script(options.file if options.file.exists() or not shipped.exists() else shipped)


def values_of(settings: Settings, reading: Reading) -> Values:
    """What the `${...}` of scripts stand for."""
    made = {
        "LLM_ENDPOINT": lambda: _endpoint(settings),
        "LLM_MODEL": lambda: _model(settings),
        "LLM_API_KEY": lambda: _key(settings),
        "ROUTER_PROMPT": lambda: _briefing(settings),
    }
    values = Values(client.variables(settings, bootstrap_servers(settings), reading), made, settings.variables())
    values.secrets.update(secret for name, secret in settings.kafka.client.items() if name.endswith("password"))
    return values


def _endpoint(settings: Settings) -> str:
    if not settings.llm_base_url:
        remedy = "set LOOPWRIGHT_LLM_BASE_URL to an OpenAI-compatible endpoint, ending in /v1"
        raise InvalidSettings("there is no model to ask", "LOOPWRIGHT_LLM_BASE_URL is empty", remedy)
    return settings.llm_base_url.rstrip("/") + "/chat/completions"


def _model(settings: Settings) -> str:
    if not settings.llm_model:
        raise InvalidSettings("the model has no name", "LOOPWRIGHT_LLM_MODEL is empty", "set it: CREATE MODEL wants a name")
    return settings.llm_model


def _key(settings: Settings) -> str:
    """Raises KeyError where there is none."""
    from loopwright.edges.model import model_key

    key = model_key(settings)
    if not key:
        raise KeyError("LLM_API_KEY")
    return key


def _briefing(settings: Settings) -> str:
    catalogue = published(settings)
    agents = catalogue.pinned(settings.team, catalogue.roster(settings.team))
    if not agents:
        why = f"{settings.topics.definitions} has no whole team of that name"
        raise NotFound(f"team {settings.team!r} is not published", why, "`loopwright agents apply`, or LOOPWRIGHT_TEAM=...")
    return briefing(agents.values())


def _overview(stack: Stack) -> dict[str, object]:
    """Raises Unreachable where no cluster answers."""
    try:
        return stack.rest.overview()
    except LoopwrightError as error:
        raise Unreachable("no Flink cluster is known", error.why, "start the local platform with `loopwright up`") from error


def _there(stack: Stack) -> None:
    """Raises Unreachable where no cluster answers or none of its slots is free: a query would wait for one without a word."""
    overview = _overview(stack)
    if not overview.get("slots-available"):
        remedy = "`loopwright down`, then `LOOPWRIGHT_PLATFORM__TASK_MANAGERS=2 loopwright up`"
        raise Unreachable("no query can run", f"all {overview.get('slots-total', 0)} slots of the cluster are taken", remedy)
