"""Reading what a model endpoint gave: an answer, or one typed failure. Whatever comes back is taken apart field by field."""

from dataclasses import dataclass

import aiohttp
import orjson

from loopwright.clock import now_ms
from loopwright.edges.outcome import said
from loopwright.edges.translate import http_error
from loopwright.errors import LoopwrightError
from loopwright.retry import retry_after_ms


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the model said. Tokens as the endpoint counted them (0 where it did not); `duration_ms` covers the whole call."""

    content: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    duration_ms: int


@dataclass(eq=False)
class ModelFailed(LoopwrightError):
    """The endpoint gave no usable answer.

    `kind`: RateLimited, QuotaExceeded, Timeout, Unauthorized, NotFound, BadRequest, Unavailable, Redirected, ResponseTooLarge,
    InvalidAnswer or Internal. `retry_after_ms` is what the endpoint asked for.
    """

    kind: str = "Internal"
    retryable: bool = False
    retry_after_ms: int | None = None
    duration_ms: int = 0


class TooLargeError(Exception):
    """The body is larger than it may be, or packed."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the answer is larger than {limit} bytes, or packed")


class StatusError(Exception):
    """The endpoint answered with a status that is none of success. `headers` has lower-case names."""

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        super().__init__(text)
        self.status, self.headers, self.text = status, headers, text


def failure(error: Exception, timeout_s: float, key: str, duration_ms: int) -> ModelFailed:
    """What went wrong in a call to the endpoint. `key` is masked in every text."""
    kind, retryable, text = _kind_of(error)
    headers = error.headers if isinstance(error, StatusError) else {}
    if kind == "Timeout":
        text = f"no complete answer within {timeout_s:g} s"
    detail = said(text or type(error).__name__, [key])
    message = f"status {error.status}: {detail}" if isinstance(error, StatusError) else detail
    return ModelFailed("the model gave no answer", message, _remedy(kind), kind, retryable, retry_after_ms(headers, now_ms()), duration_ms)


def _kind_of(error: Exception) -> tuple[str, bool, str]:
    """Our error class, whether it is worth trying again, and what is said of it."""
    if isinstance(error, StatusError):
        kind, retryable = _by_status(error.status)
        no_quota = kind == "RateLimited" and "insufficient_quota" in error.text
        return ("QuotaExceeded", False, error.text) if no_quota else (kind, retryable, error.text)
    if isinstance(error, TooLargeError):
        return "ResponseTooLarge", False, str(error)
    if isinstance(error, TimeoutError | aiohttp.ClientError):
        found = http_error(error)
        return ("Timeout", True, "") if found == "Timeout" else ("Unavailable", True, f"{found}: {error}")
    return "Internal", False, str(error)


def _by_status(status: int) -> tuple[str, bool]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return "Redirected", False
    return ("BadRequest", False) if status < 500 else ("Unavailable", True)


_BY_STATUS = {  # RFC 9110, 15.5; what is not here goes by its class
    401: ("Unauthorized", False),
    403: ("Unauthorized", False),
    404: ("NotFound", False),
    408: ("Unavailable", True),
    409: ("Unavailable", True),
    425: ("Unavailable", True),
    429: ("RateLimited", True),
}


def _remedy(kind: str) -> str:
    return {
        "Unauthorized": "check LOOPWRIGHT_LLM_API_KEY or LOOPWRIGHT_LLM_API_KEY_FILE",
        "NotFound": "check LOOPWRIGHT_LLM_BASE_URL (it ends in /v1) and LOOPWRIGHT_LLM_MODEL",
        "Redirected": "set LOOPWRIGHT_LLM_BASE_URL to the address it redirects to",
        "QuotaExceeded": "the account is out of credit",
        "Timeout": "raise LOOPWRIGHT_LLM_TIMEOUT_S, or use a faster model",
    }.get(kind, "check LOOPWRIGHT_LLM_BASE_URL and the endpoint's log")


def read_answer(raw: bytes, model: str, duration_ms: int) -> ModelAnswer:
    """Take the answer apart, whatever it is. Raises ModelFailed of kind InvalidAnswer."""
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _invalid("the endpoint's answer is not JSON", raw) from None
    choices = answer.get("choices") if isinstance(answer, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        raise _invalid("the endpoint's answer has no choices", raw)
    message = first.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        refusal = message.get("refusal") if isinstance(message, dict) else None
        raise _invalid(f"the model refused: {refusal}" if refusal else "the endpoint's answer has no content", raw)
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    named = answer.get("model")
    name = named if isinstance(named, str) and named else model
    return ModelAnswer(content, name, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), duration_ms)


def first_model(raw: bytes) -> str:
    """The first model of a listing. Raises ModelFailed of kind InvalidAnswer."""
    try:
        return str(orjson.loads(raw)["data"][0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise _invalid("the endpoint lists no models (set LOOPWRIGHT_LLM_MODEL)", raw) from None


def _invalid(what: str, raw: bytes) -> ModelFailed:
    why = said(f"{what}: {raw[:120].decode(errors='replace')}")
    return ModelFailed("the model gave no answer", why, "check that the endpoint speaks OpenAI's protocol", "InvalidAnswer", retryable=True)


def _count(said_tokens: object) -> int:
    return said_tokens if isinstance(said_tokens, int) and not isinstance(said_tokens, bool) and 0 <= said_tokens < 10**9 else 0
