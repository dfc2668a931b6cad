"""LangGraph with its PostgreSQL checkpointer: a graph of two nodes, one that asks the model and one that calls the agent it chose.

It follows LangGraph's own pages on durable execution and on its PostgreSQL checkpointer: one call to another service in each node; a thread
for each lead; `durability="sync"`, so that each checkpoint is written before the next step starts; `AsyncPostgresSaver` over a pool of
connections with the settings it asks for; retries of the nodes; a run that was cut off is taken up again by a call with None as its input.
LangGraph as a library keeps no list of what was asked of it. So a start is a row in a table of its own here, and a restart takes up what
the rows name and the checkpoints do not show as ended. (The saver lets one statement through at a time, however large the pool is: a
limit of its own, issue 7259 of LangGraph.)
"""

import asyncio
import platform
import sys
from contextlib import AsyncExitStack
from typing import Any, TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from bench.peers.postgresql import PostgreSQL
from bench.peers.serving import Calls, Options, Peer, installed, run
from bench.workload import is_last, lead

DATABASE = "langgraph"
CONNECTIONS = 20
SETTINGS = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
MAKE_TABLE = "CREATE TABLE IF NOT EXISTS accepted (lead bigint PRIMARY KEY)"
ACCEPT = "INSERT INTO accepted (lead) VALUES (%s)"
ACCEPTED = "SELECT lead FROM accepted ORDER BY lead"


class State(TypedDict, total=False):
    """What a thread's checkpoints hold."""

    document: dict[str, Any]
    agent: str


class LangGraph(Peer):
    """The graph in this process, PostgreSQL beside it."""

    name = "langgraph_peer"
    durable = True
    how = (
        "StateGraph with a node (retried) for the model call and one for the agent call, one thread for each lead, durability='sync', "
        "AsyncPostgresSaver over a pool of 20 connections, a row for each accepted lead, on PostgreSQL with its defaults (fsync, "
        "synchronous_commit)"
    )

    def __init__(self) -> None:
        self._server: PostgreSQL | None = None
        self._opened = AsyncExitStack()
        self._postgresql = "unknown"
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = 0

    def versions(self) -> dict[str, str]:
        """LangGraph, its checkpointer, the driver and the server."""
        packages = installed("langgraph", "langgraph-checkpoint-postgres", "psycopg", "aiohttp")
        return {"python": platform.python_version(), "postgresql": self._postgresql, **packages}

    async def open(self, options: Options) -> None:
        """Start PostgreSQL, compile the graph, take up what was accepted and has not ended."""
        self._calls = Calls(options.simulators)
        await self._calls.open()
        self._opened.push_async_callback(self._calls.close)
        self._server = PostgreSQL(options.home)
        self._server.start()
        self._postgresql = self._server.version()
        self._server.make_database(DATABASE)
        pool = AsyncConnectionPool(self._server.url(DATABASE), max_size=CONNECTIONS, kwargs=SETTINGS, open=False)
        self._pool = await self._opened.enter_async_context(pool)
        saver = AsyncPostgresSaver(self._pool)
        await saver.setup()
        self._graph = self._builder().compile(checkpointer=saver)
        await self._take_up()

    async def start(self, lead: int) -> None:
        """Keep that the lead was accepted, then run its thread in the background."""
        async with self._pool.connection() as connection:
            await connection.execute(ACCEPT, (lead,))
        self._run(lead, new=True)

    async def done(self) -> int:
        """How many threads came to their end."""
        return self._done

    async def close(self) -> None:
        """Stop what is under way, close the connections, stop PostgreSQL. The next start takes the threads up again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._opened.aclose()
        if self._server is not None:
            self._server.stop()

    def _builder(self) -> Any:
        builder = StateGraph(State)
        builder.add_node("route", self._route, retry_policy=RetryPolicy())
        builder.add_node("act", self._act, retry_policy=RetryPolicy())
        builder.add_edge(START, "route")
        builder.add_edge("route", "act")
        builder.add_conditional_edges("act", after_act, ["route", END])
        return builder

    async def _route(self, state: State) -> State:
        return {"agent": await self._calls.decide(state["document"])}

    async def _act(self, state: State) -> State:
        return {"document": state["document"] | await self._calls.call(state["agent"], state["document"])}

    async def _take_up(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(MAKE_TABLE)
            accepted = [row["lead"] for row in await (await connection.execute(ACCEPTED)).fetchall()]
        for number in accepted:
            state = await self._graph.aget_state(thread(number))
            if not state.values or state.next:
                self._run(number, new=not state.values)

    def _run(self, number: int, new: bool) -> None:
        task = asyncio.create_task(self._work(number, {"document": lead(number)} if new else None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, number: int, given: State | None) -> None:
        await self._graph.ainvoke(given, thread(number), durability="sync")
        self._done += 1


def thread(number: int) -> dict[str, Any]:
    """The configuration that names a lead's thread."""
    return {"configurable": {"thread_id": f"lead-{number}"}}


def after_act(state: State) -> str:
    """Where the graph goes when an agent has answered."""
    return END if is_last(state["agent"]) else "route"


if __name__ == "__main__":
    sys.exit(run(LangGraph()))
