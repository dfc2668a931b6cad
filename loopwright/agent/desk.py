"""One agent at work: each call runs once, whoever asks how often. Answers at once (`reply: response`) or later (`reply: callback`)."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import orjson

from loopwright.agent.agent import Agent
from loopwright.agent.answer import Answer
from loopwright.agent.idempotency import Cause, IdempotencyStore, Kept, Running, Standing, StoreUnavailable
from loopwright.agent.incoming import Incoming
from loopwright.agent.problems import problem
from loopwright.agent.task import Report
from loopwright.agent.work import do, input_problem

log = logging.getLogger(__name__)
LEASE_MS = 10_000
KEEP_TRYING_S = 30.0
LONGEST_WAIT_S = 30
T = TypeVar("T")


class Shelf:
    """The store on its own thread, so that neither the loop nor a busy handler holds it up."""

    def __init__(self, store: IdempotencyStore) -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="idempotency")

    async def ask(self, question: Callable[[IdempotencyStore], T]) -> T:
        """What `question` finds in the store."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self.store)

    async def keep(self, agent: str, key: str, answer: Kept, *, delivering: bool = False) -> bool:
        """Store the answer of work that is done: tried for a while, since the work would be done again without it. As `finish`."""
        until = time.monotonic() + KEEP_TRYING_S
        while True:
            try:
                return await self.ask(lambda store: store.finish(agent, key, answer, delivering=delivering))
            except StoreUnavailable as error:
                if time.monotonic() > until:
                    raise
                log.warning("%s; the next try comes soon: %s", error.what, error.why)
                await asyncio.sleep(0.5)

    def close(self) -> None:
        """Let what is under way end, and close the store."""
        self._thread.shutdown(wait=True)
        self.store.close()


class Desk:
    """Answers the calls of one agent with `reply: response`."""

    def __init__(self, agent: Agent, shelf: Shelf, report: Callable[[Incoming], Report], lease_ms: int = LEASE_MS) -> None:
        self.agent = agent
        self._shelf = shelf
        self._report = report
        self._lease_ms = lease_ms

    async def answer(self, incoming: Incoming) -> Answer:
        """The answer to a call: fresh, replayed, or a problem."""
        refused = input_problem(self.agent, incoming)
        if refused is not None:
            return refused
        name, key = self.agent.name, incoming.key
        standing = await self._shelf.ask(
            lambda store: store.begin(name, key, incoming.fingerprint, self._lease_ms, cause=cause_of(incoming))
        )
        if isinstance(standing, Kept):
            return replayed(standing)
        if standing is Standing.MISMATCH:
            return mismatch(key)
        if isinstance(standing, Running):
            return in_progress(key, standing.for_ms)
        return await self._fresh(incoming)

    async def _fresh(self, incoming: Incoming) -> Answer:
        name, key = self.agent.name, incoming.key
        try:
            answer = await self.held(incoming)
            if answer.status == 200:
                await self._shelf.keep(name, key, kept(answer))
                return answer
        except BaseException:
            with suppress(StoreUnavailable):
                self._shelf.store.release(name, key)  # not awaited: a cancelled task may not wait
            raise
        with suppress(StoreUnavailable):  # the lease ends by itself
            await self._shelf.ask(lambda store: store.release(name, key))
        return answer

    async def held(self, incoming: Incoming) -> Answer:
        """Do the work while the lease on the call is renewed."""
        renewing = asyncio.create_task(self._renew(incoming.key))
        try:
            return await do(self.agent, incoming, self._report(incoming))
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self, key: str) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                await self._shelf.ask(lambda store: store.renew(self.agent.name, key, self._lease_ms))
            except StoreUnavailable as error:
                log.warning("the lease on %s could not be renewed: %s", key, error.why)


def cause_of(incoming: Incoming) -> Cause:
    """Whose call it is."""
    return Cause(incoming.workflow, incoming.hop, incoming.branch)


def kept(answer: Answer) -> Kept:
    """An answer as it is stored."""
    return Kept(answer.status, orjson.dumps(answer.headers).decode(), answer.body)


def replayed(stored: Kept) -> Answer:
    """A stored answer, marked as a repeat."""
    return Answer(stored.status, stored.body, {**orjson.loads(stored.headers), "idempotent-replayed": "true"})


def mismatch(key: str) -> Answer:
    """The 422 for a key that came with another payload."""
    detail = f"{key[:80]!r} belongs to a call with another payload. Use a new key for a new call."
    return problem(422, "idempotency-key-reused", "The Idempotency-Key was used before", detail)


def in_progress(key: str, for_ms: int) -> Answer:
    """The 409 for a call that another request is running.

    It asks for as long a wait as the call has run already, so that a caller with a handful of attempts outlasts sixteen times that.
    """
    wait_s = min(LONGEST_WAIT_S, max(1, for_ms // 1000))
    detail = f"{key[:80]!r} is being worked on. Ask again with the same key."
    return problem(409, "in-progress", "The call is in progress", detail, headers={"retry-after": str(wait_s)})
