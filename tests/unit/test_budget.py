"""The budget: nothing is spent that does not fit, and what is parked over it says why."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.message import Message, encode
from loopwright.registry.catalogue import Agent
from loopwright.registry.definition import Cost
from loopwright.routing.budget import estimate
from loopwright.routing.chain import decide, steps_for
from loopwright.routing.request import Ask, Decision, Prices, RouteRequest
from loopwright.settings import Settings
from loopwright.testing.simulation import Simulation
from loopwright.workflow.fold import Applied, fold
from loopwright.workflow.state import Spend, WorkflowState
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team
from tests.unit.test_routing import AGENTS, request, scored

PRICES = Prices(prompt=1000.0, completion=2000.0)


def chosen(asked: RouteRequest) -> Decision | Ask:
    return decide(asked, steps_for(True))


def dear(name: str, per_call: float) -> dict[str, Agent]:
    made = AGENTS[name].definition.model_copy(update={"cost": Cost(per_call=per_call)})
    return {**AGENTS, name: Agent.of(made)}


def test_a_question_that_fits_is_asked_and_one_that_does_not_parks_with_the_sums() -> None:
    asked = chosen(scored())
    assert isinstance(asked, Ask)
    most = estimate(asked.payload) + asked.payload["max_tokens"]
    assert isinstance(chosen(scored(spend=Spend(tokens=500), budget={"tokens": 500 + most})), Ask)
    parked = chosen(scored(spend=Spend(tokens=501), budget={"tokens": 500 + most}))
    assert isinstance(parked, Decision)
    assert (parked.outcome, parked.strategy) == ("park", "budget")
    assert parked.reason == f"budget: 501 tokens spent of {500 + most}; a question to the model may take {most}"


def test_the_price_of_a_question_has_to_fit() -> None:
    parked = chosen(replace(scored(budget={"cost": 0.5}), prices=PRICES))
    assert isinstance(parked, Decision)
    assert "cost spent of 0.5" in parked.reason
    assert isinstance(chosen(replace(scored(budget={"cost": 5.0}), prices=PRICES)), Ask)


def test_what_was_asked_for_the_decision_at_hand_counts() -> None:
    parked = chosen(scored(model_says("admin"), budget={"calls": 1}))
    assert isinstance(parked, Decision)
    assert parked.reason == "budget: 1 calls spent of 1; a question to the model may take 1"


def test_an_agent_whose_call_does_not_fit_is_not_called() -> None:
    fits = chosen(request(LEAD, agents=dear("lead-ingestion", 2.0), budget={"cost": 2.0}))
    assert isinstance(fits, Decision)
    assert fits.outcome == "dispatch"
    parked = chosen(request(LEAD, agents=dear("lead-ingestion", 2.0), spend=Spend(cost=0.5), budget={"cost": 2.0}))
    assert isinstance(parked, Decision)
    assert (parked.outcome, parked.strategy) == ("park", "budget")
    assert parked.reason == "budget: 0.5 cost spent of 2; calling lead-ingestion may take 2"


def test_the_model_is_not_asked_where_no_candidate_could_be_called_afterwards() -> None:
    agents = {**dear("active-outreach", 3.0), "nurture-campaign": dear("nurture-campaign", 4.0)["nurture-campaign"]}
    parked = chosen(scored(agents=agents, budget={"cost": 2.9}))
    assert isinstance(parked, Decision)
    assert "a question to the model and the call it leads to may take 3" in parked.reason
    assert isinstance(chosen(scored(agents=agents, budget={"cost": 3.0})), Ask)


@given(st.text(max_size=300))
def test_the_estimate_is_no_less_than_half_a_token_for_every_letter(text: str) -> None:
    payload = {"messages": [{"role": "user", "content": text.encode("utf-8", "replace").decode()}], "schema": {}}
    assert estimate(payload) >= len(text) / 2


BUDGETS = st.fixed_dictionaries(
    {},
    optional={
        "calls": st.integers(0, 6),
        "tokens": st.integers(0, 9000),
        "cost": st.floats(0, 12, allow_nan=False).map(lambda c: round(c, 3)),
    },
)


@pytest.mark.timeout(180)
@given(st.integers(0, 2**32), BUDGETS, st.lists(st.sampled_from([0.0, 0.1, 1.0, 2.5]), min_size=5, max_size=5), st.sampled_from([0.0, 0.1]))
@settings(max_examples=60, deadline=None)
def test_with_truthful_usage_no_workflow_spends_more_than_its_budget(
    seed: int, budget: dict[str, float], costs: list[float], crash_rate: float
) -> None:
    rng = random.Random(seed)
    team = [d.model_copy(update={"cost": Cost(per_call=cost)}) for d, cost in zip(sdr_team(), costs, strict=True)]
    configured = Settings(llm_base_url="http://model/v1", llm_price_prompt=PRICES.prompt, llm_price_completion=PRICES.completion)

    def model(payload: dict[str, Any]) -> dict[str, Any]:
        used = {"prompt": rng.randint(0, estimate(payload)), "completion": rng.randint(0, payload["max_tokens"])}
        return model_says(rng.choice(["active-outreach", "nurture-campaign", "admin"])) | {"tokens": used}

    simulation = Simulation(configured, team, answering, model)
    start = Message("s", schemas.STARTED, "/test", "w", {"document": LEAD, "budget": budget}, time_ms=simulation.now_ms)
    simulation.write(configured.topics.messages, encode(start), b"w")
    simulation.run(rng, crash_rate)
    state: WorkflowState | None = None
    for message in simulation.read(configured.topics.messages):
        folded = fold(state, message, configured.limits, configured.team)
        state = folded.state if isinstance(folded, Applied) else state
        assert state is not None
        for name, limit in budget.items():
            assert getattr(state.spend, name) <= limit * (1 + 1e-6), orjson.dumps(message.data)
