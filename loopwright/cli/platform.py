"""`loopwright up`, `down`, `status`, `doctor`: the local platform on this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from rich.table import Table
from rich.text import Text

from loopwright.cli import show
from loopwright.cli.progress import Screen
from loopwright.cli.stack import stack_config
from loopwright.edges.access import check_access
from loopwright.edges.platform.doctor import Finding, examine
from loopwright.edges.platform.stack import Stack
from loopwright.edges.platform.status import JobStatus, StackStatus
from loopwright.edges.platform.status import status as look
from loopwright.errors import LoopwrightError
from loopwright.settings import Settings

_STYLES = {"running": "green", "ok": "green", "stopped": "dim", "warning": "yellow", "broken": "red", "problem": "red"}


def up(settings: Settings, as_json: bool = False, supervisor: bool = True, registry: bool = False) -> int:
    """Start what does not run, show how it gets on, and say where everything is. `supervisor`: False leaves none behind.

    `registry`: a schema registry too, whatever the settings say.
    """
    if registry:
        settings = settings.model_copy(update={"platform": settings.platform.model_copy(update={"registry": True})})
    config = stack_config(settings)
    config = replace(config, supervisor=config.supervisor and supervisor)
    with _screen(as_json) as screen:
        Stack(config, screen.tell).up()
    return _show_status(look(config), as_json)


def down(settings: Settings, as_json: bool = False, wipe: bool = False) -> int:
    """Stop everything; the job with a savepoint. `wipe` deletes the data."""
    stack = Stack(stack_config(settings))
    with _screen(as_json) as screen:
        stack = Stack(stack.config, screen.tell)
        savepoint = stack.down(wipe)
    if as_json:
        show.print_json({"home": str(stack.layout.home), "wiped": wipe, "savepoint": str(savepoint) if savepoint else None})
    else:
        said = "all data deleted" if wipe else f"data kept in {stack.layout.home}; `loopwright up` resumes"
        show.console().print(f"stopped; {said}", markup=False)
    return 0


def status(settings: Settings, as_json: bool = False) -> int:
    """What runs, where, and whether it is well. Exit code 3 when something does not run."""
    return _show_status(look(stack_config(settings)), as_json)


def doctor(settings: Settings, as_json: bool = False) -> int:
    """Check this machine. Exit code 1 when something has to be mended."""
    findings = (*examine(Stack(stack_config(settings))), *_rights(settings))
    bad = any(finding.level == "problem" for finding in findings)
    if as_json:
        show.print_json({"ok": not bad, "findings": [asdict(finding) for finding in findings]})
    else:
        show.console().print(_findings(findings))
    return 1 if bad else 0


def _rights(settings: Settings) -> Iterator[Finding]:
    """Whether the job may do on Kafka what it has to do; nothing where Kafka lets anybody in."""
    if not settings.kafka.client:
        return
    try:
        check_access(settings)
        yield Finding("rights on Kafka", "ok", "those that the job needs, as far as Kafka says")
    except LoopwrightError as error:
        yield Finding("rights on Kafka", "problem", error.why, error.remedy)


@contextmanager
def _screen(as_json: bool) -> Iterator[Screen]:
    screen = Screen(show.console(stderr=as_json), live=sys.stderr.isatty() if as_json else sys.stdout.isatty())
    with screen:
        yield screen


def _show_status(now: StackStatus, as_json: bool) -> int:
    if as_json:
        show.print_json({"ok": now.well, **asdict(now)})
    else:
        show.console().print(_services(now))
        if now.job is not None:
            show.console().print(_job_line(now))
    return 0 if now.well else 3


def _services(now: StackStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("service", "state", "pid", "where", "up for", "log"):
        table.add_column(column, no_wrap=column != "log", overflow="fold")
    for one in now.services:
        up_for = show.duration(one.uptime_s * 1000) if one.uptime_s is not None else ""
        state = Text(one.state, style=_STYLES[one.state])
        table.add_row(one.name, state, str(one.pid or ""), one.url, up_for, one.log)
        if one.detail:
            table.add_row("", Text(one.detail, style="red"))
        if one.healed:
            table.add_row("", Text(f"started again {times(one.healed)}; the last time: {one.healed_why}", style="yellow"))
    return table


def _job_line(now: StackStatus) -> Text:
    job = now.job
    if job is None or job.id is None:
        line = Text("job: none runs" + (f"; the next `loopwright up` resumes from {job.checkpoint}" if job and job.checkpoint else ""))
        return line.append(_healing(job)) if job else line
    style = "green" if job.state == "RUNNING" else "red"
    age = f"last checkpoint {show.duration(job.checkpoint_age_s * 1000)} ago" if job.checkpoint_age_s is not None else "no checkpoint yet"
    failed = ", a later one failed" if job.checkpoint_failing and job.checkpoint else ""
    line = Text.assemble(
        "job ", job.id, ": ", (job.state, style), f", {job.tasks_running} of {job.tasks} tasks, {job.restarts} restarts, {age}{failed}"
    )
    if job.exception and style == "red":
        line.append(f"\n{show.clean(job.exception, 2000)}", "red")
    return line.append(_healing(job))


def times(count: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _healing(job: JobStatus) -> Text:
    """What the supervisor did about the job."""
    said = Text()
    if job.healed:
        said.append(f"\nsubmitted again {times(job.healed)}; the last time: {show.clean(job.healed_why, 500)}", "yellow")
    if job.given_up:
        said.append(f"\nthe supervisor leaves it alone: {show.clean(job.given_up, 2000)}", "red")
    return said


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), finding.name, Text(show.clean(finding.seen)))
        if finding.remedy:
            table.add_row("", "", Text(f"remedy: {finding.remedy}", style="yellow"))
    return table
