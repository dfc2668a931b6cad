"""The model and the agents of the benchmark, in one process: `python -m bench.simulators --port 8090`.

    POST /v1/chat/completions    the model, by OpenAI's protocol
    POST /agents/NAME            an agent: takes the document, bare or under `document`, `data` or `input`; answers its own field
    POST /reset                  {"service": "zero" or "lognormal", "seed": 1}: from now on it takes so long, and the log is empty
    GET  /log                    [kind, lead, hop, arrived, replied] of each request since then, in ns by the monotonic clock
    GET  /ended?after=N          {"ended": number of leads that the last agent has answered for}, as soon as it is more than N, or after 1 s

The log is what everything is measured by: it is the same clock and the same place for every system under test. A request that cannot be
understood is answered with 400 and counted in the log as kind "refused".
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from bench.workload import AGENTS, HOPS, ZERO, asked_about, completion, hop, output, service_ms

MODEL, AGENT, REFUSED = "model", "agent", "refused"
AGENT_PATH = "/agents/"
ENVELOPES = ("document", "data", "input")
LONGEST_POLL_S = 1.0
Entry = tuple[str, int, int, int, int]


def document_in(body: Any) -> dict[str, Any]:
    """The document in what was POSTed to an agent: the object that has the field `lead`. Raises ValueError where there is none."""
    candidates = [body, *(body.get(name) for name in ENVELOPES)] if isinstance(body, dict) else []
    found = next((one for one in candidates if isinstance(one, dict) and isinstance(one.get("lead"), int)), None)
    if found is None:
        raise ValueError("there is no object with the number `lead`")
    return found


class Simulators:
    """Answers as the workload says, and keeps the log."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self._ended: set[int] = set()
        self._news = asyncio.Event()
        self._service, self._seed = ZERO, 0

    def reset(self, service: str, seed: int) -> None:
        """Forget what was; from now on requests take so long."""
        self.log, self._ended, self._service, self._seed = [], set(), service, seed

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        arrived = time.monotonic_ns()
        path = request.path
        if path == "/v1/chat/completions":
            return await self._simulated(request, arrived, MODEL)
        if path.startswith(AGENT_PATH):
            return await self._simulated(request, arrived, AGENT)
        return await self._asked_by_driver(request, path)

    async def _simulated(self, request: web.BaseRequest, arrived: int, kind: str) -> web.Response:
        log, name = self.log, request.path.removeprefix(AGENT_PATH)
        try:
            body = orjson.loads(await request.read())
            document = asked_about(body) if kind == MODEL else document_in(body)
            lead = int(document["lead"])
            number = hop(document) if kind == MODEL else AGENTS.index(name) + 1
        except (LookupError, ValueError, TypeError) as error:
            log.append((REFUSED, 0, 0, arrived, time.monotonic_ns()))
            return _json({"error": f"{type(error).__name__}: {error}"}, 400)
        wait_ms = service_ms(self._service, self._seed, lead, number, kind)
        if wait_ms:
            await asyncio.sleep(wait_ms / 1000)
        answer = completion(document) if kind == MODEL else output(name)
        if kind == AGENT and number == HOPS:
            self._ended.add(lead)
            self._news.set()
        log.append((kind, lead, number, arrived, time.monotonic_ns()))
        return _json(answer)

    async def _ended_after(self, after: int) -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_POLL_S):
                while len(self._ended) <= after:
                    self._news.clear()
                    await self._news.wait()
        return len(self._ended)

    async def _asked_by_driver(self, request: web.BaseRequest, path: str) -> web.Response:
        if path == "/reset":
            given: Mapping[str, Any] = orjson.loads(await request.read())
            self.reset(str(given["service"]), int(given["seed"]))
            return _json({})
        if path == "/log":
            return _json(self.log)
        if path == "/ended":
            return _json({"ended": await self._ended_after(int(request.query.get("after", "-1")))})
        if path == "/v1/models":
            return _json({"object": "list", "data": [{"id": "simulated", "object": "model"}]})
        return _json({"error": f"there is nothing at {path}"}, 404)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


async def serve(port: int) -> None:
    """Serve until a signal comes. Prints `ready` once requests are taken."""
    runner = web.ServerRunner(web.Server(Simulators().handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    """Serve at the given port."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulators", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
