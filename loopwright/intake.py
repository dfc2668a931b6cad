"""The first step of the job: any bytes become a keyed record for an operator, a dead letter, or nothing.

A record that does not stand under its workflow's key (a bare document, which has none) is written once more, under that key, and taken up
from there. So all that an operator folds of one workflow comes from one partition, in one order, after a restart as well: between
partitions there is no order, and a reply could come back before the start that it belongs to.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loopwright.deadletter import dead_letter
from loopwright.message import BARE, LAST_MS, Arrived, Message, Rejected, Skipped, emitted, parse
from loopwright.settings import Limits
from loopwright.step import Emit, Record
from loopwright.wire import Decode, without_registry

SOURCE = "/loopwright/intake"

Parse = Callable[[Record], tuple[str, Any] | Emit | None]


def intake(record: Record, limits: Limits, dead_letters: str, decode: Decode = without_registry) -> tuple[str, Arrived] | Emit | None:
    """(workflow id, the record as it was read) for a good record, None for a tombstone.

    An `Emit` is to be written instead: a dead letter for a bad record, and a record under its key for one that stood under another. Raises
    what `decode` raises where nothing can be said of the record: it has to be read again.
    """
    parsed = parse(record, limits, decode)
    if isinstance(parsed, Skipped):
        return None
    if isinstance(parsed, Rejected):
        return dead_letter(parsed, dead_letters, "parse")
    if record.key != parsed.workflow.encode():
        return _filed(record, parsed, limits, dead_letters)
    return parsed.workflow, Arrived(record, parsed)


def _filed(record: Record, message: Message, limits: Limits, dead_letters: str) -> Emit:
    where = f"{record.topic}-{record.partition}-{record.offset}"
    source, time_ms = SOURCE if message.source == BARE else message.source, min(max(message.time_ms, 0), LAST_MS)
    emit = emitted(record.topic, replace(message, source=source, time_ms=time_ms, causation=message.causation or where))
    if len(emit.value) <= limits.message_bytes:
        return emit
    why = f"{len(emit.value)} bytes in an envelope; the limit is {limits.message_bytes}"
    remedy = "send less, or keep large values outside and refer to them"
    return dead_letter(Rejected(record, "too-large", why, remedy, message.workflow), dead_letters, "parse")
