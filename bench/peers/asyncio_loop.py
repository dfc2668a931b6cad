"""The ceiling: a plain asyncio loop that keeps nothing. Whatever a durable system adds, it adds to this."""

import asyncio
import platform
import sys

from bench.peers.serving import Calls, Options, Peer, installed, run
from bench.workload import is_last, lead


class AsyncioLoop(Peer):
    """One task for each workflow, in memory; a crash loses all of them."""

    name = "asyncio_loop"
    durable = False
    how = "one asyncio task for each workflow, nothing kept: no durable system can be faster"

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = 0

    def versions(self) -> dict[str, str]:
        """Python and its HTTP client."""
        return {"python": platform.python_version(), **installed("aiohttp")}

    async def open(self, options: Options) -> None:
        """Make the client."""
        self._calls = Calls(options.simulators)
        await self._calls.open()

    async def start(self, lead: int) -> None:
        """Begin a task."""
        task = asyncio.create_task(self._work(lead))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> int:
        """How many tasks ended well."""
        return self._done

    async def close(self) -> None:
        """Drop what is under way."""
        for task in self._tasks:
            task.cancel()
        await self._calls.close()

    async def _work(self, number: int) -> None:
        document, agent = lead(number), ""
        while not is_last(agent):
            agent = await self._calls.decide(document)
            document |= await self._calls.call(agent, document)
        self._done += 1


if __name__ == "__main__":
    sys.exit(run(AsyncioLoop()))
