"""A decider and a performer for tests of the shell: small, total, and telling in what they emit.

A record is JSON: {"do": "count"} counts; {"do": "call", "id"} makes a call; {"do": "later", "ms"} asks to be woken; {"do": "need", "name"}
waits for a definition of that name; {"do": "hold", "until": path} waits for that file, as for something that is down, and looks for it when
woken; {"do": "forget"} drops the state; {"do": "raise", "unless": path} raises while there is no such file,
and makes it. What happens is emitted to `out`.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from loopwright.step import Call, Emit, Step


class CountingDecider:
    """State: {"count", "pending": [ids], "wake": ms or None, "need": name or None, "hold": path or None}."""

    def __init__(self) -> None:
        self.catalogue: dict[str, str] = {}

    def on_record(self, key: str, state: bytes | None, record: bytes, now_ms: int) -> Step:
        held, asked = _load(state), json.loads(record)
        held["count"] += 1
        calls: tuple[Call, ...] = ()
        match asked["do"]:
            case "call":
                held["pending"].append(asked["id"])
                calls = (Call(asked["id"], b"{}"),)
            case "later":
                held["wake"] = now_ms + asked["ms"]
            case "need":
                held["need"] = asked["name"]
                return self._needing(key, held)
            case "hold":
                held["hold"] = asked["until"]
                return self._holding(key, held, now_ms, {"saw": "hold"})
            case "raise" if not Path(asked["unless"]).exists():
                Path(asked["unless"]).touch()
                raise ValueError("asked to raise")
            case "forget":
                return Step(None, (_emit(key, {"saw": "forget"}),))
        return _step(key, held, {"saw": asked["do"], "count": held["count"]}, calls)

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:
        held = _load(state)
        if call_id not in held["pending"]:
            return Step(state, counts=("late",))
        held["pending"].remove(call_id)
        return _step(key, held, {"saw": "outcome", "id": call_id, **json.loads(outcome)})

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        held = _load(state)
        if held["need"]:
            return self._needing(key, held)
        if held["hold"]:
            return self._holding(key, held, now_ms)
        lost = tuple(Call(i, b"{}") for i in held["pending"] if i not in in_flight)
        if held["wake"] is not None and held["wake"] <= now_ms:
            held["wake"] = None
            return _step(key, held, {"saw": "wake"}, lost)
        return Step(_dump(held), calls=lost, wake_at_ms=held["wake"])

    def on_definition(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.catalogue.pop(key, None)
        else:
            self.catalogue[key] = value.decode()

    def _holding(self, key: str, held: dict[str, Any], now_ms: int, happened: dict[str, Any] | None = None) -> Step:
        if Path(held["hold"]).exists():
            held["hold"] = None
            return _step(key, held, {"saw": "up"})
        emits = (_emit(key, happened),) if happened else ()
        return Step(_dump(held), emits, wake_at_ms=now_ms + 50, held=True)

    def _needing(self, key: str, held: dict[str, Any]) -> Step:
        found = self.catalogue.get(held["need"])
        if found is None:
            return Step(_dump(held), (_emit(key, {"saw": "nothing yet"}),), waiting=True)
        held["need"] = None
        return _step(key, held, {"saw": "definition", "text": found})


class GatedPerformer:
    """Answers calls once the file `gate` is there; writes what it does to the file `diary`, a line each: `<what> <call id> <running>`."""

    def __init__(self, gate: Path, diary: Path) -> None:
        self._gate, self._diary, self._running = gate, diary, 0

    async def open(self) -> None:
        self._note("open", "-")

    async def perform(self, call: Call) -> bytes:
        self._running += 1
        self._note("start", call.id)
        try:
            while not self._gate.exists():  # noqa: ASYNC110  # another process opens the gate
                await asyncio.sleep(0.01)
            self._note("finish", call.id)
            return json.dumps({"echo": call.id}).encode()
        except asyncio.CancelledError:
            self._note("cancel", call.id)
            raise
        finally:
            self._running -= 1

    async def close(self) -> None:
        self._note("close", "-")

    def _note(self, what: str, call_id: str) -> None:
        with self._diary.open("a") as diary:
            diary.write(f"{what} {call_id} {self._running}\n")


class RaisingPerformer:
    """Breaks its promise."""

    async def open(self) -> None: ...

    async def perform(self, call: Call) -> bytes:
        raise ValueError("asked to raise")

    async def close(self) -> None: ...


def _step(key: str, held: dict[str, Any], happened: dict[str, Any], calls: tuple[Call, ...] = ()) -> Step:
    return Step(_dump(held), (_emit(key, happened),), calls, held["wake"], (happened["saw"],))


def _load(state: bytes | None) -> dict[str, Any]:
    return json.loads(state) if state else {"count": 0, "pending": [], "wake": None, "need": None, "hold": None}


def _dump(held: dict[str, Any]) -> bytes:
    return json.dumps(held).encode()


def _emit(key: str, happened: dict[str, Any]) -> Emit:
    return Emit("out", key.encode(), json.dumps(happened).encode(), {"from": b"test"})
