"""Serving agents over HTTP: the FastAPI application, and the process that runs it."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from loopwright.agent.agent import Agent
from loopwright.agent.answer import Answer
from loopwright.agent.card import WELL_KNOWN, card, team_card
from loopwright.agent.deferred import DeferredDesk
from loopwright.agent.desk import LEASE_MS, Desk, Shelf
from loopwright.agent.door import Door, Tls, check_certificates
from loopwright.agent.idempotency import KEEP_MS, StoreUnavailable
from loopwright.agent.idempotency.opening import FILE, open_store
from loopwright.agent.incoming import read_call
from loopwright.agent.problems import Refused, problem
from loopwright.agent.progress import Reporter
from loopwright.edges.http_post import Poster
from loopwright.edges.secrets import SecretsFile
from loopwright.edges.signing import Signer
from loopwright.errors import InvalidDefinition, PlatformFailed
from loopwright.process_log import mask_process
from loopwright.settings import read_settings

log = logging.getLogger(__name__)
BODY_BYTES = 1_000_000
Closing = Callable[[], Awaitable[None]]
STATE = Path(".loopwright/run/agents")


def create_app(
    agents: Sequence[Agent],
    state: Path = STATE,
    body_bytes: int = BODY_BYTES,
    lease_ms: int = LEASE_MS,
    closing: Closing | None = None,
    secrets: SecretsFile | None = None,
    store: str = "",
    *,
    callback_hosts: Sequence[str] = (),
    loopback: bool = True,
) -> FastAPI:
    """The application that serves `agents`, each at the path of its endpoint.

    `store` is the address of the Idempotency-Key store (`open_store`): where it is empty that of the settings, or else a SQLite file in the
    folder `state`. Processes that serve the same agents share it. `closing` is awaited when the application ends. `secrets` sign what the
    agents send; by default the file that the settings name, or the local platform's. Raises InvalidDefinition where two agents share a path
    or one has no handler.

    Callbacks and progress go where the caller says: to `callback_hosts` alone where any are named, to this machine only with `loopback`.
    """
    _check(agents)
    known = secrets or own_secrets()
    doors = {agent.name: Door(agent, known) for agent in agents}
    store = store or read_settings().agent_store.get_secret_value() or str(state / FILE)
    staff = Staff(agents, store, lease_ms, closing, known, Poster(callback_hosts, loopback))
    app = FastAPI(title="Loopwright agents", lifespan=staff.lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(HTTPException, http_problem)
    for agent in agents:
        app.add_api_route(agent.path, _endpoint(staff, agent, doors[agent.name], body_bytes), methods=["POST"])
        app.add_api_route(agent.path.rstrip("/") + WELL_KNOWN, _fixed(card(agent)), methods=["GET"])
    app.add_api_route("/health", _fixed({"status": "ok", "agents": [agent.definition.ref for agent in agents]}), methods=["GET"])
    if all(agent.path != "/" for agent in agents):
        app.add_api_route(WELL_KNOWN, _fixed(team_card(agents, _base(agents[0]))), methods=["GET"])
    return app


def serve(
    agents: Sequence[Agent],
    port: int,
    host: str = "127.0.0.1",
    state: Path = STATE,
    body_bytes: int = BODY_BYTES,
    closing: Closing | None = None,
    *,
    store: str = "",
    tls: Tls | None = None,
    callback_hosts: Sequence[str] = (),
) -> None:
    """Serve `agents` until the process is told to stop, over https with `tls`; see `create_app`.

    Agents that listen on loopback alone may post their replies to this machine; others not, unless `callback_hosts` names it.
    Raises PlatformFailed where the port is taken, InvalidSettings where an agent is to be called with proof that could not be checked.
    """
    check_certificates(agents, tls)
    local = host in ("127.0.0.1", "localhost", "::1")
    app = create_app(agents, state, body_bytes, closing=closing, store=store, callback_hosts=callback_hosts, loopback=local)
    run_app(app, port, host, tls)


def own_secrets() -> SecretsFile | None:
    """The secrets of this process, where there are any. Raises InvalidSettings."""
    path = read_settings().agents_secrets()
    return None if path is None else SecretsFile(path)


def tls_options(tls: Tls | None) -> dict[str, Any]:
    """What uvicorn is told of `tls`: with `client_ca` a client without a certificate of it is refused in the handshake."""
    if tls is None:
        return {}
    files: dict[str, Any] = {"ssl_certfile": str(tls.certificate), "ssl_keyfile": str(tls.key)}
    return files if tls.client_ca is None else {**files, "ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}


def run_app(app: FastAPI, port: int, host: str = "127.0.0.1", tls: Tls | None = None) -> None:
    """Run an application on `port` until SIGINT or SIGTERM, then let what is under way end (at most 10 s)."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        why = f"{host}:{port}: {error.strerror or error}"
        raise PlatformFailed("the port cannot be listened on", why, "stop what uses it, or choose another with --port") from error
    mask_process()
    options: Any = {"log_level": "warning", "access_log": False, "log_config": None, "server_header": False, **tls_options(tls)}
    config = uvicorn.Config(app, timeout_graceful_shutdown=10, **options)
    log.info("listening on %s://%s:%d", "https" if tls else "http", *listening.getsockname()[:2])
    with listening, suppress(KeyboardInterrupt):
        asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


class Staff:
    """The agents' desks and what they share; open while the application runs."""

    def __init__(
        self, agents: Sequence[Agent], store: str, lease_ms: int, closing: Closing | None, secrets: SecretsFile | None, poster: Poster
    ) -> None:
        self._agents = agents
        self._poster = poster
        self._secrets = secrets
        self._store = store
        self._lease_ms = lease_ms
        self._closing = closing
        self.desks: dict[str, Desk | DeferredDesk] = {}

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Open the store and the client, take up unfinished work; close all at the end."""
        shelf = Shelf(open_store(self._store))
        poster = self._poster
        reporter = Reporter(poster)
        await poster.open()
        await reporter.open()
        self.desks = {agent.name: self._desk(agent, shelf, reporter, poster) for agent in self._agents}
        sweeping = asyncio.create_task(self._sweep(shelf))
        try:
            yield
        finally:
            sweeping.cancel()
            for desk in self.desks.values():
                if isinstance(desk, DeferredDesk):
                    await desk.close()
            await reporter.close()
            await poster.close()
            shelf.close()
            if self._closing is not None:
                await self._closing()

    def _desk(self, agent: Agent, shelf: Shelf, reporter: Reporter, poster: Poster) -> Desk | DeferredDesk:
        signer = Signer(self._secrets, agent.definition.team, agent.name)
        report = partial(reporter.for_call, signer)
        if agent.definition.reply == "callback":
            return DeferredDesk(agent, shelf, report, poster, signer, self._lease_ms)
        return Desk(agent, shelf, report, self._lease_ms)

    async def _sweep(self, shelf: Shelf) -> None:
        purged_at = float("-inf")
        while True:
            try:
                for desk in self.desks.values():
                    if isinstance(desk, DeferredDesk):
                        await desk.take_up()
                if time.monotonic() - purged_at > 3600:
                    await shelf.ask(lambda store: store.purge(KEEP_MS))
                    purged_at = time.monotonic()
            except StoreUnavailable as error:
                log.error("the Idempotency-Key store could not be swept; the next try comes soon: %s", error.why)
            await asyncio.sleep(self._lease_ms / 2000)


def _endpoint(staff: Staff, agent: Agent, door: Door, body_bytes: int) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            door.check(request)
            answer = await staff.desks[agent.name].answer(await read_call(request, body_bytes))
        except Refused as refused:
            answer = refused.answer
        except StoreUnavailable as error:
            log.error("%s: %s", error.what, error.why)
            detail = "Whether the call was made before cannot be told now. Try again with the same Idempotency-Key."
            answer = problem(503, "store", "The Idempotency-Key store does not answer", detail, headers={"retry-after": "1"})
        except ClientDisconnect:
            answer = problem(400, "disconnected", "The request broke off", "The body did not arrive whole.")
        return response(named(answer, request))

    return endpoint


def named(answer: Answer, request: Request) -> Answer:
    """The answer with the names of the call that it belongs to, where the caller gave it any: they tell him whose answer it is."""
    names = {name: request.headers[name] for name in ("ce-workflowid", "ce-hop") if name in request.headers}
    return replace(answer, headers={**answer.headers, **names})


def response(answer: Answer) -> Response:
    """An answer as Starlette sends it."""
    return Response(answer.body, answer.status, answer.headers)


def _fixed(content: dict[str, Any]) -> Callable[[], Any]:
    body = orjson.dumps(content)

    async def endpoint() -> Response:
        return Response(body, media_type="application/json")

    return endpoint


async def http_problem(request: Request, error: Exception) -> Response:
    """An unknown path or method as a problem."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    title = str(getattr(error, "detail", "")) or "The request failed"
    return response(problem(status, "http", title, f"{request.method} {request.url.path}"))


def _check(agents: Sequence[Agent]) -> None:
    if not agents:
        raise InvalidDefinition("there is nothing to serve", "no agent was given", "give at least one agent to serve()")
    paths: dict[str, Agent] = {}
    for agent in agents:
        agent.check()
        other = paths.setdefault(agent.path, agent)
        if other is not agent:
            why = f"{other.name} and {agent.name} both have {agent.path}"
            raise InvalidDefinition("two agents share a path", why, "give each an endpoint of its own")


def _base(agent: Agent) -> str:
    return agent.definition.endpoint.removesuffix(agent.path) + "/"
