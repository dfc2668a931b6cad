"""Who would be next for a document: the router itself, asked once, outside of a workflow. What it decides is written nowhere."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from loopwright import schemas
from loopwright.message import Message, arrived, encode
from loopwright.step import Decider, Emit, Performer, Record, Step

KEY = "-"
SOURCE = "/loopwright/one-decision"


class NoDecision(Exception):
    """There is none; the text says why."""


async def one_decision(
    decider: Decider, performer: Performer, topic: str, document: dict[str, Any], clock_ms: Callable[[], int], team: str = ""
) -> dict[str, Any]:
    """The `data` of the decision (docs/records.md) that the router would write to `topic` for a workflow that starts with `document`.

    Model and embedder are asked through `performer`, and asked again as often and with the pauses that the router takes. Raises NoDecision.
    """
    now_ms = clock_ms()
    data = {"document": document, **({"team": team} if team else {})}
    start = Message(KEY, schemas.STARTED, SOURCE, KEY, data, time_ms=now_ms, logged_ms=now_ms)
    step = decider.on_record(KEY, None, arrived(Record("", 0, 0, now_ms, None, encode(start))), now_ms)
    while (found := _decision(step.emits, topic)) is None:
        if step.calls:
            call = step.calls[0]
            step = decider.on_outcome(KEY, step.state, call.id, await performer.perform(call), clock_ms())
        else:
            step = await _woken(decider, step, clock_ms)
    return found


async def _woken(decider: Decider, step: Step, clock_ms: Callable[[], int]) -> Step:
    if step.waiting:
        raise NoDecision("the team is not published")
    if step.state is None or step.wake_at_ms is None:
        raise NoDecision("the document starts no workflow")
    await asyncio.sleep(max(0, step.wake_at_ms - clock_ms()) / 1000)
    return decider.on_wake(KEY, step.state, frozenset(), max(clock_ms(), step.wake_at_ms))


def _decision(emits: tuple[Emit, ...], topic: str) -> dict[str, Any] | None:
    return next((dict(orjson.loads(emit.value or b"{}")["data"]) for emit in emits if emit.topic == topic), None)
