"""A decider and a performer for tests of the shell: small, total, and telling in what they emit.

A record is JSON: {"do": "count"} counts; {"do": "call", "id", "ms"} makes a call that answers after `ms`; {"do": "later", "ms"} asks to be
woken; {"do": "need", "name"} waits for a definition of that name; {"do": "raise"} raises. Everything that happens is emitted to `out`.
"""

import asyncio
import json
from typing import Any

from loopwright.step import Call, Emit, Step


class CountingDecider:
    """State: {"count", "pending": {id: ms}, "wake": ms or None, "need": name or None}."""

    def __init__(self) -> None:
        self.catalogue: dict[str, str] = {}

    def on_record(self, key: str, state: bytes | None, record: bytes, now_ms: int) -> Step:
        """See the module."""
        held, asked = _load(state), json.loads(record)
        held["count"] += 1
        calls: tuple[Call, ...] = ()
        match asked["do"]:
            case "call":
                held["pending"][asked["id"]] = asked["ms"]
                calls = (_call(asked["id"], asked["ms"]),)
            case "later":
                held["wake"] = now_ms + asked["ms"]
            case "need":
                held["need"] = asked["name"]
                return self._needing(key, held)
            case "raise":
                raise ValueError("asked to raise")
            case "forget":
                return Step(None, (_emit(key, {"saw": "forget"}),))
        return self._step(key, held, {"saw": asked["do"], "count": held["count"]}, calls)

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:
        """Emits what came back."""
        held = _load(state)
        if held["pending"].pop(call_id, None) is None:
            return Step(state, counts=("late",))
        return self._step(key, held, {"saw": "outcome", "id": call_id, **json.loads(outcome)})

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        """Emits that it was woken when it had asked for it, and asks anew for calls that got lost."""
        held = _load(state)
        if held["need"]:
            return self._needing(key, held)
        lost = tuple(_call(i, ms) for i, ms in held["pending"].items() if i not in in_flight)
        if held["wake"] is not None and held["wake"] <= now_ms:
            held["wake"] = None
            return self._step(key, held, {"saw": "wake"}, lost)
        return Step(_dump(held), calls=lost, wake_at_ms=held["wake"], counts=("again",) * len(lost))

    def on_definition(self, key: str, value: bytes | None) -> None:
        """Keeps the catalogue."""
        if value is None:
            self.catalogue.pop(key, None)
        else:
            self.catalogue[key] = value.decode()

    def _needing(self, key: str, held: dict[str, Any]) -> Step:
        found = self.catalogue.get(held["need"])
        if found is None:
            return Step(_dump(held), waiting=True)
        held["need"] = None
        return self._step(key, held, {"saw": "definition", "text": found})

    def _step(self, key: str, held: dict[str, Any], happened: dict[str, Any], calls: tuple[Call, ...] = ()) -> Step:
        return Step(_dump(held), (_emit(key, happened),), calls, held["wake"], (happened["saw"],))


class EchoPerformer:
    """Answers after the time asked for, with the most calls that it saw running at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def open(self) -> None:
        """Nothing to make."""

    async def perform(self, call: Call) -> bytes:
        """The payload is {"ms": ...}; `{"most": ...}` comes back."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(json.loads(call.payload)["ms"] / 1000)
            return json.dumps({"most": self.most}).encode()
        finally:
            self.running -= 1

    async def close(self) -> None:
        """Nothing to close."""


def _load(state: bytes | None) -> dict[str, Any]:
    return json.loads(state) if state else {"count": 0, "pending": {}, "wake": None, "need": None}


def _dump(held: dict[str, Any]) -> bytes:
    return json.dumps(held).encode()


def _call(call_id: str, ms: int) -> Call:
    return Call(call_id, json.dumps({"ms": ms}).encode())


def _emit(key: str, happened: dict[str, Any]) -> Emit:
    return Emit("out", key.encode(), json.dumps(happened).encode(), {"from": b"test"})
