"""A cap on what a response may weigh, applied while it is read: a body of 100 MB is never held."""

import aiohttp


async def read_capped(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The body up to `limit` bytes, and whether that was all of it."""
    parts, size = [], 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            response.close()  # the rest is not worth reading, nor is the connection
            return b"".join(parts)[:limit], False
    return b"".join(parts), True
