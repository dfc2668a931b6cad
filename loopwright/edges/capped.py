"""A cap on what a response may weigh, applied while it is read: a body of 100 MB is never held."""

from collections.abc import AsyncIterator

import httpx2

MAX_ANSWER_BYTES = 1024 * 1024
MAX_LISTING_BYTES = 8 * 1024 * 1024


class TooLargeError(Exception):
    """The body is larger than it may be."""


class _Capped(httpx2.AsyncByteStream):
    """A response body that ends in an error once it has given more than `limit` bytes."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner, self._limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._limit -= len(chunk)
            if self._limit < 0:
                raise TooLargeError
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


async def cap(response: httpx2.Response) -> None:
    """A response hook of httpx: from here on the body ends in TooLargeError once it is over its limit (1 MiB; 8 MiB for a GET)."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise TooLargeError  # not asked for; what it unpacks to is anybody's guess
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Capped(response.stream, MAX_LISTING_BYTES if response.request.method == "GET" else MAX_ANSWER_BYTES)
