"""One small thing: POST a JSON body somewhere and learn how it went. For callbacks and progress; the dispatcher has a client of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from loopwright.errors import Unreachable

MOST_CONNECTIONS = 32
READ_BYTES = 2000


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
    """A client session. `open` and `close` run on the event loop that uses it. Redirects are never followed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS))

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_ms: int) -> Posted:
        """POST `body` as JSON. Raises Unreachable where no answer came within `timeout_ms`."""
        if self._session is None:
            raise RuntimeError("the poster is not open")
        timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        sent = {"content-type": "application/json", **headers}
        try:
            async with self._session.post(url, data=body, headers=sent, timeout=timeout, allow_redirects=False) as answer:
                text = (await answer.content.read(READ_BYTES)).decode("utf-8", "replace")
                return Posted(answer.status, _seconds(answer.headers.get("retry-after")), text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = f"{url}: {type(error).__name__} {error}".rstrip()
            raise Unreachable("a POST got no answer", why, "check that the address is right and that the other side runs") from error


def _seconds(value: str | None) -> int | None:
    return int(value) * 1000 if value is not None and value.isascii() and value.isdigit() else None
