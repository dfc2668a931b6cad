"""A language model behind any OpenAI-compatible endpoint: one call, one answer or one typed failure.

Retries are the decider's, so that they are logged and survive a crash; here there are none. The endpoint is not trusted: the body is
capped while it is read, redirects are not followed, and a deadline covers the whole call.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
import orjson
from aiohttp.helpers import netrc_from_env

from loopwright.edges.dialect import Dialect, Question, adapted, body
from loopwright.edges.exchange import Answer, Exchange
from loopwright.edges.model_answer import ModelAnswer, ModelFailed, StatusError, TooLargeError, failure, first_model, read_answer
from loopwright.edges.outcome import said, since_ms
from loopwright.errors import InvalidSettings
from loopwright.settings import Settings

__all__ = ["ModelAnswer", "ModelClient", "ModelFailed"]

MAX_ANSWER_BYTES = 1024 * 1024
MAX_LISTING_BYTES = 8 * 1024 * 1024
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}  # a proxy has no business between us and this machine
_IDLE_S = 4.0  # shorter than most servers' own time, so that a connection is not taken up while its server closes it
_REFUSED = {400, 422}
_JSON = {"Content-Type": "application/json"}


class ModelClient:
    """Asks the endpoint of `settings.llm_base_url` by OpenAI's protocol. Use from one event loop; `complete` may run many times at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exchange: Exchange | None = None
        self._base, self._key = "", ""
        self._model = settings.llm_model
        self._naming = asyncio.Lock()
        self._dialect = Dialect()

    async def open(self) -> None:
        """Make the session; connects to nothing. Raises InvalidSettings where the key's file cannot be read or the address is unusable."""
        self._opened()

    def _opened(self) -> Exchange:
        if self._exchange is None:
            self._base, self._key = _address(self._settings), model_key(self._settings)
            headers = {"User-Agent": "loopwright", "Accept": "application/json", "Accept-Encoding": "identity"}
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=urlsplit(self._base).hostname not in _LOOPBACK and _environment_matters(),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers=headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
                auto_decompress=False,
            )
            self._exchange = Exchange(session)
        return self._exchange

    async def close(self) -> None:
        """Close the connections."""
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await exchange.close()

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
                asked = orjson.dumps(body(dialect, model, question))
                raw = _good(await self._opened().post(self._base + "/chat/completions", _JSON, asked, MAX_ANSWER_BYTES), MAX_ANSWER_BYTES)
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
        if not self._model:
            async with self._naming:
                if not self._model:
                    listing = await self._opened().get(f"{self._base}/models", MAX_LISTING_BYTES)
                    self._model = first_model(_good(listing, MAX_LISTING_BYTES))
        return self._model


def _good(answer: Answer, limit: int) -> bytes:
    """The body of a success. Raises StatusError for any other status, TooLargeError beyond `limit` bytes, and for one that is packed: it
    was not asked for, and what it unpacks to is anybody's guess."""
    if not answer.whole:
        raise TooLargeError(limit)
    if not 200 <= answer.status < 300:
        kept = {name.lower(): value for name, value in answer.headers.items()}
        raise StatusError(answer.status, kept, answer.raw.decode(errors="replace"))
    return answer.raw


def _environment_matters() -> bool:
    """Whether there is a proxy or a netrc file: where aiohttp is to mind them, it looks for both, in other threads, at every request."""
    return bool(getproxies()) or netrc_from_env() is not None


def _address(settings: Settings) -> str:
    base = settings.llm_base_url
    if urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).hostname:
        raise InvalidSettings("the model endpoint is no http address", f"LOOPWRIGHT_LLM_BASE_URL={base!r}", "set it to https://host/v1")
    return base.rstrip("/")


def model_key(settings: Settings) -> str:
    """The key of the model; empty where there is none. Raises InvalidSettings for one that cannot be read or sent."""
    try:
        key = settings.llm_key()
    except (OSError, ValueError) as error:
        why = f"LOOPWRIGHT_LLM_API_KEY_FILE={settings.llm_api_key_file}: {type(error).__name__}"
        raise InvalidSettings("the model's key cannot be read", why, "name a readable file that holds the key alone") from error
    if not key.isprintable() or not key.isascii():
        why = "it has characters that no HTTP header may hold"
        raise InvalidSettings("the model's key cannot be used", why, "look for line breaks and quotation marks in it")
    return key
