"""The address guard of calls to agents. What is judged is the address that is connected to, so a name whose address changes after it
was looked at gains nothing: names are judged when they are resolved, and every address, literal or not, when its socket is made.
"""

import socket
from collections.abc import Iterable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from loopwright.registry.addresses import Network, Refusal, network_of, refusal

REMEDY = "correct the endpoint, or publish a version of the definition with"


class AddressRefused(Exception):
    """The call would have connected to an address that is never called. Says which, why, and what to do."""


class GuardedResolver(AbstractResolver):
    """Another resolver's answers without the addresses that are never called; AddressRefused when none is left."""

    def __init__(self, inner: AbstractResolver, allowed: tuple[Network, ...]) -> None:
        self._inner = inner
        self._allowed = allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of `host` that may be called."""
        found = await self._inner.resolve(host, port, family)
        kept: list[ResolveResult] = []
        reasons: list[AddressRefused] = []
        for result in found:
            refused = refusal(result["host"], self._allowed)
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

    def made(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        refused = refusal(str(address[0]), allowed)
        if refused is not None:
            raise _refused(f"the endpoint is at {address[0]}", refused)
        return socket.socket(family, kind, protocol)

    guarded = GuardedResolver(resolver or aiohttp.ThreadedResolver(), allowed)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive_s, resolver=guarded, socket_factory=made)


def _refused(what: str, refused: Refusal) -> AddressRefused:
    remedy = f'{REMEDY} allow_addresses: ["{refused.opened_by}"]' if refused.opened_by else "correct the endpoint"
    return AddressRefused(f"{what}, {refused.why}, which is never called; {remedy}")
