"""The request of a call, read and checked: headers, size, JSON. What is wrong with it is raised as Refused."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self
from urllib.parse import unquote

import orjson
from starlette.requests import Request

from loopwright.agent.problems import Refused, problem
from loopwright.json_strict import JsonRefused, read_object

NESTING = 64
LONGEST_HEADER = 2048


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it came. Empty text stands for a header that was not sent."""

    key: str
    payload: dict[str, Any]
    workflow: str = ""
    hop: int = 0
    branch: str = ""
    traceparent: str = ""
    callback: str = ""
    progress: str = ""
    timeout_ms: int | None = None

    @property
    def fingerprint(self) -> str:
        """What tells payloads apart: the same for the same JSON, however it is written."""
        return hashlib.sha256(orjson.dumps(self.payload, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> bytes:
        """The call as JSON, to be taken up after a restart."""
        return orjson.dumps(asdict(self))

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """A call that `to_json` wrote."""
        return cls(**orjson.loads(value))


async def read_call(request: Request, limit: int) -> Incoming:
    """The call in `request`, whose body may have `limit` bytes. Raises Refused: 400, 413, 415 or 422."""
    headers = request.headers
    key = headers.get("idempotency-key", "").strip().strip('"')
    if not key or len(key) > 256:
        raise Refused(
            problem(
                400,
                "idempotency-key",
                "The Idempotency-Key is missing",
                "Send the header Idempotency-Key with 1 to 256 characters that are the same for every repeat of one call.",
            )
        )
    return Incoming(
        key=key,
        payload=await read_json(request, limit),
        workflow=unquote(_text(headers, "ce-workflowid")),
        hop=_whole(headers, "ce-hop") or 0,
        branch=unquote(_text(headers, "ce-branch")),
        traceparent=_text(headers, "traceparent"),
        callback=_url(headers, "loopwright-callback"),
        progress=_url(headers, "loopwright-progress"),
        timeout_ms=_whole(headers, "loopwright-deadline-ms"),
    )


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The JSON object in the body. Raises Refused: 413 over `limit` bytes, 415 for another content type, 422 for anything but an object."""
    check_content_type(request)
    return json_of(await read_body(request, limit))


def check_content_type(request: Request) -> None:
    """Raise Refused (415) unless the body is said to be JSON."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        detail = f"The body is {content_type or 'of no stated type'}; send application/json."
        raise Refused(problem(415, "content-type", "The body is not JSON", detail))


def json_of(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises Refused (422) for anything else."""
    try:
        return read_object(body, NESTING)
    except JsonRefused as refused:
        raise Refused(problem(422, refused.cause, "The body cannot be used", f"{refused.why}; {refused.remedy}.")) from refused


async def read_body(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes. Raises Refused (413) as soon as there are more."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Refused(problem(413, "too-large", "The body is too large", f"It has more than {limit} bytes. Send less."))
    return bytes(body)


def _text(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "")[:LONGEST_HEADER]


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 16):
        raise Refused(problem(400, "header", f"{name} cannot be used", f"It is {value[:80]!r}; send a whole number."))
    return int(value)


def _url(headers: Mapping[str, str], name: str) -> str:
    value = _text(headers, name)
    if value and not value.startswith(("http://", "https://")):
        raise Refused(problem(400, "header", f"{name} cannot be used", f"It is {value[:80]!r}; send an http or https URL."))
    return value
