"""The sales team behind a gate, so that workflows are under way when something is killed: `--gate FILE` is where the file is looked for.

Each call takes a moment longer. While the file is absent, send-email lets a few calls pass and holds the others: every second one before
its work is done, every second one after it, so that its mail is in the outbox and nobody has been told. Once the file is there, all go on.
"""

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from agents.sdr.prompting import Prompter
from agents.sdr.serve import team
from loopwright.agent.serving import create_app, run_app
from loopwright.settings import read_settings

PASSING = 5
SHORT_S = (0.1, 0.6)


class Gate:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.passed = 0
        self.came = 0

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method != "POST":
            return await call_next(request)
        await asyncio.sleep(random.uniform(*SHORT_S))
        if not request.url.path.endswith("send-email") or self._passes():
            return await call_next(request)
        self.came += 1
        if self.came % 2:
            await self._open()
            return await call_next(request)
        answer = await call_next(request)
        await self._open()
        return answer

    def _passes(self) -> bool:
        self.passed = 0 if self.file.exists() else self.passed + 1
        return self.passed <= PASSING

    async def _open(self) -> None:
        while not self.file.exists():  # noqa: ASYNC110  # made by another process
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gate", type=Path, required=True)
    options = parser.parse_args()
    settings = read_settings()
    app = create_app(team(settings, Prompter(settings), settings.home / "outbox"), settings.home / "run" / "agents")
    app.middleware("http")(Gate(options.gate))
    run_app(app, options.port)
