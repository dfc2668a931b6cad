"""The scheduler: starts what is due, and notes up to when each schedule was dealt with.

Any number of them may run. They write the same records for the same time, under the same workflow id, and the job drops all but the first;
the notes, in a compacted topic, say where one that starts, or that slept, is to go on. A note follows the start that it tells of: what is
lost between the two is a note, and costs a start that is made again and dropped.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import orjson

from loopwright.clock import now_ms
from loopwright.edges import kafka
from loopwright.edges.entrance import LiveEntrance
from loopwright.edges.topics import topic_specs
from loopwright.errors import LoopwrightError, Unreachable
from loopwright.message import Message, emitted, shown_time
from loopwright.settings import Settings
from loopwright.sources.definition import Schedule, Sources
from loopwright.sources.due import NEVER_MS, Turn, due, next_ms
from loopwright.sources.starts import scheduled
from loopwright.step import Record

LOOK_S = 0.5
RETRY_MS = 5_000
_NOTES = "the notes cannot be read"
log = logging.getLogger(__name__)


class Book(Protocol):
    """Where starts are written, and notes written and read. Each raises LoopwrightError."""

    def read(self) -> dict[str, int]:
        """By the schedules' names: up to when each was dealt with, in ms since the epoch."""

    def start(self, messages: Sequence[Message]) -> None:
        """Write starts of workflows."""

    def note(self, schedule: str, until_ms: int) -> None:
        """Write up to when a schedule was dealt with."""

    def close(self) -> None:
        """Let go of what it holds."""


class KafkaBook:
    """The book in Kafka."""

    def __init__(self, settings: Settings) -> None:
        """Begin to follow the definitions, which say what is sensitive. Raises InvalidSettings where the key file cannot be used."""
        self._settings = settings
        self._topics = settings.topics
        self._producer = kafka.Producer(settings)
        self._entrance = LiveEntrance(settings)

    def read(self) -> dict[str, int]:
        """See `Book`. The topic is made where it is missing."""
        kafka.ensure_topics(self._settings, [spec for spec in topic_specs(self._settings) if spec.name == self._topics.schedules])
        return latest(note for record in kafka.read_all(self._settings, [self._topics.schedules]) if (note := note_in(record)))

    def start(self, messages: Sequence[Message]) -> None:
        """See `Book`. Sensitive fields are encrypted on the way."""
        self._producer.send_many([emitted(self._topics.messages, self._entrance.sealed(message)) for message in messages])

    def note(self, schedule: str, until_ms: int) -> None:
        """See `Book`."""
        self._producer.send(self._topics.schedules, schedule.encode(), note_of(schedule, until_ms))

    def close(self) -> None:
        """See `Book`."""
        self._entrance.close()
        self._producer.close()


def note_of(schedule: str, until_ms: int) -> bytes:
    """The note as it stands in the topic: JSON."""
    return orjson.dumps({"schedule": schedule, "until": shown_time(until_ms)})


def note_in(record: Record) -> tuple[str, int] | None:
    """The schedule and the time (ms) of a note; None for what is none, which is logged."""
    try:
        body = orjson.loads(record.value or b"")
        return str(body["schedule"]), int(datetime.fromisoformat(body["until"]).timestamp() * 1000)
    except (ValueError, KeyError, TypeError, OverflowError):
        log.warning("%s-%d-%d is no note of a schedule", record.topic, record.partition, record.offset)
        return None


def latest(notes: Iterable[tuple[str, int]]) -> dict[str, int]:
    """By name the latest of the times."""
    found: dict[str, int] = {}
    for name, until_ms in notes:
        found[name] = max(until_ms, found.get(name, until_ms))
    return found


class Scheduler:
    """Looks at the schedules again and again. `sources` gives them as they stand now."""

    def __init__(self, sources: Callable[[], Sources], book: Book) -> None:
        self._sources = sources
        self._book = book
        self._seen: Sources | None = None
        self._since: dict[str, int] | None = None
        self._next: dict[str, int] = {}
        self._faults: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            try:
                self.look(now_ms())
            except Exception:
                log.exception("this look failed; the next one comes")
            stop.wait(LOOK_S)
        self._book.close()

    def look(self, now_ms: int) -> None:
        """Start what is due at `now_ms`. What cannot be started is tried again five seconds later, and said once."""
        sources = self._sources()
        if sources is not self._seen:
            self._seen, self._next = sources, {}
        ripe = [schedule for schedule in sources.schedules.values() if self._next.get(schedule.name, 0) <= now_ms]
        if not ripe:
            return
        self._next |= dict.fromkeys([schedule.name for schedule in ripe], now_ms + RETRY_MS)
        try:
            since, turns = self._turns(ripe, now_ms)
        except LoopwrightError as error:
            self._failed(_NOTES, error)
            return
        self._faults.pop(_NOTES, None)
        left = self._take_all(turns)
        since |= {turn.schedule.name: turn.until_ms for turn in turns if turn.schedule.name not in left}
        for schedule in ripe:
            if schedule.name not in left:
                self._next[schedule.name] = next_ms(schedule, max(since[schedule.name], now_ms))

    def _turns(self, ripe: Sequence[Schedule], now_ms: int) -> tuple[dict[str, int], list[Turn]]:
        """Up to when all were dealt with, and what is to be done. The notes are read first, and again where times were missed: this
        process slept or Kafka was away, and another scheduler may have been at work."""
        turns = [] if self._since is None else due(ripe, self._since, now_ms)
        if self._since is None or any(turn.missed for turn in turns):
            self._since = latest([*(self._since or {}).items(), *self._book.read().items()])
            turns = due(ripe, self._since, now_ms)
        return self._since, turns

    def _take_all(self, turns: Sequence[Turn]) -> set[str]:
        """Do the turns; the names of the schedules for which that failed. Where Kafka does not answer, no further one is tried."""
        left = {turn.schedule.name for turn in turns}
        for turn in turns:
            fault = f"{turn.schedule.name} cannot be started"
            try:
                self._take(turn)
            except LoopwrightError as error:
                self._failed(fault, error)
                if isinstance(error, Unreachable):
                    break
            else:
                self._faults.pop(fault, None)
                left.discard(turn.schedule.name)
        return left

    def _take(self, turn: Turn) -> None:
        name = turn.schedule.name
        if turn.starts:
            self._book.start([scheduled(turn.schedule, at_ms) for at_ms in turn.starts])
        self._book.note(name, turn.until_ms)
        for at_ms in turn.starts:
            log.info("%s: started for %s", name, shown_time(at_ms))
        if turn.left_out:
            log.warning("%s: %d of %d missed times start nothing (missed: %s)", name, turn.left_out, turn.missed, turn.schedule.missed)
        elif not turn.starts:
            log.info("%s: counts from %s on", name, shown_time(turn.until_ms))

    def _failed(self, what: str, error: LoopwrightError) -> None:
        if self._faults.get(what) != str(error):
            log.error("%s: %s: %s; %s", what, error.what, error.why, error.remedy)
        self._faults[what] = str(error)

    def state(self) -> dict[str, object]:
        """What is known of each schedule: up to when it was dealt with, and its next time; and what is in the way."""
        since, schedules = self._since or {}, self._seen.schedules if self._seen else {}
        known = {name: {"until": _shown(since.get(name)), "next": _shown(self._next.get(name))} for name in schedules}
        return {"status": "ok", "schedules": known, "faults": sorted(self._faults)}


def _shown(at_ms: int | None) -> str | None:
    return None if at_ms is None or at_ms == NEVER_MS else shown_time(at_ms)
