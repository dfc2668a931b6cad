"""The dispatcher's state of one workflow: the decision it acts on, and the calls that are not answered yet."""

from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from loopwright.alterable import Alterable

STATE_VERSION = 1
CALLING, BACKOFF, CALLBACK, UNKNOWN, HELD = "calling", "backoff", "callback", "unknown", "held"


@dataclass(frozen=True)
class Branch(Alterable):
    """One target of the decision. `due_ms` is when a pause, a callback or the wait for a definition ends; `attempts` counts calls made.

    `key` is the Idempotency-Key of the earlier call that this one repeats; empty where it is a new one.
    `holds` counts how often the present attempt was put off, `held_since_ms` is when that began (see `loopwright.dispatch.holding`).
    """

    agent: str
    version: int
    input: dict[str, Any]
    input_hash: str
    status: str = CALLING
    attempts: int = 0
    due_ms: int = 0
    since_ms: int = 0
    key: str = ""
    held_since_ms: int = 0
    holds: int = 0


@dataclass(frozen=True)
class DispatchState(Alterable):
    """`hop` is the last one that a decision was taken up for; decisions for it or an earlier one are ignored. `deadline_ms` is the
    workflow's, 0 where it is not known."""

    hop: int = 0
    team: str = ""
    cause: str = ""
    traceparent: str = ""
    forget_ms: int = 0
    deadline_ms: int = 0
    tenant: str = ""
    pins: dict[str, int] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    branches: dict[str, Branch] = field(default_factory=dict)


_NAMES = frozenset(f.name for f in fields(DispatchState))
_NEW = DispatchState()


def dump(state: DispatchState) -> bytes:
    """The state as JSON, with its version; where nothing is under way, what the next decision and late replies are held against."""
    if not state.branches:
        return orjson.dumps({"v": STATE_VERSION, "hop": state.hop, "forget_ms": state.forget_ms})
    return orjson.dumps({"v": STATE_VERSION, **state.__dict__})  # in the order of the fields; orjson writes the branches in it


def load(raw: bytes | None) -> DispatchState:
    """The state in `raw`, of this version or an older one; a new one for None."""
    if raw is None:
        return _NEW
    body = orjson.loads(raw)
    values = {name: value for name, value in body.items() if name in _NAMES}
    values["branches"] = {name: Branch(**branch) for name, branch in body.get("branches", {}).items()}
    return _NEW.altered(**values)
