"""Restate: a durable handler in Python, served to a Restate server of its own that keeps the journal of each step.

As its documentation has it: steps that touch the world are `ctx.run_typed`, the service is served by Hypercorn with the settings that are
recommended for production (one worker, as there is one core), and a workflow is started by the ingress with `/send` and an idempotency key,
which answers once the invocation is kept. The server runs with its defaults (one node, 24 partitions, write-ahead log with fsync).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import hypercorn
import hypercorn.asyncio
import orjson
import restate
from restate.server import install_shutdown_hook

from bench.peers.server_process import HOST, ServerProcess, free_ports
from bench.peers.serving import Calls, Options, Peer, installed, run
from bench.workload import is_last, lead

SERVICE, HANDLER = "leads", "work"
UNLIMITED = 2147483647
REGISTERS_WITHIN_S = 60.0
PACKAGES = Path(sys.prefix) / "npm" / "node_modules" / "@restatedev"


class Restate(Peer):
    """The server, the service that it calls, and the client that starts workflows."""

    name = "restate_peer"
    durable = True
    how = "a handler whose questions and calls are ctx.run_typed, served by Hypercorn; one Restate server, all defaults, started by /send"

    def __init__(self) -> None:
        self._done = 0
        self._ends = asyncio.Event()
        self._served: asyncio.Future[None] | None = None
        self._server: ServerProcess | None = None
        self._client: aiohttp.ClientSession | None = None

    def versions(self) -> dict[str, str]:
        """The SDK, what serves it, and the server."""
        return {"restate-server": server_version(), **installed("restate-sdk", "hypercorn")}

    async def open(self, options: Options) -> None:
        """Start server and service, and make the one known to the other."""
        service_port, node_port, admin_port, ingress_port = free_ports(4)
        self._calls = Calls(options.simulators)
        await self._calls.open()
        application = restate.app(services=[self._service()])
        self._served = asyncio.ensure_future(
            hypercorn.asyncio.serve(application, hypercorn_settings(service_port), shutdown_trigger=self._ends.wait)
        )
        self._server = ServerProcess(options.home / "restate-server.log")
        settings = server_settings(options.home / "restate", node_port, admin_port, ingress_port)
        await self._server.start([str(server_binary()), "--no-logo"], ingress_port, settings)
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._start_url = f"http://{HOST}:{ingress_port}/{SERVICE}/{HANDLER}/send"
        # the SDK takes the event loop's only handler of SIGTERM for itself: SIGINT ends the peer just as well
        install_shutdown_hook(asyncio.get_running_loop(), lambda: signal.raise_signal(signal.SIGINT))
        await self._register(f"http://{HOST}:{admin_port}/deployments", f"http://{HOST}:{service_port}")

    async def start(self, lead: int) -> None:
        """Send the lead's number to the ingress."""
        headers = {"idempotency-key": f"lead-{lead}"}
        async with self._ready_client().post(self._start_url, json=lead, headers=headers) as response:
            response.raise_for_status()

    async def done(self) -> int:
        """How many handlers came to their end."""
        return self._done

    async def close(self) -> None:
        """Stop the server first, so that it does not see the service go."""
        if self._client is not None:
            await self._client.close()
        if self._server is not None:
            await self._server.stop()
        self._ends.set()
        if self._served is not None:
            await asyncio.wait([self._served], timeout=5)
            await self._calls.close()

    def _service(self) -> Any:
        service = restate.Service(SERVICE)

        async def work(ctx: restate.Context, number: int) -> str:
            document, agent = lead(number), ""
            while not is_last(agent):
                agent = await ctx.run_typed("model", self._calls.decide, document=document)
                document |= await ctx.run_typed(agent, self._calls.call, agent=agent, document=document)
            self._done += 1
            return agent

        service.handler(HANDLER)(work)
        return service

    async def _register(self, deployments: str, service: str) -> None:
        async with asyncio.timeout(REGISTERS_WITHIN_S):
            while True:
                async with self._ready_client().post(deployments, json={"uri": service}) as response:
                    if response.ok:
                        return
                    said = await response.text()
                if response.status < 500:
                    raise RuntimeError(f"the Restate server refuses the service: {said}")
                await asyncio.sleep(0.1)

    def _ready_client(self) -> aiohttp.ClientSession:
        if self._client is None:
            raise RuntimeError("open() comes first")
        return self._client


def hypercorn_settings(port: int) -> Any:
    """What Restate's documentation recommends for production."""
    settings = hypercorn.Config()
    settings.bind = [f"{HOST}:{port}"]
    settings.h2_max_concurrent_streams = UNLIMITED
    settings.keep_alive_max_requests = UNLIMITED
    settings.keep_alive_timeout = UNLIMITED
    return settings


def server_settings(home: Path, node_port: int, admin_port: int, ingress_port: int) -> dict[str, str]:
    """The server's environment: where it keeps its data and listens; everything else is its default."""
    return {
        **os.environ,
        "RESTATE_BASE_DIR": str(home),
        "RESTATE_NODE_NAME": "bench",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": HOST,
        "RESTATE_ADVERTISED_HOST": HOST,
        "RESTATE_BIND_PORT": str(node_port),
        "RESTATE_ADMIN__BIND_PORT": str(admin_port),
        "RESTATE_INGRESS__BIND_PORT": str(ingress_port),
        "RESTATE_DISABLE_TELEMETRY": "true",
    }


def server_binary(packages: Path = PACKAGES) -> Path:
    """The server for this machine, out of its npm package. Raises RuntimeError where it is not installed."""
    found = sorted(path for path in packages.glob("restate-server-*/bin/restate-server") if os.access(path, os.X_OK))
    if not found:
        raise RuntimeError("the Restate server is not installed. Remedy: python -m bench.install restate_peer")
    return found[0]


def server_version() -> str:
    """The version in the package that the server came in."""
    return str(orjson.loads((server_binary().parents[1] / "package.json").read_bytes())["version"])


if __name__ == "__main__":
    sys.exit(run(Restate()))
