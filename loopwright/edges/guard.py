"""The address guard of calls to agents. What is judged is the address that is connected to, so a name whose address changes after it
was looked at gains nothing: names are judged when they are resolved, and every address, literal or not, when its socket is made.
"""

import socket
from collections.abc import Callable, Iterable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from loopwright.registry.addresses import Refusal, network_of, refusal

REMEDY = "correct the endpoint, or publish a version of the definition with"


Judge = Callable[[str], Refusal | None]


class AddressRefused(Exception):
    """The call would have connected to an address that is never called. Says which, why, and what to do."""


class GuardedResolver(AbstractResolver):
    """Another resolver's answers without the addresses that are never called; AddressRefused when none is left."""

    def __init__(self, inner: AbstractResolver, judge: Judge) -> None:
        self._inner = inner
        self._judge = judge

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of `host` that may be called."""
        found = await self._inner.resolve(host, port, family)
        kept: list[ResolveResult] = []
        reasons: list[AddressRefused] = []
        for result in found:
            refused = self._judge(result["host"])
            if refused is None:
                kept.append(result)
            else:
                reasons.append(_refused(f"{host} resolves to {result['host']}", refused))
        if reasons and not kept:
            raise reasons[0]
        return kept

    async def close(self) -> None:
        """Close the other resolver."""
        await self._inner.close()


def guarded_connector(allow: Iterable[str], resolver: AbstractResolver | None, keepalive_s: float) -> aiohttp.TCPConnector:
    """A connector that refuses what is never called, but for the networks in `allow`. Needs a running loop; ValueError for no network.

    Its open connections were judged with `allow`: calls with another list need a connector of their own.
    """
    allowed = tuple(network_of(text) for text in allow)
    return judged_connector(lambda address: refusal(address, allowed), resolver, keepalive_s)


def judged_connector(judge: Judge, resolver: AbstractResolver | None, keepalive_s: float, limit: int = 0) -> aiohttp.TCPConnector:
    """A connector that connects to nothing that `judge` refuses, by at most `limit` connections (0: any number). Needs a running loop."""

    def made(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        refused = judge(str(address[0]))
        if refused is not None:
            raise _refused(f"the endpoint is at {address[0]}", refused)
        return socket.socket(family, kind, protocol)

    guarded = GuardedResolver(resolver or aiohttp.ThreadedResolver(), judge)
    return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keepalive_s, resolver=guarded, socket_factory=made)


def _refused(what: str, refused: Refusal) -> AddressRefused:
    remedy = f'{REMEDY} allow_addresses: ["{refused.opened_by}"]' if refused.opened_by else "correct the endpoint"
    return AddressRefused(f"{what}, {refused.why}, which is never called; {remedy}")
