"""One POST and its answer, capped while it is read: a body of 100 MB is never held. Redirects are not followed.

What an aiohttp session does for a request (objects, a task, timers, cookies, redirects) takes more time than the connection and the parser
below it. So an ordinary request is written as it is to a connection of the session's pool, and its answer is read from the parser. One that
is not goes through the session: credentials in the address or no usable address, a proxy of the environment, a large body, `Expect`, or a
header twice.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

_LARGE = 48 * 1024  # bytes that are sent at once; beyond, the session minds how fast the other side reads
_MOST_KNOWN = 1000
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_TYPE = {"content-type": "Content-Type: application/octet-stream\r\n"}


class Answer(NamedTuple):
    """What came back. `raw` is the body; not `whole`, it is the beginning of one that is too large, or nothing of one that is packed where
    the session does not unpack. Names of `headers` are found in any case."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    whole: bool


class _Asked(aiohttp.ClientRequest):
    """What the connector is asked with; it never changes, so neither does the pool's key for it."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


@dataclass(frozen=True, slots=True)
class _Target:
    """An ordinary address: what the connector is asked with, and how a request to it begins."""

    request: _Asked
    begin: str


class Exchange:
    """Posts over the connections of `session`, which it owns from now on. The session has no timeouts: the deadline is the caller's."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self._connector = session.connector
        self._unpacks = session.auto_decompress
        self._usual = _TYPE | {name.lower(): f"{name}: {value}\r\n" for name, value in session.headers.items()}
        self._targets: dict[str, _Target | None] = {}
        self._unnamed: dict[tuple[str, ...], str | None] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, limit: int, tls: ssl.SSLContext | None = None) -> Answer:
        """The answer, of whose body at most `limit` bytes are read. Raises what aiohttp raises.

        `headers` are fit to be sent as they are, and none of them says who is asked or where the body ends.
        """
        target, usual = self._target(url, tls), self._usual_besides(tuple(headers))
        if target is None or usual is None or self._connector is None or len(body) > _LARGE:
            return await self._by_session("POST", url, body, headers, limit, tls)
        given = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        sent = f"{target.begin}{usual}{given}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            connection = await self._connector.connect(target.request, traces=[], timeout=_NO_TIMEOUT)
            return await self._over(connection, target.request, sent, limit)
        except aiohttp.ClientError:
            raise
        except OSError as error:
            if error.errno is None and isinstance(error, TimeoutError):
                raise
            raise aiohttp.ClientOSError(*error.args) from error

    async def _over(self, connection: Connection, request: aiohttp.ClientRequest, sent: bytes, limit: int) -> Answer:
        protocol, done = connection.protocol, False
        try:
            if protocol is None or protocol.transport is None or protocol.transport.is_closing():
                raise aiohttp.ClientOSError(None, f"Can not write request body for {request.url}")
            protocol.set_response_params(read_until_eof=True, auto_decompress=self._unpacks)
            protocol.transport.write(sent)
            message, stream = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:  # RFC 9110, 15.2: an interim answer
                message, stream = await protocol.read()
            answer = await self._answer(message.code, message.headers, stream, limit)
            done = answer.whole
            return answer
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(
                request.request_info, (), status=error.code, message=error.message, headers=error.headers
            ) from error
        finally:  # of an answer that was not read to its end neither the rest nor the connection is worth having
            connection.release() if done else connection.close()

    async def _answer(self, status: int, headers: Mapping[str, str], stream: aiohttp.StreamReader, limit: int) -> Answer:
        if not self._unpacks and headers.get("content-encoding", "identity") != "identity":
            return Answer(status, headers, b"", whole=False)
        if stream.is_eof():  # as nearly always: it came with the headers
            raw = stream.read_nowait()
            return Answer(status, headers, raw[:limit], len(raw) <= limit)
        parts, size = [], 0
        async for chunk in stream.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                return Answer(status, headers, b"".join(parts)[:limit], whole=False)
        return Answer(status, headers, b"".join(parts), whole=True)

    async def get(self, url: str, limit: int) -> Answer:
        """The answer to a GET, likewise."""
        return await self._by_session("GET", url, None, None, limit, None)

    async def _by_session(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None, limit: int, tls: ssl.SSLContext | None
    ) -> Answer:
        request = self.session.request(method, url, data=body, headers=headers, allow_redirects=False, ssl=tls or True)
        async with request as response:
            answer = await self._answer(response.status, response.headers, response.content, limit)
            if not answer.whole:
                response.close()
            return answer

    def _target(self, url: str, tls: ssl.SSLContext | None) -> _Target | None:
        if tls is not None:
            return self._made(url, tls)
        if url not in self._targets:
            if len(self._targets) >= _MOST_KNOWN:
                self._targets.clear()
            self._targets[url] = self._made(url, tls)
        return self._targets[url]

    def _usual_besides(self, names: tuple[str, ...]) -> str | None:
        """The lines of the headers that are always sent, but for those `names`; None where these are not ordinary."""
        if names not in self._unnamed:
            lowered = {name.lower() for name in names}
            plain = len(lowered) == len(names) and "expect" not in lowered
            if len(self._unnamed) >= _MOST_KNOWN:
                self._unnamed.clear()
            self._unnamed[names] = "".join(line for name, line in self._usual.items() if name not in lowered) if plain else None
        return self._unnamed[names]

    def _made(self, url: str, tls: ssl.SSLContext | None) -> _Target | None:
        try:
            parsed = URL(url)
        except ValueError:
            return None
        plain = parsed.scheme in {"http", "https"} and parsed.raw_host and parsed.raw_user is None and parsed.raw_password is None
        if not plain or self.session.trust_env:
            return None
        request = _Asked("POST", parsed, loop=asyncio.get_running_loop(), session=self.session, ssl=tls or True)
        return _Target(request, f"POST {parsed.raw_path_qs} HTTP/1.1\r\nHost: {parsed.host_port_subcomponent}\r\n")
