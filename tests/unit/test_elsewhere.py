"""Choices that are left to others: what they are asked, what a decision of theirs can do, and that silence loses nothing."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.message import Message, encode, parse, record_id
from loopwright.registry.catalogue import Agent
from loopwright.registry.definition import AgentDefinition, Cost
from loopwright.routing.chain import decide, steps_for
from loopwright.routing.elsewhere import SILENCE, briefing, posed
from loopwright.routing.request import ELSEWHERE, Ask, Decision, RouteRequest
from loopwright.settings import Limits, Routing, Settings
from loopwright.step import Record
from loopwright.testing.simulation import Simulation
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team
from tests.unit.test_routing import AGENTS, BOTH, request, scored

LEFT = Settings(llm_base_url="http://model/v1", routing=Routing(elsewhere=("sdr",), elsewhere_ms=60_000))
TOPICS = LEFT.topics


def left(asked: RouteRequest) -> RouteRequest:
    return replace(asked, routing=LEFT.routing)


def never(_payload: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError("the job's router asked a model")


def simulation() -> Simulation:
    made = Simulation(LEFT, sdr_team(), answering, never)
    made.write(TOPICS.messages, orjson.dumps(LEAD))
    return made


def run(made: Simulation, seed: int = 1, crash_rate: float = 0.0, within_ms: int = 30_000) -> None:
    """Until nothing else happens within less time than a choice is waited for."""
    made.run(random.Random(seed), crash_rate, within_ms=within_ms)


def decision(asked: Message, agent: str | None = None, outcome: str = "dispatch", **changes: Any) -> Message:
    """The decision that takes the target of `agent` as it stands in the question."""
    data, targets = asked.data, [target for target in asked.data["targets"] if target["agent"] == agent]
    said = {"outcome": outcome, "strategy": "elsewhere", "reason": "r", "targets": targets, "calls": 1, **changes}
    kept = {name: data[name] for name in ("team", "candidates", "pins", "deadline_ms")}
    return Message(data["decision"], schemas.DECIDED, "/elsewhere", asked.workflow, kept | said, asked.hop, causation=asked.id)


def write(made: Simulation, topic: str, message: Message) -> None:
    made.write(topic, encode(message), message.workflow.encode())


def test_where_there_is_nothing_to_choose_nobody_is_asked() -> None:
    chosen = decide(left(request(LEAD)), steps_for(True))
    assert isinstance(chosen, Decision)
    assert chosen.strategy == "only-candidate"


def test_a_choice_of_another_team_is_not_left() -> None:
    other = replace(left(scored()), routing=Routing(elsewhere=("sales",)))
    chosen = decide(other, steps_for(True))
    assert isinstance(chosen, Ask)
    assert chosen.payload["kind"] == "model"


def test_a_choice_is_a_record_that_can_be_read_and_names_what_a_decision_may_take() -> None:
    made = simulation()
    run(made)
    (asked,) = made.read(TOPICS.questions)
    parsed = parse(Record(TOPICS.questions, 0, 0, 9, asked.workflow.encode(), encode(asked)), Limits())
    assert isinstance(parsed, Message)
    assert set(asked.data["candidates"]) == BOTH
    assert [target["agent"] for target in asked.data["targets"]] == asked.data["candidates"]
    assert asked.data["ran"] == ["lead-ingestion", "lead-scoring"]
    assert asked.data["decision"] == record_id(asked.workflow, asked.hop, "", schemas.DECIDED)
    assert "score" in orjson.loads(asked.data["document"])


def test_a_target_holds_what_the_contract_declares_and_no_more() -> None:
    asked = posed(left(scored()), 2, 1)
    for target in asked.data["targets"]:
        assert target["input"].keys() <= set(AGENTS[target["agent"]].input.properties)


@pytest.mark.parametrize("agent", sorted(BOTH))
def test_a_workflow_whose_choice_was_made_elsewhere_goes_to_its_end(agent: str) -> None:
    made = simulation()
    run(made)
    (asked,) = made.read(TOPICS.questions)
    write(made, TOPICS.decisions, decision(asked, agent))
    run(made)
    (result,) = made.read(TOPICS.results)
    assert result.type == schemas.WORKFLOW_COMPLETED
    assert result.data["path"][:3] == ["lead-ingestion", "lead-scoring", agent]
    assert result.data["spend"]["calls"] == 1


def test_an_end_that_was_decided_elsewhere_is_an_end() -> None:
    made = simulation()
    run(made)
    (asked,) = made.read(TOPICS.questions)
    write(made, TOPICS.decisions, decision(asked, outcome="complete"))
    run(made)
    assert [result.type for result in made.read(TOPICS.results)] == [schemas.WORKFLOW_COMPLETED]


def test_silence_parks_the_workflow_and_it_is_asked_anew_when_it_is_resumed() -> None:
    made = simulation()
    run(made)
    run(made, within_ms=120_000)
    parked = made.read(TOPICS.decisions)[-1]
    assert (parked.data["outcome"], parked.data["strategy"]) == ("park", ELSEWHERE)
    assert "nobody has decided" in parked.data["reason"]
    assert made.read(TOPICS.results) == []
    (first,) = made.read(TOPICS.questions)
    write(made, TOPICS.messages, Message("again", schemas.RESUMED, "/test", first.workflow, {}, first.hop))
    run(made)
    second = made.read(TOPICS.questions)[-1]
    assert second.hop == first.hop + 1
    write(made, TOPICS.decisions, decision(second, "active-outreach"))
    run(made)
    assert [result.type for result in made.read(TOPICS.results)] == [schemas.WORKFLOW_COMPLETED]


def test_a_decision_that_comes_after_the_silence_is_not_acted_on() -> None:
    made = simulation()
    run(made)
    run(made, within_ms=120_000)
    (asked,) = made.read(TOPICS.questions)
    write(made, TOPICS.decisions, decision(asked, "active-outreach"))
    run(made)
    assert "active-outreach" not in [said.data.get("agent") for said in made.read(TOPICS.messages)]


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_crashes_and_however_often_it_is_decided_one_decision_is_acted_on(seed: int, crash_rate: float, patient: bool) -> None:
    rng, made = random.Random(seed), simulation()
    run(made, seed, crash_rate)
    for asked in made.read(TOPICS.questions):
        for _ in range(rng.randint(1, 3)):
            write(made, TOPICS.decisions, decision(asked, rng.choice(sorted(BOTH))))
    run(made, seed + 1, crash_rate, within_ms=30_000 if patient else 120_000)
    acted: dict[int, set[str]] = {}
    for said in made.read(TOPICS.messages):
        if said.type in (schemas.REPLIED, schemas.FAILED):
            acted.setdefault(said.hop, set()).add(said.data["agent"])
    assert all(len(agents) == 1 for agents in acted.values())
    assert {result.type for result in made.read(TOPICS.results)} == {schemas.WORKFLOW_COMPLETED}
    assert len({asked.id for asked in made.read(TOPICS.questions)}) == 1


def test_an_agent_that_the_budget_has_no_room_for_is_not_offered() -> None:
    dear = AGENTS["nurture-campaign"].definition.model_copy(update={"cost": Cost(per_call=9.0)})
    asked = left(scored(agents={**AGENTS, "nurture-campaign": Agent.of(dear)}, budget={"cost": 5.0}))
    assert isinstance(decide(asked, steps_for(True)), Ask)
    assert posed(asked, 2, 1).data["candidates"] == ["active-outreach"]


def test_a_choice_counts_as_a_call_of_the_budget() -> None:
    parked = decide(left(scored(budget={"calls": 0.5})), steps_for(True))
    assert isinstance(parked, Decision)
    assert (parked.outcome, parked.strategy) == ("park", "budget")
    assert "a choice that is left to others" in parked.reason


def test_a_choice_too_large_for_a_topic_parks_the_workflow() -> None:
    large = left(scored())
    state = large.state.altered(document=large.state.document | {"profile": {"summary": "x" * 5_000_000}})
    wide = {name: _takes_anything(AGENTS[name].definition) for name in BOTH}
    parked = decide(replace(large, state=state, agents=wide, limits=Limits(document_bytes=9_000_000)), steps_for(True))
    assert isinstance(parked, Decision)
    assert (parked.outcome, parked.strategy) == ("park", ELSEWHERE)


def _takes_anything(definition: AgentDefinition) -> Agent:
    return Agent.of(definition.model_copy(update={"input": {"type": "object", "properties": {"profile": {"type": "object"}}}}))


def test_the_silence_of_others_is_no_answer_of_a_model() -> None:
    taken_back = replace(scored(SILENCE, model_says("nurture-campaign")), routing=Routing())
    chosen = decide(taken_back, steps_for(True))
    assert isinstance(chosen, Decision)
    assert (chosen.strategy, chosen.targets[0].agent) == ("llm", "nurture-campaign")


def test_a_briefing_is_one_plain_line_and_the_same_whatever_the_order() -> None:
    agents = [Agent.of(definition) for definition in sdr_team()]
    text = briefing(agents)
    assert text == briefing(reversed(agents))
    assert text.isascii()
    assert "\n" not in text
    told = orjson.loads(text[text.index("The agents: ") + len("The agents: ") :])
    assert [agent["name"] for agent in told] == sorted(AGENTS)
    assert told[0]["needs"] == AGENTS[told[0]["name"]].definition.input
