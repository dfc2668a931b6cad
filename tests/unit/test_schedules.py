"""The scheduler over a book in memory: what it starts and notes when it is started again, runs twice, sleeps, or its book is away."""

import threading
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.edges.platform.waiting import wait_for
from loopwright.edges.private_file import Reloaded
from loopwright.edges.schedules import RETRY_MS, Scheduler, latest, note_in, note_of
from loopwright.errors import InvalidSettings, Unreachable
from loopwright.message import Message, encode, shown_time
from loopwright.sources.definition import Schedule, Sources
from loopwright.sources.loading import load_sources
from loopwright.sources.times import instants
from loopwright.step import Record

MINUTE, HOUR = 60_000, 3_600_000
NOON = int(datetime.fromisoformat("2026-01-01T12:00:00Z").timestamp() * 1000)


class Shelf:
    """What any number of books hold: starts in the order in which they were written, and notes."""

    def __init__(self) -> None:
        self.started: list[Message] = []
        self.notes: list[tuple[str, int]] = []

    def book(self) -> "Book":
        return Book(self)


class Book:
    """One scheduler's way to the shelf. `away` names what fails: read, start, note."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.away: set[str] = set()
        self.closed = threading.Event()

    def read(self) -> dict[str, int]:
        self._fail("read")
        return latest(self._shelf.notes)

    def start(self, messages: Sequence[Message]) -> None:
        self._fail("start")
        self._shelf.started += messages

    def note(self, schedule: str, until_ms: int) -> None:
        self._fail("note")
        self._shelf.notes.append((schedule, until_ms))

    def close(self) -> None:
        self.closed.set()

    def _fail(self, what: str) -> None:
        if what in self.away:
            raise Unreachable("Kafka does not answer", "no broker", "start it")


def schedule(name: str = "hourly", cron: str = "0 * * * *", **more: Any) -> Schedule:
    return Schedule(name=name, cron=cron, document={"at": "${at}"}, **more)


def sources(*schedules: Schedule) -> Sources:
    return Sources(schedules={one.name: one for one in schedules})


def scheduler(shelf: Shelf, *schedules: Schedule, book: Book | None = None) -> Scheduler:
    given = sources(*(schedules or [schedule()]))
    return Scheduler(lambda: given, book or shelf.book())


def workflows(shelf: Shelf) -> list[str]:
    return [message.workflow for message in shelf.started]


def hours(*numbers: int) -> list[str]:
    return [f"hourly:2026-01-01T{hour:02d}:00:00Z" for hour in numbers]


def test_a_new_schedule_starts_nothing_for_what_was_before_and_then_each_of_its_times() -> None:
    shelf = Shelf()
    one = scheduler(shelf)
    for now in range(NOON + 30 * MINUTE, NOON + 3 * HOUR, 500 * 10):
        one.look(now)
    assert workflows(shelf) == hours(13, 14)
    assert shelf.notes == [("hourly", NOON + 30 * MINUTE), ("hourly", NOON + HOUR), ("hourly", NOON + 2 * HOUR)]


def test_one_that_is_started_again_goes_on_from_the_notes_and_repeats_nothing() -> None:
    shelf = Shelf()
    scheduler(shelf).look(NOON)
    scheduler(shelf).look(NOON + HOUR + 1)
    for _ in range(3):
        scheduler(shelf).look(NOON + HOUR + 5000)
    assert workflows(shelf) == hours(13)


@pytest.mark.parametrize(("missed", "started"), [("run-once", hours(17)), ("run-all", hours(13, 14, 15, 16, 17)), ("skip", [])])
def test_what_was_missed_while_nothing_ran_is_made_up_for_once(missed: str, started: list[str]) -> None:
    shelf, one = Shelf(), schedule(missed=missed)
    scheduler(shelf, one).look(NOON)
    for now in (NOON + 5 * HOUR + 30 * MINUTE, NOON + 5 * HOUR + 31 * MINUTE):
        scheduler(shelf, one).look(now)
    assert workflows(shelf) == started


def test_one_that_slept_sees_what_another_one_has_done_meanwhile() -> None:
    shelf, daily = Shelf(), schedule("daily", "0 13 * * *")
    sleeper, other = scheduler(shelf, daily), scheduler(shelf, daily)
    sleeper.look(NOON)
    other.look(NOON)
    other.look(NOON + HOUR)
    sleeper.look(NOON + 20 * HOUR)
    assert workflows(shelf) == ["daily:2026-01-01T13:00:00Z"]


def test_two_write_the_same_record_for_the_same_time() -> None:
    shelf = Shelf()
    both = [scheduler(shelf), scheduler(shelf)]
    for now in (NOON, NOON + HOUR, NOON + HOUR + 700):
        for one in both:
            one.look(now)
    first, again = shelf.started
    assert encode(first) == encode(again)


def test_while_kafka_is_away_nothing_is_lost_and_the_fault_is_told(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    book = shelf.book()
    one = scheduler(shelf, book=book)
    one.look(NOON)
    book.away = {"start"}
    for second in range(10):
        one.look(NOON + HOUR + second * 500)
    assert one.state()["faults"] == ["hourly cannot be started"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1, "said once"
    book.away = {"note"}
    one.look(NOON + HOUR + 2 * RETRY_MS)
    book.away = set()
    one.look(NOON + HOUR + 4 * RETRY_MS)
    assert workflows(shelf) == hours(13, 13), "made again, the same: the note was not written"
    assert one.state() == {
        "status": "ok",
        "schedules": {"hourly": {"until": "2026-01-01T13:00:00.000Z", "next": "2026-01-01T14:00:00.000Z"}},
        "faults": [],
    }


def test_without_its_notes_it_starts_nothing() -> None:
    shelf = Shelf()
    scheduler(shelf).look(NOON)
    book = shelf.book()
    book.away = {"read"}
    one = scheduler(shelf, book=book)
    one.look(NOON + HOUR)
    assert (workflows(shelf), one.state()["faults"]) == ([], ["the notes cannot be read"])
    book.away = set()
    one.look(NOON + HOUR + RETRY_MS)
    assert workflows(shelf) == hours(13)


def test_a_schedule_that_cannot_be_started_holds_up_no_other() -> None:
    class Picky(Book):
        def start(self, messages: Sequence[Message]) -> None:
            if messages[0].workflow.startswith("bad"):
                raise InvalidSettings("sensitive fields cannot be encrypted", "there are no keys", "set LOOPWRIGHT_KEYS_FILE")
            super().start(messages)

    shelf = Shelf()
    one = scheduler(shelf, schedule("bad"), schedule(), book=Picky(shelf))
    for now in (NOON, NOON + HOUR, NOON + 2 * HOUR):
        one.look(now)
    assert workflows(shelf) == hours(13, 14)
    assert one.state()["faults"] == ["bad cannot be started"]


def test_where_kafka_does_not_answer_it_is_waited_for_once_and_not_for_each_schedule() -> None:
    shelf = Shelf()
    book = shelf.book()
    one = scheduler(shelf, *(schedule(f"s{number}") for number in range(9)), book=book)
    one.look(NOON)
    book.away = {"start"}
    one.look(NOON + HOUR)
    assert one.state()["faults"] == ["s0 cannot be started"]
    book.away = set()
    one.look(NOON + HOUR + RETRY_MS)
    assert sorted(workflows(shelf)) == [f"s{number}:2026-01-01T13:00:00Z" for number in range(9)]


def test_a_file_that_changes_takes_effect_and_one_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    form = "schedules: {hourly: {cron: '%s', document: {}}}"
    file.write_text(form % "0 * * * *")
    shelf = Shelf()
    one = Scheduler(Reloaded(file, load_sources).value, shelf.book())
    one.look(NOON)
    file.write_text(form % "30 * * * *")
    one.look(NOON + 1)
    file.write_text(form % "nonsense")
    for minute in range(0, 90, 10):
        one.look(NOON + minute * MINUTE + 2)
    assert workflows(shelf) == ["hourly:2026-01-01T12:30:00Z"]


def test_the_loop_goes_on_after_a_look_that_failed_and_ends_when_it_is_told() -> None:
    shelf, stop, seen, given = Shelf(), threading.Event(), threading.Event(), sources(schedule())

    def failing_once() -> Sources:
        if not seen.is_set():
            seen.set()
            raise RuntimeError("a fault of ours")
        return given

    book = shelf.book()
    thread = threading.Thread(target=Scheduler(failing_once, book).run, args=(stop,))
    thread.start()
    try:
        assert wait_for(lambda: bool(shelf.notes), 20)
    finally:
        stop.set()
        thread.join(20)
    assert (thread.is_alive(), book.closed.is_set()) == (False, True)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # which of two schedulers
        st.one_of(st.integers(1, MINUTE), st.integers(1, 5 * HOUR)),  # after how long it looks
        st.sampled_from(["", "", "", "killed", "read", "start", "note"]),  # what befalls it
    ),
    max_size=30,
)


@given(STEPS)
def test_whatever_befalls_two_of_them_each_time_is_started_under_one_id_and_no_other_is(steps: list[tuple[int, int, str]]) -> None:
    shelf, one, now = Shelf(), schedule(missed="run-all", missed_within="744h"), NOON + 1
    books = [shelf.book(), shelf.book()]
    pair = [scheduler(shelf, one, book=book) for book in books]
    pair[0].look(now)
    for which, pause, fault in steps:
        now += pause
        if fault == "killed":
            pair[which] = scheduler(shelf, one, book=books[which])
        books[which].away = {fault} - {"killed"}
        pair[which].look(now)
        books[which].away = set()
    scheduler(shelf, one).look(now)
    wanted = [shown_time(at).replace(".000", "") for at in takewhile(lambda at: at <= now, instants(one.cron, "UTC", NOON + 1))]
    assert sorted(set(workflows(shelf))) == [f"hourly:{at}" for at in wanted]
    assert len({m.workflow for m in shelf.started}) == len({encode(m) for m in shelf.started}), "one id, one record"


def test_a_note_is_read_as_it_was_written_and_anything_else_is_none() -> None:
    assert note_in(Record("t", 0, 0, 0, b"x", note_of("nightly", NOON + 1))) == ("nightly", NOON + 1)
    for value in (
        None,
        b"",
        b"[]",
        b"{",
        b'{"schedule": "x"}',
        orjson.dumps({"schedule": "x", "until": 5}),
        b'{"schedule": "x", "until": "soon"}',
    ):
        assert note_in(Record("t", 0, 0, 0, b"x", value)) is None
    assert latest([("a", 2), ("b", 1), ("a", 1)]) == {"a": 2, "b": 1}
