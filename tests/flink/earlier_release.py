"""The deciders as an earlier release had them, as far as their state goes: it lacks the fields that were added since."""

from dataclasses import replace
from typing import Any

import orjson

from loopwright.dispatch.decider import DispatchDecider
from loopwright.message import Arrived
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings
from loopwright.step import Decider, Step

ADDED = frozenset({"key", "keys", "resumed_hop", "held_since_ms", "holds", "deadline_ms"})
OF_THE_WORKFLOW = frozenset({"deadline_ms"})  # which the router's state always had


def without(value: Any, names: frozenset[str]) -> Any:
    """The JSON value without what stands under these names, but for a document's or an input's own fields."""
    if not isinstance(value, dict):
        return value
    kept = {name: item for name, item in value.items() if name not in names}
    return {name: item if name in ("document", "input") else without(item, names) for name, item in kept.items()}


class Earlier:
    """A decider whose state is written without some fields."""

    def __init__(self, present: Decider, lacking: frozenset[str]) -> None:
        self._present, self._lacking = present, lacking

    def on_definition(self, key: str, value: bytes | None) -> None:
        self._present.on_definition(key, value)

    def on_record(self, key: str, state: bytes | None, record: Arrived, now_ms: int) -> Step:
        return self._written(self._present.on_record(key, state, record, now_ms))

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:
        return self._written(self._present.on_outcome(key, state, call_id, outcome, now_ms))

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        return self._written(self._present.on_wake(key, state, in_flight, now_ms))

    def _written(self, step: Step) -> Step:
        return step if step.state is None else replace(step, state=orjson.dumps(without(orjson.loads(step.state), self._lacking)))


class EarlierRoute(Earlier):
    def __init__(self, settings: Settings) -> None:
        super().__init__(RouteDecider(settings), ADDED - OF_THE_WORKFLOW)


class EarlierDispatch(Earlier):
    def __init__(self, settings: Settings) -> None:
        super().__init__(DispatchDecider(settings), ADDED)
