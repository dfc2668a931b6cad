"""`loopwright dlq`: what could not be processed, why, and what is to become of it: sent once more, or dropped.

What became of a letter is itself a record in the dead letters' topic, so the log stays append-only. A retry is written first and recorded
as such after it: a crash between the two leaves the letter open, and what is then sent twice is recognised by its id, as ever.
"""

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from loopwright import schemas
from loopwright.cli import control, logs, show
from loopwright.cli.documents import read_input
from loopwright.cli.reveal import Shown, shown_by, shown_text
from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.entrance import Entrance
from loopwright.edges.values import reader
from loopwright.errors import Conflict, InvalidDocument, LoopwrightError, NotFound, Unreachable
from loopwright.history.letters import Letter, LetterState, fold, matching, settlement, shown_original
from loopwright.history.rerun import went_on
from loopwright.history.timeline import Timeline
from loopwright.message import Message, Rejected, encode, headers_of, parse, shown_time
from loopwright.settings import Settings
from loopwright.step import Record

RETRY_HEADER = "loopwright-dead-letter"
STYLES = {LetterState.OPEN: "red", LetterState.RETRIED: "green", LetterState.DROPPED: "dim"}


@dataclass(frozen=True)
class Chosen:
    """Which letters are to be retried: one by its id, or the open ones of a cause, or all open ones. `new_key`: their effects may recur."""

    wanted: str = ""
    cause: str = ""
    new_key: bool = False


def letters(settings: Settings) -> list[Letter]:
    """Every dead letter, oldest first. Raises Unreachable."""
    topic = settings.topics.dead_letters
    records = kafka.read_all(settings, kafka.present(settings, [topic]))
    return fold(records, settings.topics, settings.limits)


def find(known: Sequence[Letter], wanted: str) -> Letter:
    """The letter that `wanted` names: a position, an id, or the beginning of one. Raises NotFound."""
    found = matching(known, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(
            f"{len(found)} dead letters go by {show.clean(wanted)!r}",
            ", ".join(f"{letter.position} ({show.clean(letter.id)})" for letter in found[:5]),
            "name one by its position",
        )
    raise NotFound(f"there is no dead letter {show.clean(wanted)!r}", f"{len(known)} are known", "`loopwright dlq list --all` lists them")


def list_letters(settings: Settings, cause: str, every: bool, as_json: bool) -> None:
    """Print the open letters; with `every` the settled ones as well."""
    known = [letter for letter in letters(settings) if cause in ("", letter.cause)]
    shown = [letter for letter in known if every or letter.state is LetterState.OPEN]
    counts = {state.value: sum(letter.state is state for letter in known) for state in LetterState}
    if as_json:
        show.print_json({"letters": [letter.as_dict() for letter in shown], **counts})
        return
    screen = show.console()
    if shown:
        screen.print(_table(shown, every))
    screen.print(Text(", ".join(f"{count} {name}" for name, count in counts.items()), style="dim"))
    if shown:
        screen.print(Text("next: loopwright dlq show ID · retry ID · drop ID --reason WHY", style="dim"))


def _table(shown: Iterable[Letter], every: bool) -> Table:
    read_ms = now_ms()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "record", *(["state"] if every else []), "age", "cause", "stage", "workflow", "stood at"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("why", overflow="fold")
    for letter in shown:
        cells = [letter.position, letter.id[:8], show.duration(max(read_ms - letter.message.logged_ms, 0)), letter.cause, _stage(letter)]
        if every:
            cells.insert(2, letter.state.value)
        cells += [letter.workflow or "-", _stood(letter), _said(letter, "why")]
        table.add_row(*(Text(show.clean(cell, 200)) for cell in cells))
    return table


def _said(letter: Letter, name: str) -> str:
    return str(letter.message.data.get(name) or "")


def _stage(letter: Letter) -> str:
    return _said(letter, "stage") or "-"


def _stood(letter: Letter) -> str:
    """Where its record stood; for a call that was given up, which one it was."""
    if letter.source:
        return letter.source.name
    data = letter.message.data
    return f"hop {letter.message.hop}, {data.get('agent', '-')}@{data.get('version', '-')}"


def show_letter(settings: Settings, wanted: str, as_json: bool, reveal: bool = False) -> None:
    """Print everything about one letter. Raises NotFound.

    Encrypted values are shown as `***`, or in clear with `reveal`; in JSON the original stays as it is, so that it can be corrected.
    """
    shown = shown_by(settings, reveal)
    letter = find(letters(settings), wanted)
    after = _after(settings, letter)
    if as_json:
        encoding, value = shown_original(letter)
        value = shown_text(value, letter.workflow, shown) if reveal else value
        original = {"encoding": encoding, "value": value} if encoding else None
        show.print_json(letter.as_dict(full=True) | {"original": original, "went_on": after or None})
    else:
        show.console().print(_whole(letter, after, shown), soft_wrap=True)


def _after(settings: Settings, letter: Letter) -> str:
    """How the workflow went on after a call that was given up."""
    if letter.message.type != schemas.FAILED:
        return ""
    timeline = logs.load(settings)
    return went_on(timeline.lives(letter.workflow), letter.message.hop) if letter.workflow in timeline else ""


def _whole(letter: Letter, after: str, shown: Shown) -> Group:
    head = Text.assemble(("dead letter ", "bold"), (letter.position, "bold"), "  ", (letter.state.value, STYLES[letter.state]))
    facts = [("record", letter.id), ("type", letter.message.type), ("time", shown_time(letter.message.logged_ms))]
    facts += [("workflow", letter.workflow or "-"), ("stood at", _stood(letter)), ("cause", letter.cause), ("stage", _stage(letter))]
    facts += [(name, _said(letter, name)) for name in ("why", "remedy") if _said(letter, name)]
    facts += [("went on", after)] if after else []
    told = letter.settlement
    if told:
        facts.append((told.action.value, f"{shown_time(told.time_ms)} by {told.by or '-'}" + (f": {told.reason}" if told.reason else "")))
    lines = [Text.assemble((f"  {name:<10}", "dim"), show.clean(said)) for name, said in facts]
    encoding, value = shown_original(letter)
    size = len(letter.original or b"")
    title = f"  original ({encoding}, {size} byte{'' if size == 1 else 's'})" if encoding else "  its original is not kept"
    value = shown_text(value, letter.workflow, shown)
    original = [Text("    " + show.clean(line)) for line in value.split("\n")] if encoding else []
    return Group(head, *lines, Text(title, style="dim"), *original)


def retry(settings: Settings, chosen: Chosen, edit: str, reason: str, as_json: bool) -> int:
    """Retry a letter, or the open ones of a cause, or all open ones. The exit code: 1 where one of several could not be retried.

    Raises NotFound, Conflict (it was settled before, or its workflow is not parked), InvalidDocument (the correction would be refused).
    """
    known = letters(settings)
    if chosen.wanted:
        with kafka.Producer(settings) as producer:
            told = [_Retry(settings, producer, reason, chosen.new_key, edit).one(find(known, chosen.wanted))]
    else:
        told = _retry_open(settings, [letter for letter in known if chosen.cause in ("", letter.cause)], reason, chosen.new_key)
    if as_json:
        show.print_json({"letters": told})
    else:
        _print_retried(told)
    return 1 if any("error" in row for row in told) else 0


def _retry_open(settings: Settings, known: Iterable[Letter], reason: str, new_key: bool) -> list[dict[str, Any]]:
    told = []
    with kafka.Producer(settings) as producer:
        retries = _Retry(settings, producer, reason, new_key)
        for letter in known:
            if letter.state is LetterState.OPEN:
                try:
                    told.append(retries.one(letter))
                except Unreachable:
                    raise
                except LoopwrightError as error:
                    told.append({"id": letter.id, "position": letter.position, **error.as_dict()})
    return told


def _print_retried(told: Sequence[dict[str, Any]]) -> None:
    screen = show.console()
    for row in told:
        done = "error" not in row
        said = row["done"] if done else f"{row['what']}: {row['why']}; {row['remedy']}"
        word = ("retried ", "green") if done else ("not retried ", "red")
        screen.print(Text.assemble(word, f"{row['position']}  ", show.clean(said)), soft_wrap=True)
        if row.get("warning"):
            screen.print(Text.assemble(("  warning: ", "yellow"), show.clean(row["warning"])), soft_wrap=True)
    if not told:
        screen.print("no open dead letter fits")


@dataclass
class _Retry:
    """Retries of one command: the logs are read once, and a workflow with several letters is resumed once."""

    settings: Settings
    producer: kafka.Producer
    reason: str
    new_key: bool = False
    edit: str = ""
    timeline: Timeline | None = None
    resumed: set[str] = field(default_factory=set)

    def one(self, letter: Letter) -> dict[str, Any]:
        """Retry `letter` and record that; what was done. Raises as `retry`."""
        _refuse_settled(letter)
        done = self._resume(letter) if letter.message.type == schemas.FAILED or self._asked_in_vain(letter) else self._again(letter)
        _settle(self.settings, self.producer, letter, LetterState.RETRIED, self.reason)
        return {"id": letter.id, "position": letter.position, "action": LetterState.RETRIED.value, **done}

    def _asked_in_vain(self, letter: Letter) -> bool:
        """Whether it is a choice that was left to others, who gave no usable answer: its workflow is parked, and the choice is put anew."""
        return letter.source is not None and letter.source.topic == self.settings.topics.questions

    def _again(self, letter: Letter) -> dict[str, str]:
        topics = self.settings.topics
        topic, value = letter.source.topic if letter.source else "", letter.original
        if topic not in (topics.messages, topics.decisions, topics.callbacks):
            why = f"it says that its record stood in {show.clean(topic)!r}" if topic else "it does not say where its record stood"
            raise Conflict(f"dead letter {letter.position} cannot be retried", why, "nothing reads that; `loopwright dlq drop` it")
        if self.edit:
            value = read_input(self.edit)
        if value is None:
            remedy = "give the bytes with --edit FILE, or drop it"
            raise Conflict(f"dead letter {letter.position} cannot be retried", "it does not keep the original bytes", remedy)
        record = Record(topic, 0, 0, letter.message.logged_ms, letter.original_key, value)
        parsed = parse(record, self.settings.limits, reader(self.settings))
        if self.edit:
            value = self._corrected(parsed, value)
        key = letter.original_key or (parsed.workflow.encode() if isinstance(parsed, Message) and parsed.source != "bare" else b"")
        self.producer.send(topic, key, value, {RETRY_HEADER: letter.id.encode()})
        done = {"done": f"{'the correction' if self.edit else 'the original'} was written to {topic}"}
        if isinstance(parsed, Rejected):
            done["warning"] = f"by these settings it is refused again ({parsed.cause}: {parsed.why}); correct it with --edit FILE"
        return done

    def _corrected(self, parsed: object, value: bytes) -> bytes:
        """The correction, with its sensitive fields encrypted. Raises InvalidDocument where it would be refused."""
        if not isinstance(parsed, Message):
            raise _still_refused(parsed)
        entrance = Entrance.now(self.settings)
        if parsed.source == "bare":
            entrance.refuse_bare()
            return value
        made = entrance.sealed(parsed)
        return value if made is parsed else encode(made)

    def _resume(self, letter: Letter) -> dict[str, str]:
        if self.edit:
            why = "it is a call or a choice that was given up: what it was given was made from the workflow's document"
            raise Conflict(f"dead letter {letter.position} cannot be edited", why, "mend the cause, then retry it without --edit")
        name = letter.workflow
        if name not in self.resumed:
            self.timeline = self.timeline or logs.load(self.settings)
            if name not in self.timeline:
                why = "no record in the logs tells of it"
                raise Conflict(f"workflow {show.clean(name)!r} cannot be resumed", why, "`loopwright dlq drop` the letter")
            how = control.Resumption(None, self.new_key, self.reason or f"dead letter {letter.position} is retried")
            emit, _ = control.resumed(self.settings, self.timeline, name, how)
            self.producer.send_many([emit])
            self.resumed.add(name)
        return {"done": f"workflow {name} was resumed"}


def _still_refused(parsed: object) -> InvalidDocument:
    if isinstance(parsed, Rejected):
        return InvalidDocument("the correction would be refused", f"{parsed.cause}: {parsed.why}", parsed.remedy)
    return InvalidDocument("the correction would be refused", "there is nothing in it", "give the corrected record")


def _refuse_settled(letter: Letter) -> None:
    told = letter.settlement
    if told:
        why = f"at {shown_time(told.time_ms)} by {told.by or 'somebody'}" + (f": {told.reason}" if told.reason else "")
        remedy = "what is refused again becomes a new dead letter: `loopwright dlq list`"
        raise Conflict(f"dead letter {letter.position} was {told.action.value} before", show.clean(why), remedy)


def _settle(settings: Settings, producer: kafka.Producer, letter: Letter, action: LetterState, reason: str) -> None:
    message = settlement(letter, action, reason, getpass.getuser(), now_ms())
    producer.send(settings.topics.dead_letters, letter.key or b"", encode(message), headers_of(message))


def drop(settings: Settings, wanted: str, reason: str, as_json: bool) -> None:
    """Mark a letter as dropped. Nothing is deleted. Raises NotFound, Conflict."""
    letter = find(letters(settings), wanted)
    _refuse_settled(letter)
    with kafka.Producer(settings) as producer:
        _settle(settings, producer, letter, LetterState.DROPPED, reason)
    if as_json:
        show.print_json({"id": letter.id, "position": letter.position, "action": LetterState.DROPPED.value, "reason": reason})
    else:
        show.console().print(Text.assemble(("dropped ", "green"), letter.position, (f"  {show.clean(reason)}", "dim")))
