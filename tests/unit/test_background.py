"""The lane: calls on the background loop, outcomes by inbox, an end that nothing outlives."""

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable
from functools import partial

from loopwright.edges.background import Bell, Lane, Outcome, background_loop
from loopwright.step import Call


class Scripted:
    """Answers b"late" once `gate` is set, anything else at once; raises for the id `broken`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running = self.most = 0
        self.cancelled: list[str] = []
        self.closed = threading.Event()

    async def open(self) -> None: ...

    async def perform(self, call: Call) -> bytes:
        if call.id == "broken":
            raise ValueError("no promise kept")
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while call.payload == b"late" and not self.gate.is_set():  # noqa: ASYNC110  # another thread opens the gate
                await asyncio.sleep(0.001)
            return call.payload
        except asyncio.CancelledError:
            self.cancelled.append(call.id)
            raise
        finally:
            self.running -= 1

    async def close(self) -> None:
        self.closed.set()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def taken(lane: Lane, count: int) -> list[Outcome]:
    found: list[Outcome] = []
    while len(found) < count:
        assert lane.wait(10), f"only {found} came back"
        found += lane.take(1000)
    return found


def readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_an_outcome_comes_back_under_its_key() -> None:
    lane = Lane(Scripted(), 10)
    lane.start("w1", Call("a", b"one"))
    lane.start("w2", Call("a", b"two"))
    assert {(o.key, o.call_id, o.data) for o in taken(lane, 2)} == {("w1", "a", b"one"), ("w2", "a", b"two")}
    lane.close()


def test_calls_beyond_the_limit_wait_and_are_made() -> None:
    performer = Scripted()
    lane = Lane(performer, 3)
    for n in range(10):
        lane.start(f"w{n}", Call("a", b"late"))
    until(lambda: performer.running == 3)
    performer.gate.set()
    assert len(taken(lane, 10)) == 10
    assert performer.most == 3
    lane.close()


def test_what_a_performer_raises_is_told_as_a_fault() -> None:
    lane = Lane(Scripted(), 10)
    lane.start("w", Call("broken", b""))
    assert taken(lane, 1) == [Outcome("w", "broken", b"", fault="ValueError('no promise kept')")]
    lane.close()


def test_one_byte_rings_for_many_outcomes_until_they_are_taken() -> None:
    reader, writer = os.pipe()
    performer = Scripted()
    lane = Lane(performer, 10, writer, rings=True)
    for n in range(5):
        lane.start(f"w{n}", Call("a", b"late"))
    performer.gate.set()
    until(lambda: performer.running == 0 and lane.wait(0))
    assert readable(reader, 10)
    until(lambda: len(lane._inbox) == 5)
    assert os.read(reader, 100) == b"\x01"
    assert len(lane.take(2)) == 2
    assert readable(reader, 10), "what was left over rings again"
    os.close(reader)
    until(lambda: lane.ended)


def test_the_end_of_the_reader_cancels_the_calls_and_closes_the_performer() -> None:
    reader, writer = os.pipe()
    performer = Scripted()
    lane = Lane(performer, 10, writer)
    lane.start("w", Call("a", b"late"))
    until(lambda: performer.running == 1)
    os.close(reader)
    assert performer.closed.wait(10)
    assert performer.cancelled == ["a"]


def test_an_ended_lane_hands_out_nothing_and_starts_nothing() -> None:
    performer = Scripted()
    lane = Lane(performer, 10)
    lane.start("w", Call("a", b"now"))
    assert lane.wait(10)
    lane.close()
    lane.close()
    assert performer.closed.wait(10)
    assert lane.take(10) == []
    lane.start("w", Call("b", b"late"))
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), background_loop()).result(10)
    assert performer.running == 0


def test_there_is_one_loop_in_a_process() -> None:
    assert background_loop() is background_loop()
    assert background_loop().is_running()


def test_all_that_several_threads_ask_for_is_done_in_each_one_s_order_whatever_fails() -> None:
    loop, done = background_loop(), list[tuple[int, int]]()

    async def made() -> Bell:
        return Bell(loop)

    bell = asyncio.run_coroutine_threadsafe(made(), loop).result(10)

    def ask(thread: int) -> None:
        for number in range(500):
            bell.ring(partial(done.append, (thread, number)))
            if number % 100 == 0:
                bell.ring(list[int]().pop)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    until(lambda: len(done) == 2000)
    assert [[number for thread, number in done if thread == one] for one in range(4)] == [list(range(500))] * 4


def test_calls_that_wait_when_a_lane_ends_are_never_made() -> None:
    performer = Scripted()
    lane = Lane(performer, 1)
    for n in range(3):
        lane.start(f"w{n}", Call(f"{n}", b"late"))
    until(lambda: performer.running == 1)
    lane.close()
    assert performer.closed.wait(10)
    performer.gate.set()
    assert performer.cancelled == ["0"]
    assert (performer.most, performer.running) == (1, 0)


def test_a_performer_that_cannot_open_fails_each_call() -> None:
    class Shut(Scripted):
        async def open(self) -> None:
            raise OSError("shut")

    lane = Lane(Shut(), 10)
    for n in range(2):
        lane.start("w", Call(f"{n}", b""))
    assert {outcome.fault for outcome in taken(lane, 2)} == {"OSError('shut')"}
    lane.start("w", Call("2", b""))
    assert taken(lane, 1)[0].fault == "OSError('shut')"
    lane.close()


def test_to_wait_on_an_ended_lane_is_over_at_once() -> None:
    lane = Lane(Scripted(), 10)
    threading.Timer(0.05, lane.close).start()
    began = time.monotonic()
    assert lane.wait(10)
    assert lane.wait(10)
    assert time.monotonic() - began < 5
