"""What all systems under test share: the HTTP front that takes workflows, and the calls to the simulated model and agents.

    POST /start  {"lead": 7}    202 once the start of this lead's workflow is kept (durably, where the system is durable); else 503
    GET  /done                  {"done": number of workflows that have come to their end}
    GET  /about                 {"name", "versions", "durable", "how"}

The process prints `ready` once it takes work, and ends everything that it started on SIGTERM. It imports nothing but the standard library,
aiohttp, orjson and `bench.workload`, so that it runs in any peer's own environment.
"""

import argparse
import asyncio
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from bench.workload import chosen, prompt

HOST = "127.0.0.1"
JSON = {"Content-Type": "application/json"}
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Options:
    """Where the simulators are (`http://host:port`), and the folder in which the peer keeps whatever it keeps."""

    simulators: str
    home: Path


class Peer(ABC):
    """One system under test. All methods run in one event loop; `start` runs many times at once."""

    name: str
    durable: bool
    how: str  # one sentence: how it is used here, as its documentation recommends

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The versions of what it consists of."""

    @abstractmethod
    async def open(self, options: Options) -> None:
        """Start whatever it needs, and return when it takes work. What was started is ended by `close`, even where this raises."""

    @abstractmethod
    async def start(self, lead: int) -> None:
        """Start the workflow of a lead; returns once the start is kept. Raises whatever goes wrong."""

    @abstractmethod
    async def done(self) -> int:
        """How many workflows have come to their end since `open`."""

    async def close(self) -> None:  # noqa: B027  # a peer without anything to end need not say so
        """End everything that was started."""


class Calls:
    """A workflow's calls to the simulated model and agents, for systems that make them in Python: one client, connections kept alive."""

    def __init__(self, simulators: str) -> None:
        self._simulators = simulators
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the client. Call it in the event loop that makes the calls."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def decide(self, document: Mapping[str, Any]) -> str:
        """Ask the model who is next; the agent's name. Raises aiohttp.ClientError, LookupError or ValueError."""
        return chosen(await self._post("/v1/chat/completions", prompt(document)))

    async def call(self, agent: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Call an agent; the fields that it adds. Raises aiohttp.ClientError or ValueError."""
        return await self._post(f"/agents/{agent}", document)

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("open() comes first")
        async with self._session.post(self._simulators + path, data=orjson.dumps(body), headers=JSON) as response:
            response.raise_for_status()
            answer: dict[str, Any] = orjson.loads(await response.read())
            return answer


def installed(*packages: str) -> dict[str, str]:
    """The versions of these Python packages."""
    return {name: metadata.version(name) for name in packages}


def run(peer: Peer, arguments: Sequence[str] | None = None) -> int:
    """Serve this peer until SIGTERM: what `python -m bench.peers.NAME` does."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.peers.{peer.name}", description=peer.how)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--simulators", required=True, help="http://host:port")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="the folder that it may write to")
    given = parser.parse_args(arguments)
    given.home.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(peer, Options(given.simulators.rstrip("/"), given.home.resolve()), given.port))
    return 0


async def _serve(peer: Peer, options: Options, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        opening, stopping = asyncio.ensure_future(peer.open(options)), asyncio.ensure_future(stopped.wait())
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            return
        opening.result()
        runner = web.ServerRunner(web.Server(_front(peer), access_log=None))
        await runner.setup()
        await web.TCPSite(runner, HOST, port, backlog=1024).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stopped.wait()
        await runner.cleanup()
    finally:
        await peer.close()


def _front(peer: Peer) -> Any:
    async def handle(request: web.BaseRequest) -> web.Response:
        if request.path == "/start" and request.method == "POST":
            try:
                await peer.start(int(orjson.loads(await request.read())["lead"]))
            except Exception as error:  # whatever it is, the driver is told that this workflow was not taken
                return _json({"error": f"{type(error).__name__}: {error}"}, 503)
            return _json({}, 202)
        if request.path == "/done":
            return _json({"done": await peer.done()})
        if request.path == "/about":
            return _json({"name": peer.name, "versions": peer.versions(), "durable": peer.durable, "how": peer.how})
        return _json({"error": f"there is nothing at {request.path}"}, 404)

    return handle


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
