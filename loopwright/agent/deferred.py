"""Agents that reply later: 202 at once, the work in the background, the reply by POST to the caller's callback address.

Accepted work is in the store before the 202 leaves, so a restarted process (or another one on the same file) takes it up again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import orjson

from loopwright.agent.agent import Agent
from loopwright.agent.answer import Answer
from loopwright.agent.desk import Desk, Shelf, cause_of, kept, mismatch
from loopwright.agent.idempotency import Deferred, Kept, Standing
from loopwright.agent.incoming import Incoming
from loopwright.agent.problems import problem
from loopwright.agent.task import Report
from loopwright.agent.work import input_problem
from loopwright.clock import now_ms
from loopwright.edges.http_post import REMEDY, Poster
from loopwright.edges.signing import Signer, call_of, message_id
from loopwright.errors import Terminal, Unreachable
from loopwright.retry import backoff_ms

log = logging.getLogger(__name__)
POST_TIMEOUT_MS = 10_000
LEASE_MS = 10_000


class DeferredDesk:
    """Answers the calls of one agent with `reply: callback`."""

    def __init__(
        self, agent: Agent, shelf: Shelf, report: Callable[[Incoming], Report], poster: Poster, signer: Signer, lease_ms: int = LEASE_MS
    ) -> None:
        self.agent = agent
        self._shelf = shelf
        self._poster = poster
        self._signer = signer
        self._lease_ms = lease_ms
        self._desk = Desk(agent, shelf, report, lease_ms)
        self._background: set[asyncio.Task[None]] = set()

    async def answer(self, incoming: Incoming) -> Answer:
        """202 for a call that is taken on, or was before; a problem otherwise."""
        refused = input_problem(self.agent, incoming)
        if refused is not None:
            return refused
        if not incoming.callback:
            detail = f"{self.agent.definition.ref} replies later; send the header loopwright-callback with the URL for the reply."
            return problem(400, "callback", "The callback address is missing", detail)
        unwanted = self._poster.refused(incoming.callback)
        if unwanted:
            return problem(400, "callback", "The callback address is refused", f"{unwanted}; {REMEDY}.")
        name, key, request = self.agent.name, incoming.key, incoming.to_json()
        cause, lease_ms = cause_of(incoming), self._lease_ms
        standing = await self._shelf.ask(lambda store: store.begin(name, key, incoming.fingerprint, lease_ms, request, cause))
        if standing is Standing.MISMATCH:
            return mismatch(key)
        if standing is Standing.MINE:
            self._start(self._work(incoming, now_ms()))
            return Answer(202, b"{}", {"content-type": "application/json"})
        if isinstance(standing, Kept):  # the caller asks again after the work was done: perhaps the reply was lost
            self._start(self._again(key))
        return Answer(202, b"{}", {"content-type": "application/json", "idempotent-replayed": "true"})

    async def take_up(self) -> None:
        """Go on with accepted work that nobody works on."""
        for deferred in await self._shelf.ask(lambda store: store.abandoned(self.agent.name, self._lease_ms)):
            self._resume(deferred)

    def _resume(self, deferred: Deferred) -> None:
        incoming = Incoming.from_json(deferred.request)
        if deferred.kept is None:
            log.info("%s takes up %s again", self.agent.definition.ref, deferred.key)
            self._start(self._work(incoming, deferred.made_ms))
        else:
            self._start(self._deliver(incoming, deferred.kept.body, deferred.made_ms))

    async def close(self) -> None:
        """Stop the background work; it is taken up again when its lease is over."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s: deferred work broke off", self.agent.definition.ref, exc_info=task.exception())

    async def _again(self, key: str) -> None:
        deferred = await self._shelf.ask(lambda store: store.undelivered(self.agent.name, key, self._lease_ms))
        if deferred is not None:
            self._resume(deferred)

    async def _work(self, incoming: Incoming, made_ms: int) -> None:
        answer = await self._desk.held(incoming)
        reply = kept(Answer(200, _reply(answer)))
        name, key = self.agent.name, incoming.key
        if await self._shelf.keep(name, key, reply, delivering=True):
            await self._deliver(incoming, reply.body, made_ms)

    async def _deliver(self, incoming: Incoming, body: bytes, made_ms: int) -> None:
        until_ms = made_ms + self.agent.definition.callback_timeout_ms
        attempt, message = 0, message_id(call_of(incoming.workflow, incoming.hop, incoming.branch) if incoming.branch else "")
        while not await self._posted(await self._asked_last(incoming), body, message):
            attempt += 1
            pause_ms = backoff_ms(attempt, incoming.key, initial_ms=200, max_ms=min(10_000, self._lease_ms // 2))
            if now_ms() + pause_ms > until_ms:
                log.error("%s gave up delivering the reply to %s", self.agent.definition.ref, incoming.callback)
                break
            await self._shelf.ask(lambda store: store.hold(self.agent.name, incoming.key, self._lease_ms))
            await asyncio.sleep(pause_ms / 1000)
        again = orjson.loads(body).get("error", {}).get("retryable") is True
        await self._shelf.ask(lambda store: store.delivered(self.agent.name, incoming.key, forget=again))

    async def _asked_last(self, incoming: Incoming) -> Incoming:
        """The call as it came last: one that was asked for again, by a later hop, wants its reply at another address."""
        request = await self._shelf.ask(lambda store: store.request(self.agent.name, incoming.key))
        return Incoming.from_json(request) if request else incoming

    async def _posted(self, incoming: Incoming, body: bytes, message: str) -> bool:
        """Whether the matter is closed: the reply was taken, or never will be. Each attempt is signed anew."""
        headers = {"idempotency-key": f'"{incoming.key}"', "traceparent": incoming.traceparent, **self._signer.headers(body, message)}
        try:
            posted = await self._poster.post(incoming.callback, body, {k: v for k, v in headers.items() if v}, POST_TIMEOUT_MS)
        except Unreachable as error:
            log.warning("%s: %s", incoming.callback, error.why)
            return False
        except Terminal as error:
            log.error("%s: %s", incoming.callback, error.why)
            return True
        if posted.status == 401 and "urn:loopwright:replayed" in posted.text:
            return True  # an attempt whose answer was lost arrived
        if not posted.taken:
            log.warning("%s answered %d: %s", incoming.callback, posted.status, posted.text[:300])
        return not posted.worth_retrying and posted.status != 401  # a secret or a clock may be put right in time


def _reply(answer: Answer) -> bytes:
    """The body of the callback: `output` (with `next`, `usage` and `actions` where the handler gave them), or `error`."""
    content = orjson.loads(answer.body)
    if answer.status != 200:
        error = {"class": content["type"].removeprefix("urn:loopwright:"), "message": f"{content['title']}: {content['detail']}"}
        return orjson.dumps({"error": error | {"retryable": answer.status >= 500}})
    reply: dict[str, Any] = {"output": content}
    if "loopwright-next" in answer.headers:
        reply["next"] = answer.headers["loopwright-next"]
    if "loopwright-usage" in answer.headers:
        reply["usage"] = orjson.loads(answer.headers["loopwright-usage"])
    if "loopwright-actions" in answer.headers:
        reply["actions"] = answer.headers["loopwright-actions"].split(", ")
    return orjson.dumps(reply)
