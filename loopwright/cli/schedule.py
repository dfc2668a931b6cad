"""`loopwright schedule`: what starts workflows by the clock. The local platform runs it as `python -m loopwright.cli.schedule`."""

import argparse
import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from loopwright.agent.serving import run_app
from loopwright.edges.private_file import Reloaded
from loopwright.edges.schedules import KafkaBook, Scheduler
from loopwright.errors import InvalidSettings, LoopwrightError
from loopwright.masking import masked
from loopwright.process_log import log_to_stderr
from loopwright.settings import Settings, read_settings
from loopwright.sources.loading import load_sources

PORT = 8802
_END_S = 5.0


def create_app(scheduler: Scheduler) -> FastAPI:
    """The application: runs `scheduler` in a thread of its own while it is served, and tells at /health how it gets on."""
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=(stop,), name="scheduler", daemon=True)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await asyncio.to_thread(thread.join, _END_S)  # what waits for Kafka may be left: it is made again, and dropped

    async def health(_request: Request) -> Response:
        return Response(orjson.dumps(scheduler.state()), media_type="application/json")

    app = FastAPI(title="Loopwright scheduler", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_route("/health", health, methods=["GET"])
    return app


def schedule(settings: Settings, port: int, host: str) -> int:
    """Start what is due until SIGINT or SIGTERM. Raises InvalidDefinition, InvalidSettings; PlatformFailed where the port is taken."""
    if settings.sources_file is None:
        why = "LOOPWRIGHT_SOURCES_FILE is not set"
        raise InvalidSettings("there are no schedules", why, "set it to a file with schedules in it (docs/sources.md)")
    sources = Reloaded(settings.sources_file.expanduser(), load_sources)
    run_app(create_app(Scheduler(sources.value, KafkaBook(settings))), port, host)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The process of the local platform. Exit code 0, or the error's."""
    parser = argparse.ArgumentParser(prog="python -m loopwright.cli.schedule", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    log_to_stderr()
    try:
        return schedule(read_settings(), options.port, options.host)
    except LoopwrightError as error:
        sys.stderr.write(f"{masked(str(error))}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
