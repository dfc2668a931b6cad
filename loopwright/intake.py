"""The first step of the job: any bytes become a keyed record for an operator, a dead letter, or nothing."""

from loopwright.deadletter import dead_letter
from loopwright.message import Rejected, Skipped, carry, parse
from loopwright.settings import Limits
from loopwright.step import Emit, Record


def intake(record: Record, limits: Limits, dead_letters: str) -> tuple[str, bytes] | Emit | None:
    """(workflow id, the record with its position) for a good record, a dead letter for a bad one, None for a tombstone."""
    parsed = parse(record, limits)
    if isinstance(parsed, Skipped):
        return None
    if isinstance(parsed, Rejected):
        return dead_letter(parsed, dead_letters, "parse")
    return parsed.workflow, carry(record)
