"""Reading what a model endpoint gave: an answer, or one typed failure. Whatever comes back is taken apart field by field."""

from dataclasses import dataclass

import aiohttp
import openai
import orjson

from loopwright.clock import now_ms
from loopwright.edges.capped import MAX_ANSWER_BYTES, TooLargeError
from loopwright.edges.outcome import said
from loopwright.edges.translate import http_error, model_error
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


def failure(error: Exception, timeout_s: float, key: str, duration_ms: int) -> ModelFailed:
    """What went wrong in a call to the endpoint. `key` is masked in every text."""
    kind, retryable = ("Timeout", True) if isinstance(error, TimeoutError) else model_error(error)
    status, headers, text = _response_of(error)
    kind, retryable = _by_status(kind, retryable, status)
    causes = _causes(error)
    if any(isinstance(cause, TooLargeError) for cause in causes):
        kind, retryable, text = "ResponseTooLarge", False, f"the answer is larger than {MAX_ANSWER_BYTES} bytes, or packed"
    transport = next((cause for cause in causes if isinstance(cause, aiohttp.ClientError)), None)
    if transport is not None and http_error(transport) != "Timeout":  # the client takes any lost connection for a time-out
        kind, retryable, text = "Unavailable", True, f"{http_error(transport)}: {transport}"
    if kind == "RateLimited" and "insufficient_quota" in text:
        kind, retryable = "QuotaExceeded", False
    if kind == "Timeout":
        text = f"no complete answer within {timeout_s:g} s"
    detail = said(text or causes[-1] or type(causes[-1]).__name__, [key])
    message = f"status {status}: {detail}" if status else detail
    after = retry_after_ms(headers, now_ms())
    return ModelFailed("the model gave no answer", message, _remedy(kind), kind, retryable, after, duration_ms)


def _by_status(kind: str, retryable: bool, status: int | None) -> tuple[str, bool]:
    if status in {408, 425}:
        return "Unavailable", True
    return ("Redirected", False) if status is not None and 300 <= status < 400 else (kind, retryable)


def _remedy(kind: str) -> str:
    return {
        "Unauthorized": "check LOOPWRIGHT_LLM_API_KEY or LOOPWRIGHT_LLM_API_KEY_FILE",
        "NotFound": "check LOOPWRIGHT_LLM_BASE_URL (it ends in /v1) and LOOPWRIGHT_LLM_MODEL",
        "Redirected": "set LOOPWRIGHT_LLM_BASE_URL to the address it redirects to",
        "QuotaExceeded": "the account is out of credit",
        "Timeout": "raise LOOPWRIGHT_LLM_TIMEOUT_S, or use a faster model",
    }.get(kind, "check LOOPWRIGHT_LLM_BASE_URL and the endpoint's log")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception, what caused it, and so on."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def _response_of(error: Exception) -> tuple[int | None, dict[str, str], str]:
    if not isinstance(error, openai.APIStatusError):
        return None, {}, ""
    headers = {name.lower(): value for name, value in error.response.headers.items()}
    return error.status_code, headers, error.response.text or str(error)


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
