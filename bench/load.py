"""The load on a system under test: workflows that arrive whether or not it keeps up, or so many open at all times.

`due` is when each lead was meant to arrive (or was sent), in ns by the monotonic clock. A start counts when the system has answered 202.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from bench.measure import steady
from bench.workload import arrivals

START_S = 30.0
FAILURES = 100
AGAIN_S = 0.1
SPELL_S = 3.0


class Unusable(Exception):
    """The system takes no work; the text says why."""


@dataclass
class Sent:
    """What was sent: when each lead was due, which were not taken, and the window that is measured."""

    due: dict[int, int] = field(default_factory=dict)
    refused: int = 0
    since: int = 0
    until: int = 0
    said: str = ""

    @property
    def taken(self) -> int:
        """How many workflows were started."""
        return len(self.due) - self.refused


class Target:
    """A system under test and the simulators, over HTTP."""

    def __init__(self, peer: str, simulators: str) -> None:
        self._peer, self._simulators = peer, simulators
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=START_S))

    async def __aenter__(self) -> "Target":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def start(self, lead: int, sent: Sent) -> None:
        """Start a lead's workflow. Raises Unusable where far too many were refused."""
        try:
            async with self._session.post(f"{self._peer}/start", data=orjson.dumps({"lead": lead})) as response:
                taken, said = response.status == 202, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            taken, said = False, f"{type(error).__name__}: {error}"
        if not taken:
            sent.refused, sent.said = sent.refused + 1, said[:300]

    async def about(self) -> dict[str, Any]:
        """What the system says of itself."""
        return dict(await self._got(f"{self._peer}/about"))

    async def done(self) -> int:
        """How many workflows the system has brought to their end."""
        return int((await self._got(f"{self._peer}/done"))["done"])

    async def reset(self, service: str, seed: int) -> None:
        """Empty the simulators' log; from now on they take so long."""
        async with self._session.post(f"{self._simulators}/reset", data=orjson.dumps({"service": service, "seed": seed})) as response:
            response.raise_for_status()

    async def ended(self, after: int = -1) -> int:
        """How many leads the last agent has answered for: waits up to a second until it is more than `after`."""
        return int((await self._got(f"{self._simulators}/ended?after={after}"))["ended"])

    async def log(self) -> list[Any]:
        """The simulators' log."""
        return list(await self._got(f"{self._simulators}/log"))

    async def all_ended(self, count: int, seconds: float) -> None:
        """Wait until so many leads have come to their end, or the time is over."""
        until, ended = time.monotonic() + seconds, await self.ended()
        while ended < count and time.monotonic() < until:
            ended = await self.ended(ended)

    async def all_done(self, count: int, seconds: float) -> int:
        """How many workflows the system has brought to their end, once they are so many or the time is over."""
        until = time.monotonic() + seconds
        while (done := await self.done()) < count and time.monotonic() < until:  # noqa: ASYNC110  # it happens in another process
            await asyncio.sleep(AGAIN_S)
        return done

    async def _got(self, url: str) -> Any:
        async with self._session.get(url) as response:
            response.raise_for_status()
            return orjson.loads(await response.read())


@dataclass(frozen=True)
class Phase:
    """How long a phase warms up and is measured, in seconds; `at_window` is called when the window opens and when it closes.

    With `longest_warm_s` it goes on to warm up until `settled`, which is asked after each spell, says that the system is done with itself,
    and, in a closed loop, it gets hardly faster any more; or for so long.
    """

    warm_s: float
    seconds: float
    at_window: Callable[[], None]
    longest_warm_s: float = 0.0
    settled: Callable[[], bool] = lambda: True


async def open_loop(target: Target, phase: Phase, rate: float, first: int, seed: int) -> Sent:
    """Poisson arrivals at `rate` workflows per second, with the leads from `first` on. Raises Unusable."""
    sent, tasks, began = Sent(), set[asyncio.Task[None]](), time.monotonic_ns()
    warming, marks = _Warming(phase, began / 1e9), None
    for number, at_s in enumerate(arrivals(rate, max(phase.warm_s, phase.longest_warm_s) + phase.seconds, seed), first):
        due = began + int(at_s * 1e9)
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        if marks is None and warming.over(due / 1e9):
            marks = _window(sent, due, phase)
        if marks is not None and due >= sent.until:
            break
        sent.due[number] = due
        task = asyncio.create_task(target.start(number, sent))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        _check(sent)
    await (marks or _window(sent, time.monotonic_ns(), phase))
    await asyncio.gather(*tasks)
    return sent


async def closed_loop(target: Target, phase: Phase, open_workflows: int, first: int) -> Sent:
    """So many workflows open at all times, with the leads from `first` on. Raises Unusable."""
    sent, tasks, warming, ended = Sent(), set[asyncio.Task[None]](), _Warming(phase, time.monotonic()), 0
    marks: asyncio.Task[None] | None = None
    while marks is None or time.monotonic_ns() < sent.until:
        for _ in range(open_workflows - (sent.taken - ended)):
            number = first + len(sent.due)
            sent.due[number] = time.monotonic_ns()
            task = asyncio.create_task(target.start(number, sent))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        ended = await target.ended(ended)
        _check(sent)
        if marks is None and warming.over(time.monotonic(), ended):
            marks = _window(sent, time.monotonic_ns(), phase)
    await marks
    await asyncio.gather(*tasks)
    return sent


class _Warming:
    """A system that warms up since `began`, in s by the monotonic clock."""

    def __init__(self, phase: Phase, began: float) -> None:
        self._phase, self._began = phase, began
        self._rates: list[float] = []
        self._spell = (began, 0)
        self._settled = False

    def over(self, now: float, ended: int | None = None) -> bool:
        """Whether it is time to measure; `ended` workflows have ended so far, where their number is the system's doing."""
        since, before = self._spell
        if now - since >= SPELL_S:
            self._rates.append(((ended or 0) - before) / (now - since))
            self._spell = (now, ended or 0)
            self._settled = self._phase.settled() and (ended is None or steady(self._rates))
        warm_s = now - self._began
        return warm_s >= self._phase.warm_s and (warm_s >= self._phase.longest_warm_s or self._settled)


def _window(sent: Sent, since: int, phase: Phase) -> asyncio.Task[None]:
    """Open the window of what is measured."""
    sent.since, sent.until = since, since + int(phase.seconds * 1e9)
    return asyncio.create_task(_marked(phase, sent))


async def _marked(phase: Phase, sent: Sent) -> None:
    for at in (sent.since, sent.until):
        await asyncio.sleep(max(0.0, (at - time.monotonic_ns()) / 1e9))
        await asyncio.to_thread(phase.at_window)  # it reads /proc, and arrivals do not wait for it


def _check(sent: Sent) -> None:
    if sent.refused > FAILURES:
        raise Unusable(f"{sent.refused} of {len(sent.due)} workflows were not taken; {sent.said}")
