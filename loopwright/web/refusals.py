"""Audit records of the gateway: written in the background, so that neither a silent broker nor a flood of refusals holds anybody up."""

import asyncio
import logging
import time
import uuid

from loopwright.audit import Refusal, refused
from loopwright.clock import now_ms
from loopwright.errors import LoopwrightError
from loopwright.web.writer import Writer

log = logging.getLogger(__name__)
PER_SECOND = 20


class Refusals:
    """Writes what was refused, at most twenty records a second; the next record says how many were left out."""

    def __init__(self, writer: Writer, topic: str) -> None:
        self._writer = writer
        self._topic = topic
        self._second = 0
        self._written = 0
        self._unwritten = 0
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, refusal: Refusal) -> None:
        """Have the refusal written. It stands whether that succeeds or not."""
        log.warning("refused: %s: %s (%s)", refusal.what, refusal.cause, ", ".join(f"{k} {v}" for k, v in refusal.who.items()))
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= PER_SECOND:
            self._unwritten += 1
            return
        self._written += 1
        unwritten, self._unwritten = self._unwritten, 0
        task = asyncio.create_task(self._write(refusal, unwritten))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, refusal: Refusal, unwritten: int) -> None:
        try:
            await self._writer.write(refused(refusal, self._topic, now_ms(), uuid.uuid4().hex, unwritten))
        except LoopwrightError as error:
            log.error("a refusal is not in the audit topic: %s: %s", error.what, error.why)

    async def close(self) -> None:
        """Let what is being written end."""
        await asyncio.gather(*self._writing)
