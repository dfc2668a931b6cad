"""POSTs to agents: one call, one outcome. The agent is not trusted: its body is capped, redirects are not followed, its time is limited,
and where it may be is limited too (see `loopwright.edges.guard`).
What the status means is for the dispatcher to decide; here it is carried as it came.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from loopwright.circuit import Refused
from loopwright.dispatch.confidential import Withheld, opened, sealed
from loopwright.edges.circuits import CircuitOpen, Circuits, agent_fault, policy_of
from loopwright.edges.exchange import Exchange
from loopwright.edges.guard import AddressRefused, guarded_connector
from loopwright.edges.identity import Identities, Identity, NoIdentity
from loopwright.edges.keyring import Keyring
from loopwright.edges.outcome import said, since_ms, unicode
from loopwright.edges.rates import Rates
from loopwright.edges.translate import http_error
from loopwright.errors import InvalidSettings
from loopwright.settings import Settings
from loopwright.step import Call

MAX_RESPONSE_BYTES = 1024 * 1024
_REPLY_HEADERS = ("loopwright-next", "loopwright-usage", "loopwright-actions", "idempotent-replayed", "ce-workflowid", "ce-hop")
KEPT_HEADERS = ("content-type", "retry-after", "location", *_REPLY_HEADERS)
REFUSED_CERTIFICATE = "; perhaps it does not take our certificate"  # some servers say so, some just hang up
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2: token
_BREAKING = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "cookie"}
_IDLE_S = 4.0  # shorter than uvicorn's 5 s, so that a connection is not taken up while its server closes it


class _Failed(Exception):
    """A call that has no response to show: its error class, what is said of it, and the status where there was one."""

    def __init__(self, kind: str, message: str, status: int | None = None) -> None:
        super().__init__(kind)
        self.outcome: dict[str, Any] = {"error": {"class": kind, "message": message}} | ({"status": status} if status else {})


class AgentPerformer:
    """Implements `loopwright.step.Performer` for the dispatcher.

    {"url", "headers": {name: value}, "body": text, "timeout_ms", "concurrency": {"key": "team/name", "limit": 32}, "allow": [network, ...],
     "circuit": name, "rate": {"per_second", "burst"} or null, "auth": {"type", "secret": name} or absent,
     "seal": where the call carries sensitive fields, see `loopwright.dispatch.confidential.terms`}
        -> {"status", "headers": {lower-case name: value, of KEPT_HEADERS}, "body": text, "duration_ms", "waited_ms"}
        or {"error": {"class", "message"}, "status" where one came, "duration_ms", "waited_ms"}
        or {"error": {"class": "CircuitOpen" or "AgentGone", "message", "retry_after_ms"}, ...} where the circuit is open: nothing was sent
    "circuit_opened": true is in the outcome that opened it.

    Error classes: ConnectionRefused, ConnectionReset, ConnectionFailed, DnsFailure, TlsError, Timeout, ResponseTooLarge, NotUtf8,
    InvalidUrl, InvalidHeader, InvalidResponse, InvalidCall, Redirected, AddressRefused, MissingSecret, InvalidSecret, Internal; with
    sensitive fields also InputContractViolation, ContractViolation, InvalidReply, NoKeys, KeyMissing, SealBroken, KeysUnusable.
    `timeout_ms` covers the call from the connection to the last byte of the answer; the wait for one of the agent's `limit` slots
    (`waited_ms`) and for its rate comes before. Limit, rate and circuit hold within one performer. `allow` opens networks that the address
    guard refuses.
    """

    def __init__(self, settings: Settings, max_response_bytes: int = MAX_RESPONSE_BYTES, resolver: AbstractResolver | None = None) -> None:
        self._settings = settings
        self._limit = max_response_bytes
        self._resolver = resolver
        self._keyring = Keyring(settings.keys_file)
        self._slots: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._rates = Rates()
        self._identities = Identities(settings.secrets_file)
        self._circuits = Circuits(policy_of(settings.circuit))
        self._exchanges: dict[tuple[str, ...], Exchange] = {}  # by what is allowed: a connection is open to nobody else

    async def open(self) -> None:
        """Make the session; connects to nothing."""
        self._opened()

    def _opened(self, allow: tuple[str, ...] = ()) -> Exchange:
        if allow not in self._exchanges:
            session = aiohttp.ClientSession(
                connector=guarded_connector(allow, self._resolver, _IDLE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers={"User-Agent": "loopwright", "Accept": "application/json", "Accept-Encoding": "identity"},
            )
            self._exchanges[allow] = Exchange(session)
        return self._exchanges[allow]

    async def close(self) -> None:
        """Close the connections."""
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            await exchange.close()

    async def perform(self, call: Call) -> bytes:
        """Do one call and return its outcome as JSON. Never raises, but for a cancellation."""
        asked = started = time.monotonic()
        try:
            payload = orjson.loads(call.payload)
            circuit = str(payload.get("circuit") or payload["url"])
            self._circuits.check(circuit)
            async with self._slot(payload.get("concurrency")):
                if payload.get("rate") is not None:
                    await self._rates.wait(circuit, payload["rate"])
                started = time.monotonic()
                outcome = await self._confidentially(circuit, payload)
        except CircuitOpen as answer:
            outcome = _not_called(answer.refused)
        except Exception as error:  # what goes wrong on the way to the agent is told apart in _within; this is the payload's fault
            outcome = _Failed("InvalidCall", said(f"{type(error).__name__}: {error}")).outcome
        return orjson.dumps({**outcome, "duration_ms": since_ms(started), "waited_ms": round((started - asked) * 1000)})

    async def _through(self, circuit: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Make the call if its circuit lets it through, and tell the circuit how it went."""
        with self._circuits.call(circuit) as attempt:
            try:
                outcome = await self._within(payload)
            except _Failed as failed:
                outcome = failed.outcome
            attempt.fault = agent_fault(outcome, self._settings.circuit)
        return {**outcome, "circuit_opened": True} if attempt.opened else outcome

    def _slot(self, concurrency: Mapping[str, Any] | None) -> asyncio.Semaphore:
        key = (str((concurrency or {}).get("key", "")), max(1, int((concurrency or {}).get("limit", 1_000_000))))
        return self._slots.get(key) or self._slots.setdefault(key, asyncio.Semaphore(key[1]))

    async def _confidentially(self, circuit: str, payload: dict[str, Any]) -> dict[str, Any]:
        """The call with its sensitive fields opened on the way out and sealed on the way back; without any, just the call."""
        sealing = payload.get("seal")
        if sealing is None:
            return await self._through(circuit, payload)
        answered: dict[str, Any] = {}
        try:
            body = opened(payload["body"], sealing, self._keyring.keys())
            answered = await self._through(circuit, {**payload, "body": body})
            return sealed(answered, sealing, self._keyring.keys())
        except Withheld as withheld:
            outcome = withheld.outcome
        except InvalidSettings as error:
            outcome = _Failed("KeysUnusable", said(f"{error.what}: {error.why}; {error.remedy}")).outcome
        return outcome | ({"circuit_opened": True} if answered.get("circuit_opened") else {})

    async def _within(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        timeout_ms = int(payload["timeout_ms"])
        headers, url = _checked(payload.get("headers") or {}), str(payload["url"])
        exchange = self._opened(tuple(map(str, payload.get("allow") or ())))
        try:
            identity = self._identities.of(payload.get("auth"))
        except NoIdentity as error:
            raise _Failed(error.kind, said(error)) from error
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._post(exchange, url, headers, str(payload["body"]).encode(), identity)
        except TimeoutError:
            raise _Failed("Timeout", f"no complete answer within {timeout_ms} ms") from None
        except _Failed:
            raise
        except AddressRefused as refused:
            raise _Failed("AddressRefused", said(refused)) from refused
        except Exception as error:
            kind, text = http_error(error), _detail(error)
            raise _Failed(kind, text + REFUSED_CERTIFICATE if kind == "ConnectionReset" and identity.tls else text) from error

    async def _post(self, exchange: Exchange, url: str, headers: dict[str, str], body: bytes, identity: Identity) -> dict[str, Any]:
        answer = await exchange.post(url, {**headers, **identity.headers}, body, self._limit, identity.tls)
        found = answer.headers
        kept = {name: identity.without_token(unicode(found[name])) for name in KEPT_HEADERS if name in found}
        text = identity.without_token(self._text(answer.raw, answer.whole, answer.status))
        return {"status": answer.status, "headers": kept, "body": text}

    def _text(self, raw: bytes, whole: bool, status: int) -> str:
        """The body as text. A refusal's status counts whatever its body is; an answer that counts has to be whole, and UTF-8."""
        if not 200 <= status < 300:
            return raw.decode(errors="replace")
        if not whole:
            raise _Failed("ResponseTooLarge", f"the answer is larger than {self._limit} bytes", status)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise _Failed("NotUtf8", f"byte {error.start} of the answer is not UTF-8", status) from error


def _checked(headers: dict[str, Any]) -> dict[str, str]:
    """The headers, each fit to be sent: a value with a line break would begin a header of its own."""
    try:
        if _sendable(tuple(headers)) and not _BREAKING.search("".join(headers.values())):  # as nearly always: one look for all
            return headers
    except TypeError:
        pass  # a value is no text
    name = next(
        name for name, value in headers.items() if not (_sendable((name,)) and isinstance(value, str) and not _BREAKING.search(value))
    )
    raise _Failed("InvalidHeader", said(f"header {name!r} cannot be sent"))


@lru_cache(1024)
def _sendable(names: tuple[str, ...]) -> bool:
    return all(_HEADER_NAME.fullmatch(name) and name.lower() not in _OURS for name in names)


def _not_called(refused: Refused) -> dict[str, Any]:
    kind = "AgentGone" if refused.final else "CircuitOpen"
    return {"error": {"class": kind, "message": f"it is not called for a while: {refused.why}", "retry_after_ms": refused.wait_ms}}


def _detail(error: Exception) -> str:
    """What is said of it; an address is left out, since it may hold a password."""
    if isinstance(error, aiohttp.InvalidURL):
        return "the endpoint is not an http or https address"
    text = said(error.message if isinstance(error, aiohttp.ClientResponseError) else error)
    return text or type(error).__name__
