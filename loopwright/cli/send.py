"""`loopwright send`: documents become workflows; with --wait, they are followed until each has ended."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from rich.text import Text

from loopwright.cli import logs, show
from loopwright.cli.documents import documents_in, read_input
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.entrance import Entrance
from loopwright.errors import Conflict, InvalidDocument, PlatformFailed, Unreachable
from loopwright.history.view import Status, WorkflowView
from loopwright.message import Message, Rejected, encode, headers_of, parse, record_id, trace_of
from loopwright.schemas import STARTED
from loopwright.sealing import hidden
from loopwright.settings import Settings
from loopwright.step import Emit, Record

SOURCE = "/loopwright/cli"
RAW_HEADER = "loopwright-send"
RAW_WAIT_S = 10.0


@dataclass(frozen=True)
class SendOptions:
    """What may be said about the new workflows. Empty or None: the settings decide. `wait_s` is the longest wait, in seconds."""

    team: str = ""
    workflow: str = ""
    deadline_ms: int | None = None
    hop_limit: int | None = None
    wait: bool = False
    wait_s: float = 600.0
    raw: bool = False


def new_id() -> str:
    """An id for a workflow: 16 hex digits of a random UUID."""
    return uuid4().hex[:16]


def start_message(document: dict[str, Any], workflow: str, options: SendOptions, now_ms: int) -> Message:
    """The record that starts a workflow with `document`."""
    data: dict[str, Any] = {"document": document}
    if options.team:
        data["team"] = options.team
    if options.deadline_ms is not None:
        data["deadline_ms"] = options.deadline_ms
    if options.hop_limit is not None:
        data["hop_limit"] = options.hop_limit
    name = record_id(workflow, 0, "", STARTED)
    return Message(name, STARTED, SOURCE, workflow, data, time_ms=now_ms, traceparent=trace_of(workflow, 0))


def start_emit(message: Message, settings: Settings) -> Emit:
    """The record to write. Raises InvalidDocument where the job would refuse it."""
    try:
        value = encode(message)
    except TypeError as error:
        raise InvalidDocument(
            "a document cannot be sent as JSON", str(error), "send large numbers as strings, and text as UTF-8"
        ) from error
    key = message.workflow.encode()
    parsed = parse(Record(settings.topics.messages, 0, 0, message.time_ms, key, value), settings.limits)
    if isinstance(parsed, Rejected):
        raise InvalidDocument("the document would be refused", f"{parsed.cause}: {parsed.why}", parsed.remedy)
    return Emit(settings.topics.messages, key, value, headers_of(message))


def send_documents(settings: Settings, documents: Sequence[dict[str, Any]], options: SendOptions) -> list[str]:
    """Start one workflow for each document; the ids, in order, once Kafka has acknowledged them all."""
    at_ms = now_ms()
    ids = [options.workflow or new_id() for _ in documents]
    entrance = Entrance.now(settings)
    starts = [entrance.sealed(start_message(document, name, options, at_ms)) for name, document in zip(ids, documents, strict=True)]
    emits = [start_emit(message, settings) for message in starts]
    with kafka.Producer(settings) as producer:
        producer.send_many(emits)
    return ids


def send(settings: Settings, name: str, options: SendOptions, as_json: bool) -> int:
    """Send what the file `name` holds and print the ids. The exit code: 1 where a workflow that was waited for did not complete."""
    raw = read_input(name)
    documents = [] if options.raw else documents_in(raw, name)
    if options.workflow:
        _check_id(settings, documents, options)
    follower = Follower(settings, from_beginning=bool(options.workflow)) if options.wait else None
    ids = [_send_raw(settings, raw)] if options.raw else send_documents(settings, documents, options)
    if follower is None:
        _print_sent(ids, as_json)
        return 0
    if not as_json:
        _print_sent(ids, False, next_steps=False)
    views = follower.until_ended(ids, options.wait_s, None if as_json else _print_change)
    if as_json:
        show.print_json([view.as_dict() | {"document": hidden(view.document)} for view in views])
    return 0 if all(view.status is Status.COMPLETED for view in views) else 1


def _check_id(settings: Settings, documents: Sequence[dict[str, Any]], options: SendOptions) -> None:
    """Raise where the id cannot be taken. The same start once more is fine: it changes nothing."""
    if len(documents) > 1:
        why = f"--id {options.workflow} and {len(documents)} documents"
        raise InvalidDocument("one id cannot name several workflows", why, "leave out --id, or send one document")
    wanted = Entrance.now(settings).sealed(start_message(documents[0], options.workflow, options, 0))
    for record in kafka.read_all(settings, [settings.topics.messages]):
        found = parse(record, settings.limits) if record.key == options.workflow.encode() else None
        if isinstance(found, Message) and found.type == STARTED:
            if found.data == wanted.data:
                return
            why = "it was started with another document, or other options"
            remedy = f"choose another id; `loopwright trace {options.workflow}` shows the one that is there"
            raise Conflict(f"workflow {options.workflow!r} is there already", why, remedy)


def _send_raw(settings: Settings, raw: bytes) -> str:
    """Write the bytes as they are, without a key, and find out where they stood: that is what names the workflow.

    Raises InvalidDocument where the default team marks fields as sensitive.
    """
    Entrance.now(settings).refuse_bare()
    mark, deadline = uuid4().hex.encode(), time.monotonic() + RAW_WAIT_S
    records = kafka.tail(settings, [settings.topics.messages], False, lambda: time.monotonic() > deadline)
    with kafka.Producer(settings) as producer:
        producer.send(settings.topics.messages, b"", raw, {RAW_HEADER: mark})
    for record in records:
        if record is not None and record.headers.get(RAW_HEADER) == mark:
            return f"{record.topic}-{record.partition}-{record.offset}"
    why = f"{settings.topics.messages} did not show it within {RAW_WAIT_S:g} s, although Kafka acknowledged it"
    raise Unreachable("the record was sent, but not seen again", why, "look for it with `loopwright watch`")


def _print_sent(ids: Sequence[str], as_json: bool, next_steps: bool = True) -> None:
    if as_json:
        show.print_json({"sent": len(ids), "workflows": list(ids)})
        return
    screen = show.console()
    for name in ids:
        screen.print(Text.assemble(("sent ", "green"), show.clean(name)))
    if next_steps:
        first = show.clean(ids[0])
        screen.print(Text(f"\nnext: loopwright trace {first} --follow    (its steps, with reasons)\n      loopwright watch", style="dim"))


def _print_change(view: WorkflowView) -> None:
    line = Text.assemble(show.clean(view.workflow), "  ", show.status_text(view), "  ", (show.arrow_path(view.path), "dim"))
    said = show.outcome(view)
    if said and not view.open:
        line.append(f"  {said}")
    show.console().print(line)


class Follower:
    """Follows the logs until workflows have ended. Made before they are sent, so that nothing is missed."""

    def __init__(self, settings: Settings, from_beginning: bool = False) -> None:
        self.timeline = logs.empty(settings)
        self._settings = settings
        self._left: set[str] | None = None
        self._deadline = float("inf")
        self._records = logs.follow(settings, self._enough, from_beginning)

    def _enough(self) -> bool:
        return self._left == set() or time.monotonic() > self._deadline

    def view(self, name: str) -> WorkflowView | None:
        """What is known of a workflow, or of a refused record at that position."""
        return self.timeline.view(name) if name in self.timeline else self.timeline.refused(name)

    def until_ended(self, ids: Sequence[str], wait_s: float, tell: Callable[[WorkflowView], None] | None) -> list[WorkflowView]:
        """Wait until none of `ids` is open; `tell` hears of each change. Raises PlatformFailed after `wait_s` seconds."""
        self._left, self._deadline = set(ids), time.monotonic() + wait_s
        told = dict.fromkeys(ids, "")
        for record in self._records:
            changed = self.timeline.add(record) if record is not None else None
            for name in [changed] if changed else list(self._left):
                view = self.view(name) if name in self._left else None
                if view is None:
                    continue
                if tell and told[name] != f"{view.activity} {view.path}":
                    told[name] = f"{view.activity} {view.path}"
                    tell(view)
                if not view.open and has_start(view, self._settings.topics.messages):
                    self._left.discard(name)
        if self._left:
            raise self._stuck(len(ids), wait_s)
        return [view for view in map(self.view, ids) if view]

    def _stuck(self, count: int, wait_s: float) -> PlatformFailed:
        views = {name: self.view(name) for name in sorted(self._left or ())}
        stuck = ", ".join(f"{name}: {view.activity if view else 'not seen'}" for name, view in views.items())
        remedy = "`loopwright trace` shows what a workflow waits for, `loopwright status` whether the job runs"
        return PlatformFailed(f"{len(views)} of {count} workflows did not end within {wait_s:g} s", stuck, remedy)


def has_start(view: WorkflowView, messages: str) -> bool:
    """Whether its own log was seen, and not only what other topics say of it."""
    return any(step.at is not None and step.at.topic == messages for step in view.steps)
