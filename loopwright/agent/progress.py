"""Progress reports: sent in the background, best effort. A gateway that is slow or away costs the work nothing."""

import asyncio
import logging
import time
from contextlib import suppress
from urllib.parse import urlsplit

import orjson

from loopwright.agent.incoming import Incoming
from loopwright.agent.task import Report, Task
from loopwright.edges.http_post import Poster
from loopwright.edges.signing import Signer, call_of, message_id
from loopwright.errors import LoopwrightError

log = logging.getLogger(__name__)
MOST_WAITING = 200
POST_TIMEOUT_MS = 2000
REST_S = 5.0
LONGEST_TEXT = 500


def progress_url(incoming: Incoming) -> str:
    """Where the progress of a call goes: what the caller says, else the gateway that its callback address points to; empty: nowhere."""
    if incoming.progress or not incoming.callback:
        return incoming.progress
    parts = urlsplit(incoming.callback)
    before, mark, after = parts.path.partition("/callbacks/")
    if not mark:
        return ""
    return f"{parts.scheme}://{parts.netloc}{before}/progress/{after.rpartition('/')[0]}"


class Reporter:
    """Sends reports one after the other. `open` and `close` run on the event loop; reports may come from any thread."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._waiting: asyncio.Queue[tuple[str, bytes, str, Signer]] = asyncio.Queue(MOST_WAITING)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start sending."""
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Stop; reports that wait are dropped."""
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending

    def for_call(self, signer: Signer, incoming: Incoming) -> Report:
        """What a task of this call reports through; `signer` signs for its agent."""
        url = progress_url(incoming)
        call = call_of(incoming.workflow, incoming.hop) if incoming.workflow else ""

        def report(task: Task, step: int, of: int, text: str) -> None:
            said = {"agent": task.agent, "branch": task.branch, "step": step, "of": of, "text": str(text)[:LONGEST_TEXT]}
            loop = self._loop
            if url and loop is not None:
                with suppress(RuntimeError, TypeError, ValueError):  # the loop is closed, or the numbers are no numbers
                    loop.call_soon_threadsafe(self._put, url, orjson.dumps(said), call, signer)

        return report

    def _put(self, url: str, body: bytes, call: str, signer: Signer) -> None:
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait((url, body, call, signer))

    async def _send_all(self) -> None:
        resting_until = 0.0
        while True:
            url, body, call, signer = await self._waiting.get()
            if time.monotonic() < resting_until:
                continue
            try:
                posted = await self._poster.post(url, body, signer.headers(body, message_id(call)), POST_TIMEOUT_MS)
            except LoopwrightError as error:
                log.debug("progress is not taken: %s", error.why)
                resting_until = time.monotonic() + REST_S
            else:
                if not posted.taken:
                    log.debug("progress is not taken: %s answered %d: %s", url, posted.status, posted.text[:300])
