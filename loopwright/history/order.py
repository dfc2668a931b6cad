"""One order for the records of one workflow, whatever the order in which the topics were read.

Within a topic the log's own order holds. Across topics a record comes after the one that caused it, then by hop (decision, reply, end),
then by time; what is late, a duplicate of an earlier hop, by time. The result is a function of the records alone.
"""

from collections.abc import Iterable

from loopwright import schemas
from loopwright.history.reading import Entry

RANKS = {
    schemas.DECIDED: 0,
    schemas.PROGRESS: 1,
    schemas.CALLED_BACK: 2,
    schemas.REPLIED: 3,
    schemas.FAILED: 3,
    schemas.SETTLED: 3,
    schemas.WORKFLOW_COMPLETED: 4,
    schemas.WORKFLOW_FAILED: 4,
}
START = (-1, 0)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of one workflow in the order in which a person reads them. An entry that is given twice is kept once."""
    once = {entry.at: entry for entry in entries}
    lanes: dict[tuple[str, int], list[Entry]] = {}
    for at in sorted(once, key=lambda at: (at.topic, at.partition, at.offset), reverse=True):
        lanes.setdefault((at.topic, at.partition), []).append(once[at])
    waiting = [lanes[name] for name in sorted(lanes)]
    ids = {entry.message.id for entry in once.values() if entry.message}
    ordered: list[Entry] = []
    reached = START
    while waiting:
        heads = [lane[-1] for lane in waiting]
        free = [number for number, head in enumerate(heads) if not _waits(head, ids)] or list(range(len(heads)))
        chosen = free[0]
        for number in free[1:]:
            if _before(heads[number], heads[chosen], reached):
                chosen = number
        taken = waiting[chosen].pop()
        ordered.append(taken)
        reached = max(reached, _key(taken) or START)
        if taken.message:
            ids.discard(taken.message.id)
        waiting = [lane for lane in waiting if lane]
    return ordered


def _waits(entry: Entry, to_come: set[str]) -> bool:
    """Whether the record that caused this one is still to come. A record that names itself waits for nothing."""
    message = entry.message
    return message is not None and message.causation in to_come and message.causation != message.id


def _key(entry: Entry) -> tuple[int, int] | None:
    """Hop and place within it; None where the record has none, and time alone says where it belongs."""
    message = entry.message
    if message is None:
        return None
    if message.type == schemas.STARTED:
        return START
    rank = RANKS.get(message.type)
    return None if rank is None or message.hop == 0 else (message.hop, rank)


def _before(one: Entry, other: Entry, reached: tuple[int, int]) -> bool:
    mine, theirs = _key(one), _key(other)
    if mine is not None and theirs is not None and mine != theirs and min(mine, theirs) >= reached:
        return mine < theirs
    return one.logged_ms < other.logged_ms
