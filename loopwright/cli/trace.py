"""`loopwright trace WORKFLOW`: each message, decision, call, result and dead letter of one workflow, in order, with the reasons."""

import difflib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from loopwright.cli import logs, show
from loopwright.cli.reveal import Shown, shown_by, shown_view
from loopwright.errors import NotFound
from loopwright.history.reading import tokens_in
from loopwright.history.steps import Kind, Step
from loopwright.history.timeline import Timeline
from loopwright.history.view import WorkflowView
from loopwright.message import shown_time
from loopwright.settings import Settings

MARKS = {
    Kind.STARTED: ("●", "cyan"),
    Kind.DECISION: ("◆", "magenta"),
    Kind.REPLY: ("✓", "green"),
    Kind.FAILURE: ("✗", "red"),
    Kind.WAITING: ("…", "blue"),
    Kind.CALLBACK: ("↩", "green"),
    Kind.SETTLED: ("■", "yellow"),
    Kind.SIGNAL: ("!", "yellow"),
    Kind.PROGRESS: ("·", "dim"),
    Kind.RESULT: ("■", "bold"),
    Kind.DEAD_LETTER: ("†", "red"),
    Kind.REJECTED: ("✗", "red"),
}


def trace(settings: Settings, wanted: str, as_json: bool, follow: bool, reveal: bool = False) -> None:
    """Print the steps of the workflow `wanted` (its id, or the beginning of it where only one fits). Raises NotFound.

    Encrypted values are shown as `***`; with `reveal` in clear, as far as the keys at hand open them.
    """
    shown = shown_by(settings, reveal)
    timeline = logs.load(settings)
    refused = timeline.refused(wanted)
    name = wanted if refused else find(timeline, wanted)
    if refused or not follow:
        view = shown_view(refused or timeline.view(name), shown)
        if as_json:
            show.print_json(view.as_dict(steps=True))
        else:
            print_view(show.console(), view)
        return
    try:
        _follow(settings, name, as_json, shown)
    except KeyboardInterrupt:
        return


def find(timeline: Timeline, wanted: str) -> str:
    """The workflow's id. Raises NotFound with those that come near."""
    if wanted in timeline:
        return wanted
    known = sorted(timeline)
    fitting = [name for name in known if wanted and name.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NotFound(f"{len(fitting)} workflows begin with {wanted!r}", ", ".join(map(show.clean, fitting[:5])), "give more of the id")
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6) or [name for name in known if wanted in name][:3]
    if near:
        remedy = f"did you mean {' or '.join(map(show.clean, near))}?"
    elif known:
        remedy = f"`loopwright watch --once` lists the {len(known)} that are known"
    else:
        remedy = "start one: `loopwright send FILE`"
    raise NotFound(f"there is no workflow {show.clean(wanted)!r}", "no record in the logs tells of it", remedy)


def _follow(settings: Settings, name: str, as_json: bool, shown: Shown) -> None:
    screen, timeline = show.console(), logs.empty(settings)
    printed: set[str] = set()
    ended, quiet = threading.Event(), 0
    if not as_json:
        screen.print(Text.assemble(("workflow ", "bold"), show.clean(name), (" (Ctrl-C ends)", "dim")))
    for record in logs.follow(settings, ended.is_set):
        quiet = quiet + 1 if record is None else 0
        if record is not None:
            timeline.add(record)
            continue
        if name not in timeline:
            continue
        view = shown_view(timeline.view(name), shown)
        for step in _unprinted(view, printed):
            _tell(screen, step, view, as_json)
        if view.ended and quiet > 1:
            ended.set()
    if not as_json:
        screen.print(heading(timeline.view(name)))


def _unprinted(view: WorkflowView, printed: set[str]) -> Iterator[Step]:
    for step in view.steps:
        key = str(step.at) if step.at else f"waiting {step.hop} {step.branch}"
        if key not in printed:
            printed.add(key)
            yield step


def _tell(screen: Console, step: Step, view: WorkflowView, as_json: bool) -> None:
    if as_json:
        show.print_json({"workflow": view.workflow, **step.as_dict()}, lines=True)
    else:
        screen.print(step_lines(step, view.started_ms))


def print_view(screen: Console, view: WorkflowView) -> None:
    """The whole story."""
    screen.print(heading(view))
    for step in view.steps:
        screen.print(step_lines(step, view.started_ms))
    if view.open:
        screen.print(Text(f"still open; follow it: loopwright trace {show.clean(view.workflow)} --follow", style="dim"))


def heading(view: WorkflowView) -> Group:
    """Where the workflow stands, its way, and what it used up."""
    first = Text.assemble(("workflow ", "bold"), (show.clean(view.workflow), "bold"), "  ", show.status_text(view))
    said = show.outcome(view)
    if said:
        first.append(f"  {said}")
    facts = [f"team {show.clean(view.team)}"] if view.team else []
    facts += [f"hops {view.hop}", f"path {show.arrow_path(view.path)}"]
    use = [f"started {shown_time(view.started_ms)}", f"took {show.duration(view.duration_ms)}", f"model calls {view.model_calls}"]
    use += [f"tokens {view.tokens}"] if view.tokens else []
    use += [f"agents' own model calls {view.agent_calls}, tokens {view.agent_tokens}"] if view.agent_calls or view.agent_tokens else []
    use += [f"cost {view.cost:.6g}"] if view.cost else []
    return Group(first, Text("  " + "  ·  ".join(facts), style="dim"), Text("  " + "  ·  ".join(use), style="dim"), Text())


def step_lines(step: Step, started_ms: int) -> RenderableType:
    """One step: a line, and its parts below."""
    mark, style = MARKS[step.kind]
    after = f"+{show.duration(max(step.time_ms - started_ms, 0))}"
    hop = f"hop {step.hop}" if step.hop else ""
    line = Text.assemble((f"{after:>13}  ", "dim"), (f"{mark} ", style), (f"{hop:<7}", "dim"), (f"{step.kind.value:<12}", style))
    line.append(show.clean(step.summary, 400))
    parts = [Text.assemble(("ignored: ", "bold yellow"), show.clean(step.ignored))] if step.ignored else []
    parts += [Text.assemble((f"{name}: ", "dim"), show.clean(said, 600)) for name, said in _parts(step)]
    return Group(line, *(Padding(part, (0, 0, 0, 37), expand=False) for part in parts))


def _parts(step: Step) -> Iterable[tuple[str, str]]:
    detail = step.detail
    if step.kind is Kind.DECISION:
        yield from _decision_parts(detail)
    elif step.kind in (Kind.REPLY, Kind.FAILURE):
        if detail["duration_ms"]:
            yield "took", show.duration(detail["duration_ms"])
        if detail.get("output"):
            yield "output", _compact(detail["output"])
        if any(detail.get("usage", {}).values()):
            yield "usage", _compact(detail["usage"])
    elif step.kind is Kind.STARTED:
        yield "document", _compact(detail["document"])
    elif step.kind in (Kind.DEAD_LETTER, Kind.REJECTED):
        if step.at:
            yield "position", str(step.at)
        if detail.get("remedy"):
            yield "remedy", str(detail["remedy"])


def _decision_parts(detail: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if detail["candidates"] or detail["outcome"] == "unroutable":
        yield "candidates", ", ".join(detail["candidates"]) or "none"
    for refused in detail["rejected"]:
        yield "not", f"{refused['agent']}: {refused['why']}"
    facts = [] if detail["confidence"] is None else [f"confidence {detail['confidence']}"]
    facts += [f"model {detail['model']}"] if detail["model"] else []
    facts += [f"model calls {detail['calls']}"] if detail["calls"] else []
    facts += [f"tokens {_tokens(detail['tokens'])}"] if tokens_in(detail["tokens"]) else []
    facts += [f"cost {detail['cost']:.6g}"] if detail["cost"] else []
    facts.append(f"decided in {show.duration(detail['duration_ms'])}")
    yield "how", ", ".join(facts)


def _tokens(tokens: Any) -> str:
    return " + ".join(f"{count} {name}" for name, count in tokens.items()) if isinstance(tokens, dict) else str(tokens)


def _compact(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
