"""The whole loop in memory, in any order of events and with crashes: one path, one effect per hop, one end."""

import random
from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.history.invariants import Clock, Evidence
from loopwright.message import LAST_MS, Message, encode
from loopwright.registry.roster import records_of
from loopwright.settings import Limits, Settings
from loopwright.testing.simulation import Simulation
from tests.unit.sdr_team import LEAD, OUTPUTS, answering, model_says, ok, sdr_team

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics


class Agents:
    """Agents that honour Idempotency-Key: the first call has the effect, a repeat gets the same answer, another body is refused."""

    def __init__(self, rng: random.Random, failing: float = 0.0) -> None:
        self.rng, self.failing = rng, failing
        self.done: dict[str, tuple[str, str]] = {}

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self.rng.random() < self.failing:
            return self.rng.choice([{"status": 503, "headers": {}, "body": ""}, {"error": {"class": "ConnectionReset", "message": "cut"}}])
        key, body = payload["headers"]["idempotency-key"], payload["body"]
        assert self.done.setdefault(key, (payload["url"], body)) == (payload["url"], body), "one key, two calls"
        return answering(payload)


def fickle(rng: random.Random) -> Any:
    """A model that answers differently each time."""

    def model(_payload: dict[str, Any]) -> dict[str, Any]:
        if rng.random() < 0.2:
            error = {"class": "Timeout", "message": "slow", "retryable": True, "retry_after_ms": None}
            return {"ok": False, "error": error, "tokens": {}}
        return model_says(rng.choice(["active-outreach", "nurture-campaign", "none", "admin"]))

    return model


def start(simulation: Simulation, count: int = 1) -> None:
    for number in range(count):
        simulation.write(TOPICS.messages, orjson.dumps(LEAD | {"name": f"Lead {number}"}))


def finished(simulation: Simulation) -> dict[str, list[Message]]:
    results: dict[str, list[Message]] = {}
    for result in simulation.read(TOPICS.results):
        results.setdefault(result.workflow, []).append(result)
    return results


def test_a_lead_goes_from_start_to_a_sent_mail() -> None:
    rng = random.Random(1)
    simulation = Simulation(SETTINGS, sdr_team(), Agents(rng), lambda _: model_says("active-outreach"))
    start(simulation)
    simulation.run(rng)
    (result,) = simulation.read(TOPICS.results)
    assert result.type == schemas.WORKFLOW_COMPLETED
    assert result.data["path"] == ["lead-ingestion", "lead-scoring", "active-outreach", "send-email"]
    assert result.data["spend"] == {"calls": 1, "tokens": 110, "cost": 0.0}
    decisions = simulation.read(TOPICS.decisions)
    assert [d.data["strategy"] for d in decisions] == ["only-candidate", "only-candidate", "llm", "only-candidate", "end"]


def test_every_decision_stands_in_the_log_before_it_is_acted_on() -> None:
    rng = random.Random(2)
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("active-outreach"))
    logged: list[int] = []

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        hop = int(payload["headers"]["ce-hop"])
        assert hop in {d.hop for d in simulation.read(TOPICS.decisions)}
        logged.append(hop)
        return answering(payload)

    simulation.dispatch.perform = agent
    start(simulation)
    simulation.run(rng)
    assert logged == [1, 2, 3, 4]


@pytest.mark.timeout(120)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.15]), st.sampled_from([0.0, 0.2]))
@settings(max_examples=40, deadline=None)
def test_crashes_and_a_fickle_model_still_give_one_path_and_one_end(seed: int, crash_rate: float, failing: float) -> None:
    rng = random.Random(seed)
    agents = Agents(rng, failing)
    simulation = Simulation(SETTINGS, sdr_team(), agents, fickle(rng))
    start(simulation, 3)
    simulation.run(rng, crash_rate)
    acted: dict[tuple[str, int], set[str]] = {}
    for said in simulation.read(TOPICS.messages):
        if said.type in (schemas.REPLIED, schemas.FAILED, schemas.SETTLED):
            acted.setdefault((said.workflow, said.hop), set()).add(str(said.data.get("agent") or said.data.get("outcome")))
    assert all(len(agents_called) == 1 for agents_called in acted.values()), "two decisions were acted on for one hop"
    ends = finished(simulation)
    for workflow, results in ends.items():
        assert len({(r.type, orjson.dumps(r.data["document"]), tuple(r.data["path"])) for r in results}) == 1, workflow
    parked = {m.workflow for m in simulation.read(TOPICS.messages) if m.type == schemas.SETTLED and m.data["outcome"] == "park"}
    assert len(ends.keys() | parked) == 3, "a workflow is unaccounted for"
    assert all(len(set(r.data["path"])) == len(r.data["path"]) for results in ends.values() for r in results)


@pytest.mark.timeout(120)
@example(93)
@example(156)
@example(891)
@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_job_that_is_down_for_longer_than_it_remembers_acts_on_no_second_decision(seed: int) -> None:
    """Decisions that a crash made twice lie unread when the job goes down; when it comes back, what they repeat has not been forgotten."""
    rng = random.Random(seed)
    simulation = Simulation(SETTINGS, sdr_team(), Agents(rng), fickle(rng))
    start(simulation, 3)
    for _ in range(rng.randrange(5, 150)):
        draw = rng.random()
        for loop in simulation.loops if draw < 0.15 else ():
            loop.crash(simulation.now_ms) if draw < 0.05 else simulation.checkpoint(loop)
        possible = simulation.actions()
        rng.choice(possible)() if possible else simulation.pass_time(LAST_MS)
    simulation.now_ms += 6 * 3_600_000
    for loop in simulation.loops:
        loop.crash(simulation.now_ms)
    simulation.run(rng, within_ms=24 * 3_600_000)
    assert not any(loop.states for loop in simulation.loops), "something is kept for ever"


def test_duplicated_records_change_nothing() -> None:
    rng = random.Random(3)
    simulation = Simulation(SETTINGS, sdr_team(), Agents(rng), lambda _: model_says("nurture-campaign"))
    start(simulation)
    simulation.run(rng)
    before = Counter(m.type for m in simulation.read(TOPICS.results))
    for record in list(simulation.logs[TOPICS.messages])[1:] + list(simulation.logs[TOPICS.decisions]):
        simulation.write(record.topic, record.value, record.key)
    simulation.run(rng)
    assert Counter(m.type for m in simulation.read(TOPICS.results)) == before
    assert simulation.counts["second_decision"] == 5
    assert TOPICS.dead_letters not in simulation.logs


def test_a_failing_agent_parks_the_workflow_with_the_reason_and_a_dead_letter() -> None:
    rng = random.Random(4)

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        return {"status": 500, "headers": {}, "body": "boom"} if payload["url"].endswith("scoring") else answering(payload)

    simulation = Simulation(SETTINGS, sdr_team(), agent, lambda _: model_says("none"))
    start(simulation)
    simulation.run(rng)
    settled = [m for m in simulation.read(TOPICS.messages) if m.type == schemas.SETTLED]
    assert "lead-scoring failed (Status500: boom)" in settled[0].data["reason"]
    assert simulation.read(TOPICS.dead_letters)[0].data["attempts"] == 5


def test_a_definition_that_changes_while_a_workflow_runs_does_not_change_it() -> None:
    rng = random.Random(5)
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("active-outreach"))

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        newer = [definition.model_copy(update={"version": 2}) for definition in sdr_team()]
        for key, value in records_of(newer):
            for loop in simulation.loops:
                loop.decider.on_definition(key, value)
        return answering(payload)

    simulation.dispatch.perform = agent
    start(simulation)
    simulation.run(rng)
    start(simulation)
    simulation.run(rng)
    versions: dict[str, set[int]] = {}
    for said in simulation.read(TOPICS.messages):
        if said.type == schemas.REPLIED:
            versions.setdefault(said.workflow, set()).add(said.data["version"])
    assert list(versions.values()) == [{1}, {2}]


def test_a_message_that_comes_before_its_team_is_known_waits() -> None:
    rng = random.Random(6)
    simulation = Simulation(SETTINGS, [], answering, lambda _: model_says("active-outreach"))
    start(simulation)
    simulation.run(rng)
    assert simulation.counts == {"waiting_for_team": 1}
    for loop in simulation.loops:
        loop.definitions = tuple(sdr_team())
        loop.restart()
        loop.timers.update(dict.fromkeys(loop.states, simulation.now_ms))
    simulation.run(rng)
    assert len(finished(simulation)) == 1


def test_half_a_team_is_no_team() -> None:
    rng = random.Random(10)
    simulation = Simulation(SETTINGS, [], answering, lambda _: model_says("active-outreach"))
    for key, value in records_of(sdr_team())[:-1]:
        for loop in simulation.loops:
            loop.decider.on_definition(key, value)
    start(simulation)
    simulation.run(rng)
    assert simulation.read(TOPICS.decisions) == []


def test_an_agent_that_the_next_roster_leaves_out_is_no_candidate_for_new_workflows() -> None:
    rng = random.Random(11)
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("none"))
    smaller = [definition for definition in sdr_team() if definition.name != "active-outreach"]
    for key, value in records_of(smaller):
        for loop in simulation.loops:
            loop.decider.on_definition(key, value)
    start(simulation)
    simulation.run(rng)
    (result,) = simulation.read(TOPICS.results)
    assert result.data["path"] == ["lead-ingestion", "lead-scoring", "nurture-campaign", "send-email"]


def test_a_deadline_that_passes_is_a_record_and_ends_the_workflow() -> None:
    rng = random.Random(7)
    short = SETTINGS.model_copy(update={"limits": Limits(deadline_ms=60_000)})

    def agent(_payload: dict[str, Any]) -> dict[str, Any]:
        return {"status": 503, "headers": {"retry-after": "3000"}, "body": ""}

    simulation = Simulation(short, sdr_team(), agent, lambda _: model_says("none"))
    start(simulation)
    simulation.run(rng)
    assert [m.type for m in simulation.read(TOPICS.results)] == [schemas.WORKFLOW_FAILED]
    assert schemas.DEADLINE_PASSED in {m.type for m in simulation.read(TOPICS.messages)}


def test_a_cancelled_workflow_ends_and_late_replies_are_ignored() -> None:
    rng = random.Random(8)
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("active-outreach"))
    start(simulation)
    workflow = f"{TOPICS.messages}-0-0"

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        cancel = Message("c", schemas.CANCELLED, "/cli", workflow, {"reason": "changed my mind"}, time_ms=simulation.now_ms)
        simulation.write(TOPICS.messages, encode(cancel))
        return ok(OUTPUTS[payload["url"].rsplit("/", 1)[1]])

    simulation.dispatch.perform = agent
    simulation.run(rng)
    (result,) = simulation.read(TOPICS.results)
    assert (result.type, result.data["reason"]) == (schemas.CANCELLED, "changed my mind")
    assert simulation.counts["after_end"] >= 1


def test_an_ended_workflow_is_forgotten_after_its_window() -> None:
    rng = random.Random(9)
    brief = SETTINGS.model_copy(update={"limits": Limits(deduplication_ms=1000, deadline_ms=2000)})
    simulation = Simulation(brief, sdr_team(), answering, lambda _: model_says("active-outreach"))
    start(simulation)
    simulation.run(rng)
    assert (simulation.route.states, simulation.dispatch.states) == ({}, {})


def test_the_router_remembers_a_cancelled_workflow_as_long_as_the_dispatcher_does() -> None:
    rng = random.Random(12)
    brief = SETTINGS.model_copy(update={"limits": Limits(deduplication_ms=1000, deadline_ms=600_000)})
    hanging = {"status": 503, "headers": {"retry-after": "3000"}, "body": ""}
    simulation = Simulation(brief, sdr_team(), lambda _: hanging, lambda _: model_says("none"))
    start(simulation)
    simulation.run(rng, within_ms=1000)
    cancel = Message("c", schemas.CANCELLED, "/cli", f"{TOPICS.messages}-0-0", {}, time_ms=simulation.now_ms)
    simulation.write(TOPICS.messages, encode(cancel))
    simulation.run(rng, within_ms=300_000)
    assert simulation.dispatch.states.keys() <= simulation.route.states.keys()
    assert simulation.route.states
    simulation.run(rng, within_ms=4_000_000)
    assert simulation.route.states == {}


@pytest.mark.parametrize("stamped_ms", [-(2**62), 0, LAST_MS, 2**62])
def test_a_timestamp_far_off_keeps_no_state_and_no_workflow_alive(stamped_ms: int) -> None:
    rng = random.Random(13)
    brief = SETTINGS.model_copy(update={"limits": Limits(deduplication_ms=1000, deadline_ms=60_000)})
    hanging = {"status": 503, "headers": {"retry-after": "3000"}, "body": ""}
    simulation = Simulation(brief, sdr_team(), lambda _: hanging, lambda _: model_says("none"))
    now_ms, simulation.now_ms = simulation.now_ms, stamped_ms
    simulation.write(TOPICS.messages, orjson.dumps(LEAD), f"{TOPICS.messages}-0-0".encode())
    simulation.now_ms = now_ms
    simulation.run(rng, within_ms=24 * 3_600_000)
    (result,) = simulation.read(TOPICS.results)
    assert (result.type, result.data["reason"]) == (schemas.WORKFLOW_FAILED, "not done within 60 s")
    assert (simulation.route.states, simulation.dispatch.states) == ({}, {})
    assert simulation.now_ms <= now_ms + 24 * 3_600_000
    evidence = Evidence(TOPICS, brief.limits, brief.team)
    evidence.extend(record for log in simulation.logs.values() for record in log)
    assert evidence.report(Clock(simulation.now_ms)).findings == ()
