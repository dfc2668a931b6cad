"""Calls in the background: one asyncio loop per process, shared by every operator instance in it.

A Flink task has one thread, and it must not wait for an agent. So calls run on a loop of their own, and come back through the inbox of
the instance that asked for them. In Flink's thread mode the interpreter lives inside the JVM, which makes two rules hard ones: the loop's
thread never ends (a Python-made thread that was attached to the JVM and then exits brings the JVM down), and what it holds is plain
data: no operator, no context, no Java object, whose mere release would attach it.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from loopwright.step import Call, Performer

log = logging.getLogger(__name__)

_guard = threading.Lock()
_shared: "tuple[asyncio.AbstractEventLoop, Bell] | None" = None


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started on first use and never stopped."""
    return _background()[0]


def _background() -> "tuple[asyncio.AbstractEventLoop, Bell]":
    global _shared
    with _guard:
        if _shared is None:
            loop = asyncio.new_event_loop()
            _shared = loop, Bell(loop)
            threading.Thread(target=loop.run_forever, name="loopwright-background", daemon=True).start()
        return _shared


class Bell:
    """Has the loop's thread do something, in the order in which it is asked; for any thread. Like `call_soon_threadsafe`, but at half the
    cost on either side: one byte for all that is asked until the loop answers. It stands as long as the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked: deque[Callable[[], object]] = deque()
        self._rung = False
        self._reader, self._writer = os.pipe()
        loop.add_reader(self._reader, self._answer)

    def ring(self, work: Callable[[], object]) -> None:
        """Have `work` done."""
        self._asked.append(work)
        if not self._rung:
            self._rung = True
            os.write(self._writer, b"\x01")

    def _answer(self) -> None:
        os.read(self._reader, 1)
        self._rung = False  # before the work is looked at: what comes later rings again
        while self._asked:
            try:
                self._asked.popleft()()
            except Exception:  # the rest is done all the same, as the loop does it with what it was asked for itself
                log.exception("work in the background failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `key` ended: JSON in `data`, or a `fault` where the performer broke its promise never to raise."""

    key: str
    call_id: str
    data: bytes
    fault: str = ""


class Lane:
    """The calls of one operator instance: `start` them, `take` what came back, `close` when the task ends.

    At most `limit` run at a time; more wait in memory. `pipe` is the writing end of a pipe (or None), which the lane owns from now on: when
    its reader goes away the lane ends, as by `close`; and if it `rings`, one byte is written to it when outcomes wait and the last byte was
    answered by `take`. An ended lane never hands out another outcome.
    """

    def __init__(self, performer: Performer, limit: int, pipe: int | None = None, rings: bool = False) -> None:
        self._performer = performer
        self._free = limit
        self._pipe = pipe
        self._rings = rings
        self._inbox: deque[Outcome] = deque()
        self._arrived = threading.Event()
        self._wake_pending = False
        self._outbox: deque[tuple[str, Call]] = deque()
        self._spawn_pending = False
        self._spawned = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop, self._bell = _background()
        self.ended = False
        self._bell.ring(self._open)

    def start(self, key: str, call: Call) -> None:
        """Have `call` performed; its outcome comes back under `key`. Called by the task's thread."""
        self._outbox.append((key, call))
        if not self._spawn_pending:  # all that wait are started at once
            self._spawn_pending = True
            self._bell.ring(self._spawn)

    def take(self, limit: int) -> list[Outcome]:
        """Up to `limit` outcomes, oldest first, without waiting. Called by the task's thread."""
        self._wake_pending = False
        found: list[Outcome] = []
        while self._inbox and len(found) < limit and not self.ended:
            found.append(self._inbox.popleft())
        if self._inbox:
            self.nudge()
        return found

    def wait(self, seconds: float) -> bool:
        """Wait until something is there to take, at most `seconds`. Called by the task's thread."""
        self._arrived.clear()
        return bool(self._inbox) or self.ended or self._arrived.wait(seconds)

    def nudge(self) -> None:
        """Ask for another wake-up, for work that the task's thread left over."""
        self._bell.ring(self._wake)

    def close(self) -> None:
        """Cancel the calls and close the performer. Safe to repeat, and from any thread; does not wait."""
        self._bell.ring(self._end)

    # -- from here on: the loop's thread alone

    def _open(self) -> None:
        if self._pipe is not None:
            os.set_blocking(self._pipe, False)
            self._loop.add_reader(self._pipe, self._end)  # the writing end of a pipe is "readable" once its reader is gone
        self._ready = self._loop.create_task(self._performer.open())
        self._tasks[0] = self._ready

    def _spawn(self) -> None:
        self._spawn_pending = False  # before the outbox is looked at: what comes later asks again
        while self._outbox and self._free > 0 and not self.ended:
            self._free -= 1
            self._spawned += 1
            self._tasks[self._spawned] = self._loop.create_task(self._perform(self._spawned, *self._outbox.popleft()))
        if self.ended:
            self._outbox.clear()

    async def _perform(self, number: int, key: str, call: Call) -> None:
        try:
            if self._ready.done():
                self._ready.result()
            else:
                await asyncio.shield(self._ready)
            data = await self._performer.perform(call)
            self._deliver(Outcome(key, call.id, data))
        except Exception as error:
            log.exception("call %s of %s broke its performer", call.id, key)
            self._deliver(Outcome(key, call.id, b"", fault=repr(error)))
        finally:
            self._free += 1
            self._tasks.pop(number, None)
            if self._outbox:
                self._spawn()

    def _deliver(self, outcome: Outcome) -> None:
        if not self.ended:
            self._inbox.append(outcome)
            if not self._arrived.is_set():
                self._arrived.set()
            self._wake()

    def _wake(self) -> None:
        if self._pipe is not None and self._rings and not self._wake_pending and not self.ended:
            self._wake_pending = True
            try:
                os.write(self._pipe, b"\x01")
            except BrokenPipeError:
                self._end()
            except BlockingIOError:
                pass  # the pipe is full of wakes

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._inbox.clear()
        self._arrived.set()
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
        self._outbox.clear()
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        self._closing = self._loop.create_task(self._close_performer(tasks))

    async def _close_performer(self, cancelled: "tuple[asyncio.Task[None], ...]") -> None:
        await asyncio.gather(*cancelled, return_exceptions=True)
        try:
            await self._performer.close()
        except Exception:
            log.exception("closing a performer failed")
