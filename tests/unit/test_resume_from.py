"""A workflow that rests runs again from one of its hops: with the log alone, with the same keys, and with nothing done twice."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.errors import Conflict, NotFound
from loopwright.history.findings import Clock, Invariant
from loopwright.history.invariants import Evidence
from loopwright.history.rerun import rerun, went_on
from loopwright.history.timeline import Timeline
from loopwright.history.view import Status, WorkflowView
from loopwright.message import Message, encode
from loopwright.settings import Settings
from loopwright.testing.simulation import Loop, Simulation
from loopwright.workflow.document import fingerprint
from loopwright.workflow.transitions import BUSY
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics
WORKFLOW = f"{TOPICS.messages}-0-0"
PATH = ["lead-ingestion", "lead-scoring", "active-outreach", "send-email"]


class Agents:
    """Agents that honour Idempotency-Key. What was really done is counted by agent (`runs`), and by agent and input (`effects`)."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self.runs: Counter[str] = Counter()
        self.effects: Counter[tuple[str, str]] = Counter()
        self.fail: set[str] = set()

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        agent, key = payload["url"].rsplit("/", 1)[1], payload["headers"]["idempotency-key"]
        if agent in self.fail:
            return {"status": 422, "headers": {}, "body": "no"}
        if key not in self.done:
            self.runs[agent] += 1
            self.effects[agent, fingerprint(orjson.loads(payload["body"]))] += 1
        assert self.done.setdefault(key, payload["body"]) == payload["body"], "one key, two payloads"
        return answering(payload)


def simulated(agents: Agents) -> Simulation:
    simulation = Simulation(SETTINGS, sdr_team(), agents, lambda _: model_says("active-outreach"))
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    simulation.run(random.Random(1), within_ms=60_000)
    return simulation


def timeline_of(simulation: Simulation) -> Timeline:
    timeline = Timeline(TOPICS, SETTINGS.limits, SETTINGS.team)
    for log in simulation.logs.values():
        timeline.extend(log)
    return timeline


def view_of(simulation: Simulation, workflow: str = WORKFLOW) -> WorkflowView:
    return timeline_of(simulation).view(workflow)


def set_back(simulation: Simulation, hop: int, workflow: str = WORKFLOW, new_keys: bool = False) -> Message:
    """Write what `loopwright resume --from` writes."""
    again = rerun(timeline_of(simulation).lives(workflow), hop, new_keys)
    name = f"resumed-{workflow}-{again.hop}"
    message = Message(name, schemas.RESUMED, "/cli", workflow, {**again.data, "by": "ada"}, again.hop, time_ms=simulation.now_ms)
    simulation.write(TOPICS.messages, encode(message), workflow.encode())
    return message


def clean(simulation: Simulation) -> dict[str, int]:
    evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
    for log in simulation.logs.values():
        evidence.extend(log)
    report = evidence.report(Clock(simulation.now_ms))
    assert report.findings == ()
    return report.counts


def forget(loop: Loop) -> None:
    loop.states.clear()
    loop.timers.clear()


@pytest.mark.parametrize("hop", [1, 2, 3, 4])
@pytest.mark.parametrize("forgetful", [(), ("route",), ("dispatch",), ("route", "dispatch")])
def test_a_completed_workflow_runs_again_from_any_hop_whoever_has_forgotten_it(hop: int, forgetful: tuple[str, ...]) -> None:
    agents = Agents()
    simulation = simulated(agents)
    first = view_of(simulation)
    for name in forgetful:
        forget(getattr(simulation, name))
    set_back(simulation, hop)
    assert view_of(simulation).open
    simulation.run(random.Random(2), within_ms=60_000)
    again = view_of(simulation)
    assert (again.status, list(again.path)) == (Status.COMPLETED, PATH)
    assert (again.document, again.hop) == (first.document, 5 + 5 - hop + 1)
    assert agents.runs == Counter(dict.fromkeys(PATH, 1)), "an effect was repeated"
    results = simulation.read(TOPICS.results)
    assert len({result.id for result in results}) == len(results) == 2
    assert clean(simulation)["workflows"] == 1
    if "dispatch" not in forgetful:
        assert "second_decision" not in simulation.counts


def test_with_new_keys_the_effects_happen_again_from_that_hop_on_and_keep_their_new_keys() -> None:
    agents = Agents()
    simulation = simulated(agents)
    set_back(simulation, 3, new_keys=True)
    simulation.run(random.Random(2), within_ms=60_000)
    twice = Counter({"lead-ingestion": 1, "lead-scoring": 1, "active-outreach": 2, "send-email": 2})
    assert agents.runs == twice
    set_back(simulation, 3)
    simulation.run(random.Random(2), within_ms=60_000)
    assert agents.runs == twice
    clean(simulation)


@pytest.mark.parametrize("new_key", [False, True])
def test_a_parked_workflow_calls_the_agent_that_failed_again_with_the_same_key_unless_told_otherwise(new_key: bool) -> None:
    agents = Agents()
    agents.fail.add("lead-scoring")
    simulation = simulated(agents)
    assert view_of(simulation).status is Status.PARKED
    agents.fail.clear()
    resumed = Message("r", schemas.RESUMED, "/cli", WORKFLOW, {"new_key": new_key}, time_ms=simulation.now_ms)
    simulation.write(TOPICS.messages, encode(resumed), WORKFLOW.encode())
    simulation.run(random.Random(2), within_ms=60_000)
    assert view_of(simulation).status is Status.COMPLETED
    scoring = [
        d.data["targets"][0] for d in simulation.read(TOPICS.decisions) if d.data["targets"] and "scoring" in d.data["targets"][0]["agent"]
    ]
    assert ("idempotency_key" in scoring[0], "idempotency_key" in scoring[1]) == (False, not new_key)
    clean(simulation)


def test_a_call_that_a_cancellation_cut_off_keeps_its_key() -> None:
    agents = Agents()
    simulation = Simulation(SETTINGS, sdr_team(), agents, lambda _: model_says("active-outreach"))

    def cut_off(payload: dict[str, Any]) -> dict[str, Any]:
        agents(payload)
        cancel = Message("c", schemas.CANCELLED, "/cli", WORKFLOW, {}, time_ms=simulation.now_ms)
        simulation.write(TOPICS.messages, encode(cancel), WORKFLOW.encode())
        return {"error": {"class": "ConnectionReset", "message": "cut"}}

    simulation.dispatch.perform = cut_off
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    simulation.run(random.Random(1), within_ms=100)
    assert view_of(simulation).status is Status.CANCELLED
    simulation.dispatch.perform = agents
    set_back(simulation, 1)
    simulation.run(random.Random(2), within_ms=60_000)
    assert view_of(simulation).status is Status.COMPLETED
    assert agents.runs == Counter(dict.fromkeys(PATH, 1))
    clean(simulation)


def test_a_record_that_was_made_from_an_older_log_changes_nothing() -> None:
    simulation = simulated(Agents())
    stale = set_back(simulation, 2)
    simulation.run(random.Random(2), within_ms=60_000)
    decisions = len(simulation.read(TOPICS.decisions))
    simulation.write(TOPICS.messages, encode(stale), WORKFLOW.encode())
    simulation.run(random.Random(3), within_ms=60_000)
    assert len(simulation.read(TOPICS.decisions)) == decisions
    assert simulation.counts["gone_on"] == 1
    other = replace(stale, data=stale.data | {"restored": stale.data["restored"] | {"hop": 99, "start_hash": "another"}})
    simulation.write(TOPICS.messages, encode(other), WORKFLOW.encode())
    simulation.run(random.Random(3), within_ms=60_000)
    assert [letter.data["cause"] for letter in simulation.read(TOPICS.dead_letters)] == ["conflicting-resumption"]


@pytest.mark.parametrize("wrong", [{"document": {"name": "Eve"}}, {"visits": []}, {"team": "sales"}])
def test_a_workflow_that_was_set_back_with_something_else_than_the_log_gives_is_reported(wrong: dict[str, Any]) -> None:
    simulation = simulated(Agents())
    honest = set_back(simulation, 3)
    simulation.logs[TOPICS.messages].pop()
    forged = replace(honest, data=honest.data | {"restored": honest.data["restored"] | wrong})
    simulation.write(TOPICS.messages, encode(forged), WORKFLOW.encode())
    evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
    for log in simulation.logs.values():
        evidence.extend(log)
    (finding,) = evidence.report(Clock(simulation.now_ms)).findings
    assert (finding.invariant, next(iter(wrong)) in finding.what) == (Invariant.SET_BACK_OTHERWISE, True)


def test_what_was_spent_stays_spent_and_time_and_hops_are_allowed_anew() -> None:
    simulation = simulated(Agents())
    said = set_back(simulation, 3).data["restored"]
    assert (said["spend"]["calls"], said["hop"]) == (1, 6)
    assert (said["hop_limit"], said["deadline_ms"]) == (SETTINGS.limits.hops, SETTINGS.limits.deadline_ms)
    simulation.run(random.Random(2), within_ms=60_000)
    assert set_back(simulation, 6).data["restored"]["hop_limit"] == SETTINGS.limits.hops


def test_a_hop_that_is_not_there_and_a_workflow_that_runs_are_refused() -> None:
    simulation = simulated(Agents())
    lives = timeline_of(simulation).lives(WORKFLOW)
    with pytest.raises(NotFound, match="no hop 9") as refused:
        rerun(lives, 9, False)
    assert "1, 2, 3, 4, 5" in refused.value.why
    set_back(simulation, 1)
    with pytest.raises(Conflict, match="still running"):
        rerun(timeline_of(simulation).lives(WORKFLOW), 1, False)
    unknown = Timeline(TOPICS, SETTINGS.limits, SETTINGS.team)
    unknown.extend(simulation.logs[TOPICS.decisions])
    with pytest.raises(Conflict, match="cannot be resumed"):
        rerun(unknown.lives(WORKFLOW), 1, False)


@pytest.mark.timeout(120)
@example(2359865, 0.1, 0.0, [True])
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.4]), st.lists(st.booleans(), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_however_often_it_is_set_back_and_whatever_crashes_no_call_has_a_second_effect(
    seed: int, crash_rate: float, failing: float, forgets: list[bool]
) -> None:
    rng, agents = random.Random(seed), Agents()

    def flaky(payload: dict[str, Any]) -> dict[str, Any]:
        return {"status": 503, "headers": {}, "body": ""} if rng.random() < failing else agents(payload)

    simulation = Simulation(SETTINGS, sdr_team(), flaky, lambda _: model_says(rng.choice(["active-outreach", "nurture-campaign", "none"])))
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    simulation.run(rng, crash_rate)
    for forgotten in forgets:
        lives = timeline_of(simulation).lives(WORKFLOW)
        assert lives[-1].state is not None
        assert lives[-1].state.phase not in BUSY
        for loop in simulation.loops if forgotten else ():
            simulation.checkpoint(loop)  # no operator forgets before its sources are past all that it remembers
            forget(loop)
        set_back(simulation, rng.choice([hop for life in lives for hop in life.before]), new_keys=False)
        simulation.run(rng, crash_rate)
    counts = clean(simulation)
    assert counts["workflows"] == 1
    assert set(agents.effects.values()) <= {1}, "an effect was repeated"


def test_a_workflow_that_the_hop_limit_parked_is_shown_as_parked_and_runs_again() -> None:
    simulation = Simulation(SETTINGS, sdr_team(), Agents(), lambda _: model_says("active-outreach"))
    start = Message("s", schemas.STARTED, "/test", WORKFLOW, {"document": LEAD, "hop_limit": 2}, time_ms=1)
    simulation.write(TOPICS.messages, encode(start), WORKFLOW.encode())
    simulation.run(random.Random(1), within_ms=60_000)
    assert view_of(simulation).status is Status.PARKED
    set_back(simulation, 3)
    simulation.run(random.Random(1), within_ms=60_000)
    assert view_of(simulation).status is Status.COMPLETED


def test_where_one_candidate_has_failed_for_good_another_takes_over_and_it_can_be_told_who() -> None:
    agents = Agents()
    agents.fail.add("active-outreach")
    simulation = simulated(agents)
    view = view_of(simulation)
    assert (view.status, view.path[2:]) == (Status.COMPLETED, ("nurture-campaign", "send-email"))
    (letter,) = simulation.read(TOPICS.dead_letters)
    lives = timeline_of(simulation).lives(WORKFLOW)
    assert (letter.data["agent"], went_on(lives, letter.hop)[:24]) == ("active-outreach", "hop 4: nurture-campaign ")
    assert went_on(lives, 99) == ""
    clean(simulation)
