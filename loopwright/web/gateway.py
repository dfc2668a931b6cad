"""The gateway: `python -m loopwright.web.gateway --port 8800`. Lead form, starts, webhooks, agents' callbacks and progress, into Kafka."""

import argparse
import hashlib
import logging
import re
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from loopwright.agent.answer import Answer
from loopwright.agent.incoming import check_content_type, json_of, read_body, read_json
from loopwright.agent.problems import Refused, problem
from loopwright.agent.serving import http_problem, response, run_app
from loopwright.clock import now_ms
from loopwright.dispatch.match import mismatch
from loopwright.edges.entrance import LiveEntrance
from loopwright.edges.kafka import Producer
from loopwright.edges.secrets import SecretsFile
from loopwright.edges.signing import Signed
from loopwright.errors import InvalidSettings, LoopwrightError, Retryable
from loopwright.masking import masked
from loopwright.message import emitted
from loopwright.process_log import log_to_stderr
from loopwright.registry.contract import Contract
from loopwright.settings import Settings, read_settings
from loopwright.step import Emit
from loopwright.web.callers import Callers
from loopwright.web.form import complaints, lead_of, read_form
from loopwright.web.pages import Pages
from loopwright.web.records import CALLBACK, MOST_HOPS, REPORT, called_back, progressed, started, trace_in, workflow_id
from loopwright.web.refusals import Refusals
from loopwright.web.sealing_sender import AGENT_HEADER, SealingSender
from loopwright.web.tenancy import Tenancy
from loopwright.web.webhooks import Webhooks
from loopwright.web.writer import PATIENCE_S, Sender, Writer

log = logging.getLogger(__name__)
FORM_BYTES = 200_000
REPORT_BYTES = 10_000
_SHOWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}")
_TEAM = re.compile(r"[a-z0-9-]{1,64}")
Route = Callable[[Request], Awaitable[Response]]


def create_app(settings: Settings, sender: Sender, patience_s: float = PATIENCE_S) -> FastAPI:
    """The application; it writes through `sender`, and a request waits at most `patience_s` seconds for it."""
    gateway = Gateway(settings, Writer(sender, patience_s))
    app = FastAPI(title="Loopwright gateway", lifespan=gateway.lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(HTTPException, http_problem)
    routes: list[tuple[str, str, Route]] = [
        ("GET", "/", gateway.form),
        ("GET", "/style.css", gateway.style),
        ("GET", "/health", gateway.health),
        ("POST", "/leads", gateway.lead),
        ("POST", "/workflows", gateway.start),
        ("POST", "/webhooks/{name}", gateway.webhook),
        ("GET", "/workflows/{workflow}", gateway.workflow),
        ("POST", "/callbacks/{workflow:path}/{hop:int}/{branch}", gateway.callback),
        ("POST", "/progress/{workflow:path}/{hop:int}", gateway.progress),
    ]
    for method, path, route in routes:
        app.add_route(path, answered(route), methods=[method])
    return app


def answered(route: Route) -> Route:
    """The route, with what it raises turned into problems: 503 where trying again may help, 422 otherwise."""

    async def endpoint(request: Request) -> Response:
        try:
            return await route(request)
        except Refused as refused:
            return response(refused.answer)
        except ClientDisconnect:
            return response(problem(400, "disconnected", "The request broke off", "The body did not arrive whole."))
        except Retryable as error:
            return response(problem(503, "unavailable", error.what, f"{error.why}; {error.remedy}", headers={"retry-after": "5"}))
        except InvalidSettings as error:
            log.error("%s: %s; %s", error.what, error.why, error.remedy)
            return response(
                problem(500, "settings", "The gateway cannot take this", "It is not set up for it; its log says what is missing.")
            )
        except LoopwrightError as error:
            return response(problem(422, "refused", error.what, f"{error.why}; {error.remedy}"))

    return endpoint


class Gateway:
    """The routes."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._writer = writer
        self._refusals = Refusals(writer, settings.topics.audit)
        secrets = SecretsFile(settings.secrets_file) if settings.secrets_file else None
        self._callers = Callers(secrets, self._refusals)
        self._webhooks = Webhooks(settings.sources_file, secrets, self._refusals)
        self._tenancy = Tenancy(settings.gateway_tokens_file, self._refusals)
        self._pages = Pages()

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Let go of Kafka at the end."""
        try:
            yield
        finally:
            await self._refusals.close()
            self._writer.close()

    async def form(self, _request: Request) -> Response:
        """The empty lead form."""
        return self._pages.form({}, {})

    async def style(self, _request: Request) -> Response:
        """The style sheet."""
        return self._pages.style()

    async def health(self, _request: Request) -> Response:
        """The process runs. Whether Kafka does, `loopwright status` says."""
        return _json(200, {"status": "ok"})

    async def workflow(self, request: Request) -> Response:
        """How to follow a workflow. An id that would mean something to a shell is not shown as part of a command."""
        workflow = str(request.path_params["workflow"])
        if not _SHOWN.fullmatch(workflow):
            raise HTTPException(404)
        return self._pages.workflow(workflow)

    async def lead(self, request: Request) -> Response:
        """Take the form: a page with what is wrong (422, 503), or on to the workflow's page (303). Sent twice, it starts one workflow."""
        caller = self._tenancy.caller(request, self._settings.team)
        try:
            typed = read_form(await read_body(request, FORM_BYTES))
        except ValueError as error:
            raise Refused(problem(400, "form", "The form cannot be read", "Send it from the page at /.")) from error
        wrong = complaints(typed)
        if wrong:
            return self._pages.form(typed, wrong)
        typed.setdefault("form_id", uuid.uuid4().hex)
        lead = orjson.dumps(typed, option=orjson.OPT_SORT_KEYS).decode()
        name = workflow_id(f"form/{lead}", caller.tenant)  # changed and sent again: another lead
        try:
            await self._writer.write(started(self._topics, name, lead_of(typed), "", "", now_ms(), caller))
        except Retryable as error:
            return self._pages.form(typed, {}, error)
        return RedirectResponse(f"/workflows/{name}", 303)

    async def start(self, request: Request) -> Response:
        """Start a workflow on the JSON object in the body: 202 with its id, the same for the same Idempotency-Key of the same tenant."""
        team = request.query_params.get("team", "")
        caller = self._tenancy.caller(request, team or self._settings.team)
        document = await read_json(request, self._settings.limits.document_bytes)
        key = request.headers.get("idempotency-key", "").strip().strip('"')
        if len(key) > 256:
            raise Refused(problem(400, "idempotency-key", "The Idempotency-Key is too long", "Send 256 characters at most."))
        if team and not _TEAM.fullmatch(team):
            raise Refused(problem(400, "team", "The team cannot be used", f"{team[:80]!r}: use small letters, digits and hyphens."))
        name = workflow_id(key or uuid.uuid4().hex, caller.tenant)
        await self._write(started(self._topics, name, document, team, trace_in(request.headers), now_ms(), caller))
        return _json(202, {"workflow": name}, location=f"/workflows/{name}")

    async def webhook(self, request: Request) -> Response:
        """Start a workflow by a webhook: 202 with its id, the same for each attempt at one delivery."""
        message = await self._webhooks.start(request, self._settings.limits.document_bytes)
        await self._write(emitted(self._topics.messages, message))
        return _json(202, {"workflow": message.workflow}, location=f"/workflows/{message.workflow}")

    async def callback(self, request: Request) -> Response:
        """Take the late reply of an agent."""
        body, digest, signed = await self._checked(request, CALLBACK, self._settings.limits.document_bytes)
        workflow, hop = _where(request)
        elsewhere = mismatch({"status": 200, "headers": request.headers}, workflow, hop)
        if elsewhere is not None:
            detail = f"By its ce-workflowid and ce-hop {elsewhere.message}; the address is that of another call."
            raise Refused(problem(422, "mismatched", "The reply belongs to another call", detail))
        branch = str(request.path_params["branch"])[:256]
        sender = signed.sender if signed else ""
        record = called_back(self._topics, workflow, hop, branch, body, digest, now_ms(), sender=sender)
        agent = request.query_params.get("agent", "")[:256]
        if signed is not None and agent and agent.rpartition("@")[0] != signed.sender:
            raise self._callers.not_of(request, signed, agent)
        record = replace(record, headers=record.headers | {AGENT_HEADER: agent.encode("utf-8", "replace")}) if agent else record
        return await self._taken(request, signed, workflow, record)

    async def progress(self, request: Request) -> Response:
        """Take a report of progress."""
        body, digest, signed = await self._checked(request, REPORT, REPORT_BYTES)
        workflow, hop = _where(request)
        if signed is not None and body["agent"] not in (signed.agent, signed.sender):
            raise self._callers.not_of(request, signed, body["agent"])
        return await self._taken(request, signed, workflow, progressed(self._topics, workflow, hop, body, digest, now_ms()))

    async def _checked(self, request: Request, contract: Contract, limit: int) -> tuple[dict[str, Any], str, Signed | None]:
        """The body, a digest of it, and who signed it."""
        check_content_type(request)
        raw = await read_body(request, limit)
        signed = self._callers.sender(request, raw)
        body = json_of(raw)
        errors = contract.errors(body)
        if errors:
            raise Refused(problem(422, "contract", "The body cannot be used", errors[0], errors))
        return body, hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16], signed

    async def _taken(self, request: Request, signed: Signed | None, workflow: str, record: Emit) -> Response:
        fresh = await self._callers.once(request, signed, lambda: self._write(record))
        return _json(202, {"workflow": workflow}, **({} if fresh else {"idempotent-replayed": "true"}))

    async def _write(self, emit: Emit) -> None:
        if len(emit.value) > self._settings.limits.message_bytes:
            detail = f"The record would have {len(emit.value)} bytes, {self._settings.limits.message_bytes} at most. Send less."
            raise Refused(problem(413, "too-large", "The record is too large", detail))
        await self._writer.write(emit)


def _where(request: Request) -> tuple[str, int]:
    workflow, hop = str(request.path_params["workflow"]), int(request.path_params["hop"])
    if not 1 <= len(workflow) <= 256 or hop > MOST_HOPS:
        raise Refused(problem(404, "address", "There is no such call", "The workflow has 1 to 256 characters, the hop is a whole number."))
    return workflow, hop


def _json(status: int, content: dict[str, Any], **headers: str) -> Response:
    return response(Answer(status, orjson.dumps(content), {"content-type": "application/json", **headers}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Exit code 0, or the error's."""
    parser = argparse.ArgumentParser(prog="python -m loopwright.web.gateway", description=__doc__)
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    log_to_stderr()
    try:
        settings = read_settings()
        sender = SealingSender(Producer(settings), LiveEntrance(settings), settings)
        run_app(create_app(settings, sender), options.port, options.host)
    except LoopwrightError as error:
        sys.stderr.write(f"{masked(str(error))}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
