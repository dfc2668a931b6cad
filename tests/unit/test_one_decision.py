"""One decision outside of a workflow is the one that the router would take, and nothing that can go wrong is left without a word."""

import asyncio
import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.edges.one_decision import NoDecision, one_decision
from loopwright.registry.roster import records_of
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings
from loopwright.step import Call
from loopwright.testing.simulation import Simulation, always
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team
from tests.unit.test_loop import fickle

SETTINGS = Settings(llm_base_url="http://model/v1", routing={"ask_when_only_one": True})
DECISIONS = SETTINGS.topics.decisions


class Answering:
    """A performer that gives what a function makes of the payload."""

    def __init__(self, perform: Any) -> None:
        self._perform = perform

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def perform(self, call: Call) -> bytes:
        return orjson.dumps(self._perform(orjson.loads(call.payload)))


def decided(perform: Any, document: dict[str, Any], team: str = "") -> dict[str, Any]:
    decider, clock = RouteDecider(SETTINGS), iter(range(1_700_000_000_000, 1_800_000_000_000, 60_000))
    for key, value in records_of(sdr_team()):
        decider.on_definition(key, value)
    return asyncio.run(one_decision(decider, Answering(perform), DECISIONS, document, lambda: next(clock), team))


def test_it_is_the_decision_that_the_router_takes_for_the_first_hop() -> None:
    simulation = Simulation(SETTINGS, sdr_team(), answering, always(model_says("lead-ingestion")))
    simulation.write(SETTINGS.topics.messages, orjson.dumps(LEAD))
    simulation.run(random.Random(1))
    first = simulation.read(DECISIONS)[0].data
    found = decided(always(model_says("lead-ingestion")), LEAD)
    assert {name: found[name] for name in ("outcome", "strategy", "reason", "calls")} == {
        name: first[name] for name in ("outcome", "strategy", "reason", "calls")
    }
    assert [target["agent"] for target in found["targets"]] == ["lead-ingestion"]


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_with_a_model_that_answers_anything_there_is_one_in_the_end(seed: int) -> None:
    assert decided(fickle(random.Random(seed)), LEAD)["outcome"] in {"dispatch", "park", "unroutable"}


def test_a_team_that_is_not_published_is_told() -> None:
    with pytest.raises(NoDecision, match="not published"):
        decided(always(model_says("x")), LEAD, team="nobody")
