"""A language model behind any OpenAI-compatible endpoint: one call, one answer or one typed failure.

Retries are the decider's, so that they are logged and survive a crash; here there are none. The endpoint is not trusted: the body is
capped while it is read, redirects are not followed, and a deadline covers the whole call.
"""

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from loopwright.edges.capped import cap
from loopwright.edges.dialect import Dialect, Question, adapted, body
from loopwright.edges.model_answer import ModelAnswer, ModelFailed, failure, first_model, read_answer
from loopwright.edges.outcome import said, since_ms
from loopwright.errors import InvalidSettings
from loopwright.settings import Settings

__all__ = ["ModelAnswer", "ModelClient", "ModelFailed"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class ModelClient:
    """Asks the endpoint of `settings.llm_base_url`. Use from one event loop; `complete` may run many times at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: openai.AsyncOpenAI | None = None
        self._key = ""
        self._model = settings.llm_model
        self._naming = asyncio.Lock()
        self._dialect = Dialect()

    async def open(self) -> None:
        """Make the client; connects to nothing. Raises InvalidSettings where the key's file cannot be read or the address is unusable."""
        self._opened()

    def _opened(self) -> openai.AsyncOpenAI:
        if self._client is None:
            base = _address(self._settings)
            self._key = _key(self._settings)
            self._client = self._made(base)
        return self._client

    def _made(self, base: str) -> openai.AsyncOpenAI:
        http = openai.DefaultAioHttpClient(
            event_hooks={"response": [cap]},
            follow_redirects=False,
            timeout=httpx2.Timeout(self._settings.llm_timeout_s),
            trust_env=urlsplit(base).hostname not in _LOOPBACK,  # a proxy of the environment has no business between us and this machine
        )
        headers: Any = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit(), "Accept-Encoding": "identity"}
        key = self._key or "none"  # the client wants some text
        return openai.AsyncOpenAI(
            base_url=base, api_key=key, organization="", project="", max_retries=0, http_client=http, default_headers=headers
        )

    def _without_key(self) -> dict[str, Any]:
        """Headers of a request: without a key none is sent, as an endpoint on one's own machine expects."""
        return {} if self._key else {"Authorization": openai.Omit()}

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def complete(
        self, messages: list[dict[str, str]], schema: dict[str, Any], schema_name: str = "answer", max_tokens: int = 500
    ) -> ModelAnswer:
        """The model's answer to `messages`, held to the JSON Schema as far as the endpoint can do so. Raises ModelFailed, InvalidSettings.

        Whether the content keeps the schema is for the caller to check: an endpoint that cannot enforce it was asked in words.
        """
        client, started = self._opened(), time.monotonic()
        timeout_s = self._settings.llm_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                model = await self.model_name()
                raw = await self._answered(client, model, Question(messages, schema, schema_name, max_tokens))
            return read_answer(raw, model, since_ms(started))
        except ModelFailed as failed:
            failed.duration_ms, failed.why = since_ms(started), said(failed.why, [self._key])
            raise
        except Exception as error:
            raise failure(error, timeout_s, self._key, since_ms(started)) from error

    async def _answered(self, client: openai.AsyncOpenAI, model: str, question: Question) -> bytes:
        """The endpoint's answer, asked for in ever simpler words while it refuses them."""
        dialect = self._dialect
        while True:
            try:
                request: Any = body(dialect, model, question)
                raw = await client.chat.completions.with_raw_response.create(**request, extra_headers=self._without_key())
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                simpler = adapted(dialect, str(error))
                if simpler is None:
                    raise
                dialect = simpler
            else:
                self._dialect = dialect  # kept only once it has worked
                return bytes(raw.content)

    async def model_name(self) -> str:
        """The model's name: from the settings, or the first that the endpoint lists (asked once)."""
        async with self._naming:
            if not self._model:
                self._model = first_model((await self._opened().models.with_raw_response.list(extra_headers=self._without_key())).content)
        return self._model


def _address(settings: Settings) -> str:
    base = settings.llm_base_url
    if urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).hostname:
        raise InvalidSettings("the model endpoint is no http address", f"LOOPWRIGHT_LLM_BASE_URL={base!r}", "set it to https://host/v1")
    return base


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
