"""The agents' stores as the witness for effects: clean runs hold, whatever crashed; each planted violation is found."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.history.findings import Clock, Finding, Invariant
from loopwright.history.invariants import Evidence, Report
from loopwright.history.witness import Execution, Witness
from loopwright.message import Message, encode, read
from loopwright.settings import Settings
from loopwright.step import Record
from loopwright.testing.simulation import Simulation
from loopwright.workflow.calls import idempotency_key
from tests.unit.sdr_team import LEAD, answering, model_says, ok, sdr_team
from tests.unit.test_resume_from import forget, set_back, timeline_of

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics
WORKFLOW = f"{TOPICS.messages}-0-0"
WEEK_MS = 7 * 24 * 3_600_000
AGENT, HOP = "lead-scoring", 2


class Storing:
    """Agents of the SDK: what is answered 200 is kept, and is the answer to a repeat. Some calls fail, some answers are lost on the way."""

    def __init__(self, rng: random.Random, failing: float = 0.0) -> None:
        self.rng, self.failing = rng, failing
        self.kept: dict[tuple[str, str], Execution] = {}
        self.simulation: Simulation | None = None

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        assert self.simulation is not None
        headers, agent = payload["headers"], payload["url"].rsplit("/", 1)[1]
        called = agent, headers["idempotency-key"].strip('"')
        if called not in self.kept:
            if self.rng.random() < self.failing:
                return {"status": 503, "headers": {}, "body": ""}
            answer = orjson.loads(answering(payload)["body"]) | ({"score": self.rng.randrange(100)} if agent == AGENT else {})
            whose = headers["ce-workflowid"], int(headers["ce-hop"]), headers["ce-branch"]
            self.kept[called] = Execution("store", *called, *whose, self.simulation.now_ms, orjson.dumps(answer))
        if self.rng.random() < self.failing:
            return {"error": {"class": "ConnectionReset", "message": "cut"}}
        return ok(orjson.loads(self.kept[called].answer or b""))


def run(
    seed: int, crash_rate: float = 0.0, failing: float = 0.0, leads: int = 1, models: tuple[str, ...] = ("active-outreach",)
) -> Storing:
    rng = random.Random(seed)
    agents = Storing(rng, failing)
    agents.simulation = Simulation(SETTINGS, sdr_team(), agents, lambda _: model_says(rng.choice(models)))
    for number in range(leads):
        agents.simulation.write(TOPICS.messages, orjson.dumps(LEAD | {"name": f"Lead {number}"}))
    agents.simulation.run(rng, crash_rate)
    return agents


def report_on(
    logs: Iterable[Iterable[Record]], executions: Iterable[Execution], now_ms: int, since_ms: int = 0, kept_ms: int = WEEK_MS
) -> Report:
    evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
    for log in logs:
        evidence.extend(log)
    return evidence.report(Clock(now_ms), since_ms, Witness(executions, kept_ms))


def found(agents: Storing, executions: Iterable[Execution] | None = None, **changed: Any) -> list[Finding]:
    assert agents.simulation is not None
    logs = agents.simulation.logs.values()
    return list(report_on(logs, agents.kept.values() if executions is None else executions, agents.simulation.now_ms, **changed).findings)


def ran(agents: Storing) -> tuple[tuple[str, str], Execution]:
    """What one agent ran."""
    return next((called, one) for called, one in agents.kept.items() if one.agent == AGENT)


@pytest.mark.timeout(120)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.15]), st.sampled_from([0.0, 0.2, 0.5]), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_agents_did_in_any_run_is_accounted_for(seed: int, crash_rate: float, failing: float, again: bool, new_keys: bool) -> None:
    agents = run(seed, crash_rate, failing, 3, ("active-outreach", "nurture-campaign", "none"))
    simulation = agents.simulation
    assert simulation is not None
    if again:
        before = [hop for life in timeline_of(simulation).lives(WORKFLOW) for hop in life.before]
        if agents.rng.random() < 0.5:
            forget(simulation.route)
        set_back(simulation, agents.rng.choice(before), new_keys=new_keys)
        simulation.run(agents.rng, crash_rate)
    assert found(agents) == []
    assert agents.kept or failing
    report = report_on(simulation.logs.values(), agents.kept.values(), simulation.now_ms)
    assert report.witness == {"executions": len(agents.kept), "not_ours": 0, "before_the_logs": 0}
    assert found(agents, since_ms=simulation.now_ms + 1) == []


def test_an_execution_whose_key_no_decision_gives_is_an_effect_without_a_decision() -> None:
    agents = run(1)
    _, one = ran(agents)
    for stray in (
        replace(one, key="another", hop=9),
        replace(one, key="another", agent="admin"),
        replace(one, workflow="nobody-s", key="x"),
    ):
        (finding,) = found(agents, [*agents.kept.values(), stray])
        assert (finding.invariant, finding.workflow) == (Invariant.NO_DECISION, stray.workflow)
        assert "store" in finding.what


def test_an_effect_under_two_keys_for_one_decision_is_found() -> None:
    agents = run(1)
    _, one = ran(agents)
    (finding,) = found(agents, [*agents.kept.values(), replace(one, key="another")])
    assert (finding.invariant, "another" in finding.what) == (Invariant.EFFECT_TWICE, True)
    assert [at.topic for at in finding.at] == [TOPICS.decisions]


def test_an_effect_in_two_stores_is_found_and_one_store_that_is_named_twice_is_not() -> None:
    agents = run(1)
    _, one = ran(agents)
    assert found(agents, [*agents.kept.values(), replace(one, store="the same by another name")]) == []
    (finding,) = found(agents, [*agents.kept.values(), replace(one, store="second", made_ms=one.made_ms - 1)])
    assert (finding.invariant, "second" in finding.what) == (Invariant.EFFECT_TWICE, True)


def test_an_effect_that_only_a_later_decision_asked_for_is_found() -> None:
    agents = run(1)
    assert agents.simulation is not None
    decided = next(d for d in agents.simulation.read(TOPICS.decisions) if d.hop == HOP)
    target = decided.data["targets"][0] | {"agent": "nurture-campaign"}
    later = replace(decided, data=decided.data | {"targets": [target]})
    agents.simulation.write(TOPICS.decisions, encode(later), WORKFLOW.encode())
    assert found(agents) == []
    second = replace(ran(agents)[1], agent="nurture-campaign")
    (finding,) = found(agents, [*agents.kept.values(), second])
    assert finding.invariant is Invariant.SECOND_DECISION


def test_a_reply_that_is_not_the_stored_answer_is_found() -> None:
    agents = run(1)
    called, one = ran(agents)
    for answer in (b'{"score": 1}', b"{}", b"no json", b'{"error": {"class": "x"}}'):
        (finding,) = found(agents, [*(e for c, e in agents.kept.items() if c != called), replace(one, answer=answer)])
        assert (finding.invariant, finding.at[0].topic) == (Invariant.OTHER_ANSWER, TOPICS.messages)
    late = replace(one, answer=orjson.dumps({"output": orjson.loads(one.answer or b""), "next": "continue"}))
    more = replace(one, answer=orjson.dumps({**orjson.loads(one.answer or b""), "undeclared": 1}))
    for answered in (late, more):
        assert found(agents, [*(e for c, e in agents.kept.items() if c != called), answered]) == []


def test_a_field_that_the_log_holds_encrypted_is_not_compared() -> None:
    agents = run(1)
    assert agents.simulation is not None
    log = agents.simulation.logs[TOPICS.messages]
    offset, reply = next((n, m) for n, m in enumerate(map(read, log)) if m.type == schemas.REPLIED and m.hop == HOP)
    for score, other in (({"$encrypted": {"v": 1, "data": "x"}}, []), (-1, [Invariant.OTHER_ANSWER])):
        output = reply.data["output"] | {"score": score}
        log[offset] = replace(log[offset], value=encode(replace(reply, data=reply.data | {"output": output})))
        assert [f.invariant for f in found(agents) if f.invariant is Invariant.OTHER_ANSWER] == other


def test_a_reply_that_no_store_knows_is_found_where_the_stores_cover_its_agent_and_its_time() -> None:
    agents = run(1, leads=3)
    assert agents.simulation is not None
    gone = max((called for called in agents.kept if called[0] == AGENT), key=lambda called: agents.kept[called].hop)
    rest = [one for called, one in agents.kept.items() if called != gone]
    assert found(agents, rest) == [], "it was called as early as the oldest call that the store remembers: it may have been forgotten"
    older = Execution("store", AGENT, "of-old", "of-old", 1, "0", agents.simulation.now_ms - 1000, b"{}")
    (finding,) = found(agents, [*rest, older])
    assert (finding.invariant, [at.topic for at in finding.at]) == (Invariant.NO_EXECUTION, [TOPICS.decisions, TOPICS.messages])
    assert found(agents, [*rest, older], kept_ms=-1) == [], "answers are not kept for so long"
    assert found(agents, [one for one in [*rest, older] if one.agent != AGENT or one is older]) == [], (
        "no reply of this agent is known there"
    )


def test_calls_of_others_and_calls_from_before_the_logs_are_counted_and_not_judged() -> None:
    agents = run(1)
    assert agents.simulation is not None
    _, one = ran(agents)
    others = [replace(one, key="by hand", workflow=""), replace(one, key="old", workflow="wiped", made_ms=one.made_ms - 10**6)]
    report = report_on(agents.simulation.logs.values(), [*agents.kept.values(), *others], agents.simulation.now_ms)
    assert (report.findings, report.witness["not_ours"], report.witness["before_the_logs"]) == ((), 1, 1)
    unnamed = [replace(execution, workflow="", hop=0, branch="") for execution in agents.kept.values()]
    assert found(agents, unnamed) == [], "a store of an older version does not say whose a call was"


def test_what_is_too_fresh_is_not_judged() -> None:
    agents = run(1)
    assert agents.simulation is not None
    stray = replace(ran(agents)[1], key="another", workflow="just-begun", made_ms=agents.simulation.now_ms)
    evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
    for log in agents.simulation.logs.values():
        evidence.extend(log)
    clock = Clock(agents.simulation.now_ms, skew_ms=1000)
    report = evidence.report(clock, 0, Witness([*agents.kept.values(), stray], WEEK_MS))
    assert (report.findings, report.counts["too_fresh"]) == ((), 1)


def test_the_key_of_a_call_follows_from_its_decision() -> None:
    agents = run(1)
    assert {called[1] for called in agents.kept} == {idempotency_key(WORKFLOW, hop, "0") for hop in (1, 2, 3, 4)}
    assert isinstance(read(agents.simulation.logs[TOPICS.messages][1]) if agents.simulation else None, Message)


@pytest.mark.parametrize("seed", range(6))
def test_records_that_come_twice_and_answers_that_are_lost_on_the_way_have_one_effect_each(seed: int) -> None:
    agents = run(seed, crash_rate=0.1, failing=0.3)
    simulation, done = agents.simulation, len(agents.kept)
    assert simulation is not None
    for topic in (TOPICS.messages, TOPICS.decisions):
        for record in tuple(simulation.logs[topic]):
            if record.key is not None:
                simulation.write(topic, record.value, record.key)
    simulation.run(agents.rng, crash_rate=0.1)
    assert found(agents) == []
    assert len(agents.kept) == done > 0


PLANTED = {
    Invariant.NO_DECISION: lambda one: replace(one, key="another", agent="admin"),
    Invariant.EFFECT_TWICE: lambda one: replace(one, key="another"),
    Invariant.OTHER_ANSWER: lambda one: replace(one, answer=b'{"error": {}}'),
}


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.2]), st.sampled_from(list(PLANTED)))
@settings(max_examples=25, deadline=None)
def test_whatever_crashed_a_planted_violation_is_found_and_nothing_else(
    seed: int, crash_rate: float, failing: float, planted: Invariant
) -> None:
    agents = run(seed, crash_rate, failing)
    assert agents.simulation is not None
    logged = {(m.workflow, m.hop) for m in agents.simulation.read(TOPICS.messages) if m.type == schemas.REPLIED}
    replied = [called for called, one in agents.kept.items() if (one.workflow, one.hop) in logged]
    if not replied:
        return
    chosen = agents.rng.choice(replied)
    wrong = PLANTED[planted](agents.kept[chosen])
    instead = planted is Invariant.OTHER_ANSWER
    rest = [one for called, one in agents.kept.items() if called != chosen or not instead]
    assert {finding.invariant for finding in found(agents, [*rest, wrong])} == {planted}  # once for each copy of the reply
