"""Records of any topic, as history takes them: never an exception, a record that cannot be read is an entry too."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from loopwright import schemas
from loopwright.json_strict import JsonRefused, read_object
from loopwright.message import LAST_MS, Message, Rejected, from_json, parse
from loopwright.settings import Limits, Topics
from loopwright.step import Record

MAX_NESTING = 256


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stood."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"

    @property
    def name(self) -> str:
        """The workflow id that a bare record at this position gets."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a log. `message` is None where it cannot be read; `cause`, `why` and `remedy` say the reason then.

    `astray`: it stood under another key than its workflow's. The job writes it once more, under its own (see `loopwright.intake`).
    """

    at: Position
    logged_ms: int
    workflow: str
    message: Message | None
    cause: str = ""
    why: str = ""
    remedy: str = ""
    astray: bool = False


def read_entry(record: Record, topics: Topics, limits: Limits) -> Entry | None:
    """The entry of `record`; None for a tombstone.

    What the job reads is read as the job reads it. What the job alone writes (results, dead letters, progress) needs an envelope, no more.
    """
    if record.value is None:
        return None
    at = Position(record.topic, record.partition, record.offset)
    if record.topic in (topics.results, topics.dead_letters, topics.progress):
        return _written_by_the_job(record, at)
    parsed = parse(record, limits)
    if isinstance(parsed, Message):
        return Entry(at, parsed.logged_ms, parsed.workflow, parsed, astray=record.key != parsed.workflow.encode())
    if isinstance(parsed, Rejected):
        return Entry(at, _sane(record.timestamp_ms), parsed.workflow, None, parsed.cause, parsed.why, parsed.remedy)
    return None


def _written_by_the_job(record: Record, at: Position) -> Entry:
    try:
        body = read_object(record.value or b"", MAX_NESTING)
        if "specversion" not in body:
            raise JsonRefused("missing-attribute", "the record has no envelope", "write to this topic through Loopwright alone")
        message = from_json(body, record)
    except JsonRefused as refused:
        key = (record.key or b"").decode("utf-8", "replace")[:256]
        return Entry(at, _sane(record.timestamp_ms), key, None, refused.cause, refused.why, refused.remedy)
    return Entry(at, message.logged_ms, message.workflow, message)


def _sane(timestamp_ms: int) -> int:
    return min(max(timestamp_ms, 0), LAST_MS)


def filed_again(entries: Iterable[Entry]) -> set[Position]:
    """The records of one workflow that stood astray: the job folds what it wrote for them instead.

    A start of which it wrote nothing yet is not among them: logs from before it did so hold such starts alone.
    """
    known = [(entry, entry.message) for entry in entries if entry.message is not None]
    written = {message.causation for entry, message in known if message.type == schemas.STARTED and not entry.astray}
    return {entry.at for entry, message in known if entry.astray and (message.type != schemas.STARTED or entry.at.name in written)}


def in_log_order(entries: Collection[Entry]) -> list[Entry]:
    """The entries that count, as each topic has them; a start that stood astray comes first, for it did so in another partition."""
    astray = filed_again(entries)
    counted = [entry for entry in entries if entry.at not in astray]
    return sorted(counted, key=lambda entry: (not entry.astray, entry.at.partition, entry.at.offset))


def source_of(letter: Message) -> Position | None:
    """The position that a dead letter speaks of; None where it does not say."""
    topic, partition, offset = (letter.data.get(name) for name in ("topic", "partition", "offset"))
    if isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int):
        return Position(topic, partition, offset)
    return None


def settles_letter(entry: Entry) -> bool:
    """Whether the entry says what became of a dead letter: it is none itself, and changes no workflow."""
    return entry.message is not None and entry.message.type == schemas.LETTER_SETTLED


def is_orphan(entry: Entry) -> bool:
    """Whether the entry makes no workflow known: an unreadable record without a key, the dead letter of one, what became of a letter."""
    if entry.message is None:
        return not entry.workflow
    if settles_letter(entry):
        return True
    if entry.message.type != schemas.REJECTED:
        return False
    source = source_of(entry.message)
    return source is not None and entry.workflow == source.name


def number(value: Any) -> float:
    """`value` where it is a finite number that is not negative; 0 otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(value, 0)


def whole(value: Any) -> int:
    """`value` as a count; 0 where it is none."""
    return int(number(value))


def tokens_in(value: Any) -> int:
    """The tokens in `value`: a number, or prompt and completion tokens side by side."""
    return sum(whole(part) for part in value.values()) if isinstance(value, dict) else whole(value)


def text(value: Any) -> str:
    """`value` where it is text; the empty string otherwise."""
    return value if isinstance(value, str) else ""
