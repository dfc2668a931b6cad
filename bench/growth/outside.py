"""What is outside of the job, in one process: the model and the agents of the growth team, which take no time of their own.

`python -m bench.growth.outside --port 8801`. GET /counts says what was asked so far, GET /arrivals when (ns since the epoch), POST /release
lets the held calls go.
"""

import argparse
import asyncio
import time
from collections import Counter

import orjson
from aiohttp import web

from bench.growth.team import HOLD, LATER, STAGES, field, stage

MODEL = "first-candidate"
ASKED, HOPS, DONE, HOLDING = "asked", "hops", "done", "holding"
MOST_ARRIVALS = 2_000_000


class Outside:
    """The handlers, and what they count."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.arrivals: list[int] = []
        self._released = asyncio.Event()

    async def model(self, request: web.Request) -> web.Response:
        """The first name that the schema allows."""
        self._note(ASKED)
        body = orjson.loads(await request.read())
        names = body["response_format"]["json_schema"]["schema"]["properties"]["agent"]["enum"]
        content = orjson.dumps({"agent": names[0], "confidence": 1, "reason": "it is the first"}).decode()
        message = {"role": "assistant", "content": content}
        usage = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return _json({"id": "1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": choices, "usage": usage})

    async def agent(self, request: web.Request) -> web.Response:
        """A stage answers at once, `later` takes the call and never calls back, `hold` answers when it is told to."""
        name = request.match_info["name"]
        await request.read()
        if name == LATER:
            self.counts[LATER] += 1
            return web.Response(status=202)
        if name == HOLD:
            return await self._held()
        self._note(HOPS)
        number = int(name.rpartition("-")[2])
        self.counts[DONE] += name == stage(STAGES)
        return _json({field(number): 1})

    async def _held(self) -> web.Response:
        self.counts[HOLDING] += 1
        try:
            await self._released.wait()
        finally:
            self.counts[HOLDING] -= 1
        return _json({"answered": True})

    async def count(self, _request: web.Request) -> web.Response:
        """What was asked so far."""
        return _json(dict(self.counts))

    async def times(self, _request: web.Request) -> web.Response:
        """When the model and the stages were asked since the last time that somebody wanted to know, in ns since the epoch."""
        told, self.arrivals = self.arrivals, []
        return _json(told)

    async def release(self, _request: web.Request) -> web.Response:
        """Let the held calls go, and hold no more."""
        self._released.set()
        return _json({})

    async def health(self, _request: web.Request) -> web.Response:
        """That it is there."""
        return _json({})

    def _note(self, what: str) -> None:
        self.counts[what] += 1
        if len(self.arrivals) < MOST_ARRIVALS:
            self.arrivals.append(time.time_ns())


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def application() -> web.Application:
    """The server's routes."""
    outside = Outside()
    made = web.Application()
    made.router.add_post("/v1/chat/completions", outside.model)
    made.router.add_post("/agents/{name}", outside.agent)
    made.router.add_get("/counts", outside.count)
    made.router.add_get("/arrivals", outside.times)
    made.router.add_post("/release", outside.release)
    made.router.add_get("/health", outside.health)
    return made


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth.outside", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    web.run_app(application(), host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None, keepalive_timeout=3600)


if __name__ == "__main__":
    main()
