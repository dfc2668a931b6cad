"""DBOS on PostgreSQL: one workflow for each lead; each call to the model or an agent is a step, whose result is kept before the next one.

It follows DBOS's own tutorials: coroutine workflows and steps, since all they do is wait; `start_workflow_async` under an identifier of the
lead's own, which returns once the start is kept; retries of steps that call other services; PostgreSQL, as for production; recovery at
launch. No queue: its documentation has queues for limiting how many run, and here all that arrive may run. All else is as it comes.
"""

import platform
import sys
from typing import Any

import psycopg
from dbos import DBOS, SetWorkflowID

from bench.peers.postgresql import PostgreSQL
from bench.peers.serving import Calls, Options, Peer, installed, run
from bench.workload import is_last, lead

APPLICATION = "sales-leads"
DATABASE = "dbos"
COUNT_ENDED = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
_calls = Calls("")  # steps are plain functions: the client they share is made when the peer opens


@DBOS.step(retries_allowed=True)  # type: ignore[untyped-decorator]
async def decide(document: dict[str, Any]) -> str:
    """Ask the model who is next."""
    return await _calls.decide(document)


@DBOS.step(retries_allowed=True)  # type: ignore[untyped-decorator]
async def call(agent: str, document: dict[str, Any]) -> dict[str, Any]:
    """Call the agent."""
    return await _calls.call(agent, document)


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def work(number: int) -> dict[str, Any]:
    """The whole way of a lead."""
    document, agent = lead(number), ""
    while not is_last(agent):
        agent = await decide(document)
        document |= await call(agent, document)
    return document


class Dbos(Peer):
    """DBOS in this process, PostgreSQL beside it."""

    name = "dbos_peer"
    durable = True
    how = (
        "coroutine workflow with a step (retries allowed) for each model call and each agent call, started by start_workflow_async under "
        "the lead's identifier, no queue, recovery at launch, default settings, on PostgreSQL with its defaults (fsync, synchronous_commit)"
    )

    def __init__(self) -> None:
        self._server: PostgreSQL | None = None
        self._launched = False
        self._postgresql = "unknown"
        self._before = 0

    def versions(self) -> dict[str, str]:
        """DBOS, its driver and the server."""
        return {
            "python": platform.python_version(),
            "postgresql": self._postgresql,
            **installed("dbos", "sqlalchemy", "psycopg", "aiohttp"),
        }

    async def open(self, options: Options) -> None:
        """Start PostgreSQL, launch DBOS in this event loop: recovered workflows run here too."""
        global _calls
        _calls = Calls(options.simulators)
        await _calls.open()
        self._server = PostgreSQL(options.home)
        self._server.start()
        self._postgresql = self._server.version()
        self._server.make_database(DATABASE)
        self._url = self._server.url(DATABASE)
        DBOS(config={"name": APPLICATION, "system_database_url": self._url})
        DBOS.launch()
        self._launched = True
        self._before = await self._ended()

    async def start(self, lead: int) -> None:
        """Start a workflow in the background: its row is committed when this returns."""
        with SetWorkflowID(f"lead-{lead}"):
            await DBOS.start_workflow_async(work, lead)

    async def done(self) -> int:
        """How many workflows are kept as ended."""
        return await self._ended() - self._before

    async def close(self) -> None:
        """Stop DBOS, then PostgreSQL. Workflows under way are recovered by the next launch."""
        if self._launched:
            DBOS.destroy()
        await _calls.close()
        if self._server is not None:
            self._server.stop()

    async def _ended(self) -> int:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            row = await (await connection.execute(COUNT_ENDED)).fetchone()
        return int(row[0]) if row else 0


if __name__ == "__main__":
    sys.exit(run(Dbos()))
