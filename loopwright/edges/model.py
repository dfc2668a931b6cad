"""A language model behind any OpenAI-compatible endpoint: one call, one answer or one typed failure.

Retries are the decider's, so that they are logged and survive a crash; here there are none. The endpoint is not trusted: the body is
capped while it is read, redirects are not followed, and a deadline covers the whole call.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from loopwright.edges.capped import read_capped
from loopwright.edges.dialect import Dialect, Question, adapted, body
from loopwright.edges.model_answer import ModelAnswer, ModelFailed, StatusError, TooLargeError, failure, first_model, read_answer
from loopwright.edges.outcome import said, since_ms
from loopwright.errors import InvalidSettings
from loopwright.settings import Settings

__all__ = ["ModelAnswer", "ModelClient", "ModelFailed"]

MAX_ANSWER_BYTES = 1024 * 1024
MAX_LISTING_BYTES = 8 * 1024 * 1024
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_IDLE_S = 4.0  # shorter than most servers' own time, so that a connection is not taken up while its server closes it
_REFUSED = {400, 422}


class ModelClient:
    """Asks the endpoint of `settings.llm_base_url` by OpenAI's protocol. Use from one event loop; `complete` may run many times at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._base, self._key = "", ""
        self._model = settings.llm_model
        self._naming = asyncio.Lock()
        self._dialect = Dialect()

    async def open(self) -> None:
        """Make the session; connects to nothing. Raises InvalidSettings where the key's file cannot be read or the address is unusable."""
        self._opened()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._base, self._key = _address(self._settings), _key(self._settings)
            headers = {"User-Agent": "loopwright", "Accept": "application/json", "Accept-Encoding": "identity"}
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=urlsplit(self._base).hostname not in _LOOPBACK,  # a proxy has no business between us and this machine
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers=headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def complete(
        self, messages: list[dict[str, str]], schema: dict[str, Any], schema_name: str = "answer", max_tokens: int = 500
    ) -> ModelAnswer:
        """The model's answer to `messages`, held to the JSON Schema as far as the endpoint can do so. Raises ModelFailed, InvalidSettings.

        Whether the content keeps the schema is for the caller to check: an endpoint that cannot enforce it was asked in words.
        """
        self._opened()
        started, timeout_s = time.monotonic(), self._settings.llm_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                model = await self.model_name()
                raw = await self._answered(model, Question(messages, schema, schema_name, max_tokens))
            return read_answer(raw, model, since_ms(started))
        except ModelFailed as failed:
            failed.duration_ms, failed.why = since_ms(started), said(failed.why, [self._key])
            raise
        except Exception as error:
            raise failure(error, timeout_s, self._key, since_ms(started)) from error

    async def _answered(self, model: str, question: Question) -> bytes:
        """The endpoint's answer, asked for in ever simpler words while it refuses them."""
        dialect = self._dialect
        while True:
            try:
                raw = await self._said("POST", "/chat/completions", orjson.dumps(body(dialect, model, question)), MAX_ANSWER_BYTES)
            except StatusError as error:
                simpler = adapted(dialect, error.text) if error.status in _REFUSED else None
                if simpler is None:
                    raise
                dialect = simpler
            else:
                self._dialect = dialect  # kept only once it has worked
                return raw

    async def model_name(self) -> str:
        """The model's name: from the settings, or the first that the endpoint lists (asked once)."""
        async with self._naming:
            if not self._model:
                self._model = first_model(await self._said("GET", "/models", None, MAX_LISTING_BYTES))
        return self._model

    async def _said(self, method: str, path: str, content: bytes | None, limit: int) -> bytes:
        """What the endpoint answers. Raises StatusError for a status that is none of success, TooLargeError, what aiohttp raises."""
        headers = {"Content-Type": "application/json"} if content is not None else None
        request = self._opened().request(method, self._base + path, data=content, headers=headers, allow_redirects=False)
        async with request as response:
            raw = await _unpacked(response, limit)
            if not 200 <= response.status < 300:
                kept = {name.lower(): value for name, value in response.headers.items()}
                raise StatusError(response.status, kept, raw.decode(errors="replace"))
            return raw


async def _unpacked(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body. Raises TooLargeError beyond `limit` bytes, and for one that is packed: it was not asked for, and what it unpacks to is
    anybody's guess."""
    if response.headers.get("content-encoding", "identity") != "identity":
        response.close()
        raise TooLargeError(limit)
    raw, whole = await read_capped(response, limit)
    if not whole:
        raise TooLargeError(limit)
    return raw


def _address(settings: Settings) -> str:
    base = settings.llm_base_url
    if urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).hostname:
        raise InvalidSettings("the model endpoint is no http address", f"LOOPWRIGHT_LLM_BASE_URL={base!r}", "set it to https://host/v1")
    return base.rstrip("/")


def _key(settings: Settings) -> str:
    try:
        key = settings.llm_key()
    except (OSError, ValueError) as error:
        why = f"LOOPWRIGHT_LLM_API_KEY_FILE={settings.llm_api_key_file}: {type(error).__name__}"
        raise InvalidSettings("the model's key cannot be read", why, "name a readable file that holds the key alone") from error
    if not key.isprintable() or not key.isascii():
        why = "it has characters that no HTTP header may hold"
        raise InvalidSettings("the model's key cannot be used", why, "look for line breaks and quotation marks in it")
    return key
