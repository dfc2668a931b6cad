"""What an agent may do to its caller. Each function makes a behaviour: a function of an Exchange. Those that end in `then` wrap another."""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from loopwright.testing.http_double import Exchange

Behaviour = Callable[[Exchange], None]
Output = Mapping[str, Any]
Sign = Callable[[bytes], Mapping[str, str]]
KEY, CALLBACK = "idempotency-key", "loopwright-callback"


def key_of(exchange: Exchange) -> str:
    """The call's Idempotency-Key, without the quotation marks that the header may have; empty where there is none."""
    return exchange.request.headers.get(KEY, "").strip('"')


def answering(output: Output | Callable[[dict[str, Any]], Output], **headers: str) -> Behaviour:
    """200 with this output, or what the function makes of the input. `headers` by name with `_` for `-`: loopwright_next="complete"."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.reply(200, dict(output(exchange.request.json()) if callable(output) else output), named)


def echoing() -> Behaviour:
    """200 with the input as output."""
    return answering(lambda given: given)


def refusing(status: int, detail: str = "refused by the test", retry_after: str = "") -> Behaviour:
    """Always this status, with a problem document (RFC 9457), and Retry-After where one is given."""
    headers = {"Content-Type": "application/problem+json"} | ({"Retry-After": retry_after} if retry_after else {})
    return lambda exchange: exchange.reply(status, {"title": detail, "status": status}, headers)


def failing(times: int, then: Behaviour, first: Behaviour | None = None) -> Behaviour:
    """Each Idempotency-Key is answered badly `times` times (503, or as `first` says), then by `then`."""
    seen: Counter[str] = Counter()
    guard = threading.Lock()
    bad = first or refusing(503)

    def behave(exchange: Exchange) -> None:
        with guard:
            seen[key_of(exchange)] += 1
            turn = seen[key_of(exchange)]
        (bad if turn <= times else then)(exchange)

    return behave


def calling_back(body: dict[str, Any], after_s: float = 0.05, times: int = 1, sign: Sign | None = None) -> Behaviour:
    """202, then `times` POSTs of `body` ({"output": {...}} or {"error": {...}}) to the call's loopwright-callback address.

    `sign` gives the headers that sign a body, such as `lambda body: Signer(secrets, team, name).headers(body, message_id())`.
    """

    def behave(exchange: Exchange) -> None:
        url = exchange.request.headers.get(CALLBACK, "")
        if not url:
            exchange.reply(422, {"title": "no loopwright-callback header", "status": 422})
            return
        exchange.reply(202, {})
        for turn in range(1, times + 1):
            threading.Timer(after_s * turn, _post, (url, body, sign)).start()

    return behave


def _post(url: str, body: dict[str, Any], sign: Sign | None = None) -> None:
    raw = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(sign(raw) if sign else {})}
    request = urllib.request.Request(url, raw, headers)  # noqa: S310  # a test's own
    try:
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    except (urllib.error.URLError, OSError):
        return  # whoever wanted the callback is gone, or refused it: the test sees that


def hanging() -> Behaviour:
    """No answer at all until the server is stopped."""
    return slow(3600, refusing(504))


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """Wait, then go on as `then`."""
    return lambda exchange: None if exchange.wait(seconds) else then(exchange)


def dripping() -> Behaviour:
    """200, and then one byte at a time, so that no read time-out between bytes ever fires."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": "application/json", "Content-Length": "1000000"})
        while not exchange.wait(0.05):
            exchange.write(b" ")

    return behave


def redirecting(to: str, status: int = 307) -> Behaviour:
    """A redirect, which nobody may follow: it could lead to an address inside the caller's network."""
    return lambda exchange: exchange.reply(status, b"", {"Location": to})


def resetting() -> Behaviour:
    """The request is read, recorded and counted as worked; then the connection is reset."""
    return lambda exchange: exchange.reset()


def breaking_off() -> Behaviour:
    """A status, headers, half a body, then a reset."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": "application/json", "Content-Length": "1000"})
        exchange.write(b'{"half": ')
        exchange.reset()

    return behave


def sending(raw: bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> Behaviour:
    """Exactly these bytes: not JSON, not UTF-8, not an object, whatever."""
    named = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.reply(status, raw, named)


def huge(size: int = 100_000_000) -> Behaviour:
    """200 with a body of `size` bytes."""

    def behave(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": "application/json"})
        for _block in range(size // 65536 + 1):
            exchange.write(b" " * 65536)

    return behave


def idempotent(then: Behaviour) -> Behaviour:
    """400 without an Idempotency-Key, 422 for a key that comes back with another body; `then` otherwise."""
    seen: dict[str, bytes] = {}
    guard = threading.Lock()

    def behave(exchange: Exchange) -> None:
        key, body = key_of(exchange), exchange.request.body
        with guard:
            known = seen.setdefault(key, body)
        if not key:
            exchange.reply(400, {"title": "Idempotency-Key is missing", "status": 400})
        elif known != body:
            exchange.reply(422, {"title": "Idempotency-Key was used with another body", "status": 422})
        else:
            then(exchange)

    return behave
