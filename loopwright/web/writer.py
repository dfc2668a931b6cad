"""Writing to Kafka for a request: answered only when the brokers have it, and never longer than a person waits."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from loopwright.errors import Unreachable
from loopwright.step import Emit

THREADS = 32
PATIENCE_S = 10.0


class Sender(Protocol):
    """What writes one record and waits for its acknowledgement; see `loopwright.edges.kafka.Producer`."""

    def send(self, topic: str, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None) -> None:
        """Write a record. Raises LoopwrightError."""

    def close(self) -> None:
        """Let go of the client."""


class Writer:
    """Sends in threads of its own."""

    def __init__(self, sender: Sender, patience_s: float) -> None:
        self._sender = sender
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kafka")

    async def write(self, emit: Emit) -> None:
        """Return when the record is acknowledged. Raises Unreachable after ten seconds (it may still arrive), or what the sender raises."""
        send = asyncio.get_running_loop().run_in_executor(self._threads, self._sender.send, emit.topic, emit.key, emit.value, emit.headers)
        try:
            await asyncio.wait_for(send, self._patience_s)
        except TimeoutError as error:
            why = f"{emit.topic}: no acknowledgement within {self._patience_s:g} s"
            remedy = "send it again in a moment, with the same Idempotency-Key; `loopwright status` shows whether Kafka runs"
            raise Unreachable("Kafka does not answer", why, remedy) from error

    def close(self) -> None:
        """Let go of the threads and the client."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._sender.close()
