"""Dead letters and what became of them: open, retried or dropped. Pure; the log stays append-only, so the state is a fold.

A letter is a record of the dead letters' topic. That it was retried or dropped is a later record there, which names the letter by its id
and its position. A letter that was written twice round a crash is one letter: it must not be retried twice.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from loopwright import schemas
from loopwright.deadletter import original_bytes
from loopwright.history.reading import Position, read_entry, source_of, text
from loopwright.message import Message, record_id, shown_time
from loopwright.settings import Limits, Topics
from loopwright.step import Record

SOURCE = "/loopwright/dead-letters"


class LetterState(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    RETRIED = "retried"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Settlement:
    """That a letter was retried or dropped: when (ms since the epoch), by whom and why."""

    action: LetterState
    time_ms: int
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `at` is where it stands itself, `source` where the record stood that could not be processed (None: it was a call).

    `key` is the Kafka key of the letter, `copies` are the positions at which it was written again.
    """

    at: Position
    key: bytes | None
    message: Message
    source: Position | None
    copies: tuple[Position, ...] = ()
    settlement: Settlement | None = None

    @property
    def id(self) -> str:
        """The record's id."""
        return self.message.id

    @property
    def position(self) -> str:
        """Partition and offset in the dead letters' topic, as in `0-17`."""
        return position_name(self.at)

    @property
    def state(self) -> LetterState:
        """What became of it."""
        return self.settlement.action if self.settlement else LetterState.OPEN

    @property
    def workflow(self) -> str:
        """The workflow it belongs to; empty where the record told of none."""
        return "" if self.source and self.message.workflow == self.source.name else self.message.workflow

    @property
    def original_key(self) -> bytes:
        """The key of the record that was refused, which the letter has taken over; empty where it had none."""
        return (self.key or b"") if self.workflow else b""

    @property
    def cause(self) -> str:
        """The word to count by."""
        return text(self.message.data.get("cause"))

    @property
    def original(self) -> bytes | None:
        """The bytes that could not be processed; None where the letter does not keep them."""
        try:
            return original_bytes(self.message.data)
        except (KeyError, TypeError, ValueError):
            return None

    def as_dict(self, full: bool = False) -> dict[str, Any]:
        """The letter as JSON shows it; with everything that its record says where `full` is set."""
        data, told = self.message.data, self.settlement
        body: dict[str, Any] = {
            "id": self.id,
            "position": self.position,
            "state": self.state.value,
            "time": shown_time(self.message.logged_ms),
            "type": self.message.type,
            "workflow": self.workflow or None,
            "hop": self.message.hop,
            **{name: text(data.get(name)) for name in ("cause", "stage", "why", "remedy")},
            "of": self.source and {"topic": self.source.topic, "partition": self.source.partition, "offset": self.source.offset},
            "settled": told and {"action": told.action.value, "time": shown_time(told.time_ms), "by": told.by, "reason": told.reason},
        }
        return body | {"copies": [position_name(copy) for copy in self.copies], "data": data} if full else body


def position_name(at: Position) -> str:
    """Partition and offset, as in `0-17`."""
    return f"{at.partition}-{at.offset}"


@dataclass(slots=True)
class _Folding:
    letters: dict[Position, Letter] = field(default_factory=dict)
    first: dict[tuple[str, str], Position] = field(default_factory=dict)
    settled: list[tuple[Position, Message]] = field(default_factory=list)


def fold(records: Iterable[Record], topics: Topics, limits: Limits) -> list[Letter]:
    """The letters among `records`, in any order of reading; oldest first. Never raises.

    What is no letter, and what settles a letter that is not known, is left out. The first settlement of a letter counts.
    """
    folding = _Folding()
    once = {(record.partition, record.offset): record for record in records if record.topic == topics.dead_letters}
    for _, record in sorted(once.items()):
        _take(folding, record, topics, limits)
    by_position = {position_name(at): letter for letter in folding.letters.values() for at in (letter.at, *letter.copies)}
    for _, message in sorted(folding.settled, key=lambda told: (told[1].logged_ms, told[0].partition, told[0].offset)):
        _settle(folding, message, by_position)
    return sorted(folding.letters.values(), key=lambda letter: (letter.message.logged_ms, letter.at.partition, letter.at.offset))


def _take(folding: _Folding, record: Record, topics: Topics, limits: Limits) -> None:
    entry = read_entry(record, topics, limits)
    if entry is None or entry.message is None:
        return
    message = entry.message
    if message.type == schemas.LETTER_SETTLED:
        folding.settled.append((entry.at, message))
    elif message.type in (schemas.REJECTED, schemas.FAILED):
        twin = folding.first.setdefault((message.id, repr(message.data.get("original"))), entry.at)
        if twin == entry.at:
            folding.letters[twin] = Letter(entry.at, record.key, message, source_of(message) if message.type == schemas.REJECTED else None)
        else:
            known = folding.letters[twin]
            folding.letters[twin] = replace(known, copies=(*known.copies, entry.at))


def _settle(folding: _Folding, message: Message, by_position: dict[str, Letter]) -> None:
    data = message.data
    named = by_position.get(text(data.get("position")))
    action = text(data.get("action"))
    if named is None or named.id != data.get("letter") or action not in (LetterState.RETRIED, LetterState.DROPPED):
        return
    letter = folding.letters[named.at]
    if letter.settlement is None:
        told = Settlement(LetterState(action), message.logged_ms, text(data.get("by")), text(data.get("reason")))
        folding.letters[named.at] = replace(letter, settlement=told)


def settlement(letter: Letter, action: LetterState, reason: str, by: str, now_ms: int) -> Message:
    """The record that says that `letter` was retried or dropped. Its key is the letter's."""
    data = {"letter": letter.id, "position": letter.position, "action": action.value, "reason": reason, "by": by}
    workflow, hop = letter.message.workflow, letter.message.hop
    name = record_id(workflow, hop, letter.position, schemas.LETTER_SETTLED)
    return Message(name, schemas.LETTER_SETTLED, SOURCE, workflow, data, hop, time_ms=now_ms, causation=letter.id)


def matching(letters: Sequence[Letter], wanted: str) -> list[Letter]:
    """The letters that `wanted` may mean: one by its position or its whole id, otherwise those whose id begins so."""
    here = [letter for letter in letters if wanted in map(position_name, (letter.at, *letter.copies))]
    exact = here or [letter for letter in letters if letter.id == wanted]
    return exact or [letter for letter in letters if wanted and letter.id.startswith(wanted)]


def shown_original(letter: Letter) -> tuple[str, str]:
    """Encoding (`utf-8`, `base64`, or empty where nothing is kept) and text of the original bytes."""
    raw = letter.original
    if raw is None:
        return "", ""
    try:
        return "utf-8", raw.decode("utf-8")
    except UnicodeDecodeError:
        return "base64", base64.b64encode(raw).decode("ascii")
