"""One small thing: POST a JSON body somewhere and learn how it went. For callbacks and progress; the dispatcher has a client of its own.

Where to is what a caller said, and anybody may call. So the address guard of the dispatcher holds here too, and a poster may be held to
hosts by name: a forged call cannot have an agent POST to what only the agent can reach.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from loopwright.edges.guard import AddressRefused, judged_connector
from loopwright.errors import Terminal, Unreachable
from loopwright.registry.addresses import Refusal, refusal

MOST_CONNECTIONS = 32
READ_BYTES = 2000
KEEPALIVE_S = 15.0
REMEDY = "correct the callback address; serve(..., callback_hosts=[...]) names the hosts that callbacks may go to"


@dataclass(frozen=True, slots=True)
class Posted:
    """How the other side answered: the status, the wait it asked for in ms (or None), and the beginning of what it said."""

    status: int
    retry_after_ms: int | None
    text: str

    @property
    def taken(self) -> bool:
        """The other side has it."""
        return 200 <= self.status < 300

    @property
    def worth_retrying(self) -> bool:
        """Another try may end better."""
        return self.status in (408, 409, 425, 429) or self.status >= 500


class Poster:
    """A client session. `open` and `close` run on the event loop that uses it. Redirects are never followed.

    `hosts`: names or addresses; where there are any, nothing else is posted to, and they may be on this machine. `loopback`: whether this
    machine may be posted to although no host is named. Link-local, metadata and reserved addresses never are.
    """

    def __init__(self, hosts: Iterable[str] = (), loopback: bool = True) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._loopback = loopback or bool(self._hosts)
        self._session: aiohttp.ClientSession | None = None

    def refused(self, url: str) -> str:
        """Why `url` is not posted to, as far as it can be told before its name is resolved; "" where it may be."""
        host = (urlsplit(url).hostname or "").lower()
        if self._hosts and host not in self._hosts:
            return f"{host[:100]!r} is none of the hosts that callbacks may go to"
        found = self._judge(host) if _is_address(host) else None
        return f"{host} is {found.why}" if found else ""

    def _judge(self, address: str) -> Refusal | None:
        return refusal(address, loopback=self._loopback)

    async def open(self) -> None:
        """Make the session."""
        connector = judged_connector(self._judge, None, KEEPALIVE_S, MOST_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_ms: int) -> Posted:
        """POST `body` as JSON. Raises Unreachable where no answer came within `timeout_ms`, Terminal for what is never posted to."""
        if self._session is None:
            raise RuntimeError("the poster is not open")
        why = self.refused(url)
        if why:
            raise Terminal("a POST is refused", why, REMEDY)
        timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        sent = {"content-type": "application/json", **headers}
        try:
            async with self._session.post(url, data=body, headers=sent, timeout=timeout, allow_redirects=False) as answer:
                text = (await answer.content.read(READ_BYTES)).decode("utf-8", "replace")
                return Posted(answer.status, _seconds(answer.headers.get("retry-after")), text)
        except AddressRefused as error:
            raise Terminal("a POST is refused", str(error), REMEDY) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = f"{url}: {type(error).__name__} {error}".rstrip()
            raise Unreachable("a POST got no answer", why, "check that the address is right and that the other side runs") from error


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _seconds(value: str | None) -> int | None:
    return int(value) * 1000 if value is not None and value.isascii() and value.isdigit() else None
