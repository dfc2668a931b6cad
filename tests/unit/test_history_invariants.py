"""Logs of the job verify clean, whatever crashed; and each invariant, once broken, is reported with the records that show it."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.history.findings import Clock, Invariant
from loopwright.history.invariants import Evidence, Report
from loopwright.message import Message, encode, read
from loopwright.settings import Limits, Settings
from loopwright.step import Record
from loopwright.testing.simulation import Simulation
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team
from tests.unit.test_deciders_total import envelopes

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics
WORKFLOW = f"{TOPICS.messages}-0-0"
Log = dict[str, list[Record]]


def signal(rng: random.Random, workflow: str) -> Message:
    """A person's word, sensible at this moment or not."""
    verdict = {"verdict": rng.choice(["approve", "reject", "edit"]), "edit": {"note": rng.randrange(9)}}
    kind, data = rng.choice([(schemas.CANCELLED, {}), (schemas.RESUMED, {}), (schemas.RESUMED, {}), (schemas.HUMAN_DECIDED, verdict)])
    return Message(f"signal-{rng.random()}", kind, "/test", workflow, data)


def run(
    seed: int, crash_rate: float = 0.0, failing: float = 0.0, leads: int = 1, chosen: Settings = SETTINGS, signals: float = 0.0
) -> Simulation:
    """A run of the SDR team over `leads` leads, with agents that fail, a model that changes its mind, and people who step in."""
    rng = random.Random(seed)

    def step_in() -> None:
        if rng.random() < signals:
            said = signal(rng, f"{TOPICS.messages}-0-{rng.randrange(leads)}")
            simulation.write(TOPICS.messages, encode(said), said.workflow.encode())

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        step_in()
        return {"status": 503, "headers": {}, "body": ""} if rng.random() < failing else answering(payload)

    def model(_payload: dict[str, Any]) -> dict[str, Any]:
        step_in()
        return model_says(rng.choice(["active-outreach", "nurture-campaign", "none"]))

    simulation = Simulation(chosen, sdr_team(), agent, model)
    for number in range(leads):
        simulation.write(TOPICS.messages, orjson.dumps(LEAD | {"name": f"Lead {number}"}), f"{TOPICS.messages}-0-{number}".encode())
    simulation.run(rng, crash_rate)
    return simulation


def report_on(logs: Log, clock: Clock | None = None, chosen: Settings = SETTINGS, since_ms: int = 0) -> Report:
    evidence = Evidence(chosen.topics, chosen.limits, chosen.team)
    for topic in sorted(logs, reverse=True):
        evidence.extend(logs[topic])
    newest = max(record.timestamp_ms for log in logs.values() for record in log)
    return evidence.report(clock or Clock(newest), since_ms)


@cache
def clean() -> dict[str, tuple[Record, ...]]:
    """The log of one lead that was worked to the end."""
    return {topic: tuple(log) for topic, log in run(1).logs.items()}


def copied() -> Log:
    return {topic: list(log) for topic, log in clean().items()}


def append(logs: Log, topic: str, message: Message, at_ms: int = 0) -> str:
    """Add a message to a log; its position."""
    log = logs.setdefault(topic, [])
    log.append(Record(topic, 0, len(log), at_ms or log[-1].timestamp_ms, message.workflow.encode(), encode(message)))
    return f"{topic}-0-{len(log) - 1}"


def find(logs: Log, topic: str, kind: str, hop: int = 0) -> tuple[int, Message]:
    """Offset and message of the first record of a type, of this hop where one is given."""
    said = ((offset, read(record)) for offset, record in enumerate(logs[topic]))
    return next((offset, message) for offset, message in said if message.type == kind and hop in (0, message.hop))


def change(logs: Log, topic: str, offset: int, how: Callable[[Message], Message]) -> None:
    record = logs[topic][offset]
    logs[topic][offset] = replace(record, value=encode(how(read(record))))


def with_data(**data: Any) -> Callable[[Message], Message]:
    return lambda message: replace(message, data=message.data | data)


def broken(logs: Log, clock: Clock | None = None) -> dict[Invariant, list[str]]:
    """The positions that each broken invariant cites."""
    report = report_on(logs, clock)
    assert report.holds is not bool(report.findings)
    assert all(finding.workflow == WORKFLOW for finding in report.findings)
    return {finding.invariant: [position.name for position in finding.at] for finding in report.findings}


HASTY = SETTINGS.model_copy(update={"limits": Limits(deadline_ms=4000, hops=3)})


@pytest.mark.timeout(120)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.05, 0.15]),
    st.sampled_from([0.0, 0.2, 0.6]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([SETTINGS, HASTY]),
)
@settings(max_examples=80, deadline=None)
def test_the_log_of_any_run_verifies_clean_whatever_crashed_and_whoever_stepped_in(
    seed: int, crash_rate: float, failing: float, signals: float, chosen: Settings
) -> None:
    simulation = run(seed, crash_rate, failing, 3, chosen, signals)
    report = report_on(simulation.logs, chosen=chosen)
    assert report.findings == ()
    assert report.counts["workflows"] == 3
    assert report.counts["open"] == 0
    decided = simulation.read(TOPICS.decisions)
    assert report.counts["later_decisions_ignored"] == len(decided) - len({(d.workflow, d.hop) for d in decided})


@given(
    st.lists(st.tuples(st.sampled_from([TOPICS.messages, TOPICS.decisions, TOPICS.results, TOPICS.dead_letters]), envelopes()), max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_no_record_stops_the_report(written: list[tuple[str, bytes]]) -> None:
    evidence = Evidence(TOPICS, SETTINGS.limits, SETTINGS.team)
    evidence.extend(Record(topic, 0, offset, 1, b"w", value) for offset, (topic, value) in enumerate(written))
    assert orjson.dumps(evidence.report(Clock(2)).as_dict())


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=30, deadline=None)
def test_a_log_that_was_cut_off_anywhere_shows_open_workflows_and_nothing_broken(seed: int, data: st.DataObject) -> None:
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("active-outreach"))
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    rng = random.Random(seed)
    for _ in range(data.draw(st.integers(0, 25))):
        possible = simulation.actions()
        if possible:
            rng.choice(possible)()
    report = report_on(simulation.logs, Clock(simulation.now_ms, patience_ms=1))
    assert report.findings == ()
    assert report.counts["open"] + report.counts["completed"] == 1


def test_what_is_counted() -> None:
    report = report_on(copied())
    assert (report.counts["workflows"], report.counts["completed"], report.holds) == (1, 1, True)
    assert (report.counts["duplicates_fenced"], report.counts["later_decisions_ignored"], report.dead_letters) == (0, 0, {})


def test_identical_duplicates_are_fenced_and_break_nothing() -> None:
    logs = copied()
    for topic in (TOPICS.messages, TOPICS.decisions, TOPICS.results):
        for record in tuple(logs[topic]):
            append(logs, topic, read(record))
    report = report_on(logs)
    assert report.findings == ()
    assert report.counts["duplicates_fenced"] == len(clean()[TOPICS.messages]) + len(clean()[TOPICS.results])
    assert report.counts["later_decisions_ignored"] == len(clean()[TOPICS.decisions])


def test_failures_and_dead_letters_are_counted_by_cause() -> None:
    simulation = run(2, failing=1.0)
    simulation.write(TOPICS.messages, b"no json")
    simulation.run(random.Random(2), crash_rate=0.0)
    report = report_on(simulation.logs)
    assert report.findings == ()
    assert (report.counts["parked"], report.dead_letters) == (1, {"Status503": 1, "invalid-json": 1})


def test_a_document_that_no_agent_takes_is_refused() -> None:
    simulation = Simulation(SETTINGS, sdr_team(), answering, lambda _: model_says("none"))
    simulation.write(TOPICS.messages, b'{"unlike": "a lead"}')
    simulation.run(random.Random(1))
    report = report_on(simulation.logs)
    assert (report.holds, report.counts["refused"], report.counts["failed"]) == (True, 1, 0)


def test_a_deadline_and_a_cancellation_are_ends_like_any_other() -> None:
    short = SETTINGS.model_copy(update={"limits": Limits(deadline_ms=60_000)})
    simulation = Simulation(short, sdr_team(), lambda _: {"status": 503, "headers": {"retry-after": "3000"}, "body": ""}, answering)
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    simulation.write(TOPICS.messages, orjson.dumps(LEAD))
    cancel = Message("c", schemas.CANCELLED, "/cli", f"{TOPICS.messages}-0-1", {"reason": "changed my mind"}, time_ms=1)
    simulation.write(TOPICS.messages, encode(cancel))
    simulation.run(random.Random(3))
    report = report_on(simulation.logs, chosen=short)
    assert report.findings == ()
    assert (report.counts["failed"], report.counts["cancelled"]) == (1, 1)


def test_a_workflow_past_its_deadline_is_overdue() -> None:
    logs = {TOPICS.messages: copied()[TOPICS.messages][:2], TOPICS.decisions: copied()[TOPICS.decisions]}
    deadline_ms = logs[TOPICS.messages][0].timestamp_ms + SETTINGS.limits.deadline_ms
    assert broken(logs, Clock(deadline_ms)) == {}
    assert broken(logs, Clock(deadline_ms + 1)) == {Invariant.OVERDUE: [f"{TOPICS.messages}-0-0", f"{TOPICS.messages}-0-1"]}
    patient = report_on(logs, Clock(deadline_ms + 1, patience_ms=1000))
    assert (patient.holds, patient.counts["too_fresh"]) == (True, 1)


def test_answers_of_two_agents_for_one_hop_are_two_decisions_acted_on() -> None:
    logs = copied()
    offset, replied = find(logs, TOPICS.messages, schemas.REPLIED, hop=3)
    _, decided = find(logs, TOPICS.decisions, schemas.DECIDED, hop=3)
    targets = [decided.data["targets"][0] | {"agent": "another"}]
    append(logs, TOPICS.decisions, with_data(targets=targets)(decided))
    second = append(logs, TOPICS.messages, with_data(agent="another")(replied))
    assert broken(logs) == {Invariant.SECOND_DECISION: [f"{TOPICS.messages}-0-{offset}", second]}


def test_an_answer_to_a_later_decision_is_reported_with_both_decisions() -> None:
    logs = copied()
    offset, decided = find(logs, TOPICS.decisions, schemas.DECIDED, hop=3)
    targets = [decided.data["targets"][0] | {"version": 2}]
    change(logs, TOPICS.decisions, offset, with_data(targets=targets))
    later = append(logs, TOPICS.decisions, decided)
    answer, _ = find(logs, TOPICS.messages, schemas.REPLIED, hop=3)
    assert broken(logs) == {Invariant.SECOND_DECISION: [f"{TOPICS.decisions}-0-{offset}", later, f"{TOPICS.messages}-0-{answer}"]}


@pytest.mark.parametrize("wrong", [{"agent": "another"}, {"version": 2}, {"branch": "1"}])
def test_an_effect_that_no_decision_asked_for_is_reported(wrong: dict[str, Any]) -> None:
    logs = copied()
    offset, _ = find(logs, TOPICS.messages, schemas.REPLIED, hop=4)
    change(logs, TOPICS.messages, offset, with_data(**wrong))
    found = broken(logs)
    assert found[Invariant.NO_DECISION] == [f"{TOPICS.messages}-0-{offset}"]
    assert found.keys() <= {Invariant.NO_DECISION, Invariant.NOT_OF_THE_FOLD}


def test_an_effect_whose_decision_never_reached_the_log_is_reported_once_the_decision_must_have_been_seen() -> None:
    logs = copied()
    offset, _ = find(logs, TOPICS.decisions, schemas.DECIDED, hop=2)
    del logs[TOPICS.decisions][offset]
    answer, replied = find(logs, TOPICS.messages, schemas.REPLIED, hop=2)
    assert broken(logs) == {Invariant.NO_DECISION: [f"{TOPICS.messages}-0-{answer}"]}
    fresh = report_on(logs, Clock(replied.logged_ms + 1, skew_ms=1000))
    assert (fresh.findings, fresh.counts["too_fresh"]) == ((), 1)


def test_a_reply_that_cites_another_decision_is_an_effect_without_one() -> None:
    logs = copied()
    offset, _ = find(logs, TOPICS.messages, schemas.REPLIED, hop=2)
    change(logs, TOPICS.messages, offset, lambda message: replace(message, causation="another"))
    assert broken(logs) == {Invariant.NO_DECISION: [f"{TOPICS.messages}-0-{offset}"]}


def test_two_outputs_for_one_call_are_reported_though_the_fold_takes_the_first() -> None:
    logs = copied()
    offset, replied = find(logs, TOPICS.messages, schemas.REPLIED, hop=2)
    append(logs, TOPICS.messages, replied)
    other = append(logs, TOPICS.messages, with_data(output={"score": 1})(replied))
    assert broken(logs) == {Invariant.DIFFERENT_OUTPUTS: [f"{TOPICS.messages}-0-{offset}", other]}
    assert report_on(logs).counts["duplicates_fenced"] == 1


@pytest.mark.parametrize("wrong", [{"document": {}}, {"path": ["lead-ingestion"]}])
def test_a_result_that_the_fold_does_not_give_is_reported(wrong: dict[str, Any]) -> None:
    logs = copied()
    change(logs, TOPICS.results, 0, with_data(**wrong))
    assert broken(logs) == {Invariant.NOT_OF_THE_FOLD: [f"{TOPICS.results}-0-0", f"{TOPICS.messages}-0-4"]}


def test_results_that_differ_among_themselves_are_reported() -> None:
    logs = copied()
    _, result = find(logs, TOPICS.results, schemas.WORKFLOW_COMPLETED)
    second = append(logs, TOPICS.results, replace(result, type=schemas.WORKFLOW_FAILED))
    found = broken(logs)
    assert found[Invariant.DIFFERENT_RESULTS] == [f"{TOPICS.results}-0-0", second]
    assert found[Invariant.NOT_OF_THE_FOLD][0] == second


def test_a_result_of_a_workflow_that_has_not_ended_is_reported() -> None:
    logs = copied()
    del logs[TOPICS.messages][-1]
    assert broken(logs) == {Invariant.NOT_OF_THE_FOLD: [f"{TOPICS.results}-0-0", f"{TOPICS.messages}-0-3"]}


def test_an_end_without_a_result_is_reported_after_some_patience() -> None:
    logs = copied()
    del logs[TOPICS.results]
    last = logs[TOPICS.messages][-1]
    assert broken(logs) == {Invariant.NO_RESULT: [f"{TOPICS.messages}-0-{last.offset}"]}
    assert broken(logs, Clock(last.timestamp_ms + 999, patience_ms=1000)) == {}


def test_a_result_without_a_start_is_reported() -> None:
    logs = {TOPICS.results: copied()[TOPICS.results]}
    assert broken(logs) == {Invariant.NO_START: [f"{TOPICS.results}-0-0"]}


def test_what_the_topics_no_longer_hold_is_not_judged() -> None:
    logs = copied()
    del logs[TOPICS.messages][0]
    report = report_on(logs)
    assert (report.holds, report.counts["not_kept"]) == (True, 1)


def test_a_workflow_that_is_started_again_after_it_was_forgotten_is_judged_by_itself() -> None:
    logs = copied()
    later_ms = logs[TOPICS.messages][-1].timestamp_ms + SETTINGS.limits.deduplication_ms
    for topic in (TOPICS.messages, TOPICS.decisions, TOPICS.results):
        for record in tuple(logs[topic]):
            append(logs, topic, read(record), later_ms)
    report = report_on(logs)
    assert report.findings == ()
    assert (report.counts["workflows"], report.counts["completed"], report.counts["duplicates_fenced"]) == (2, 2, 0)


def test_the_same_start_once_more_that_nothing_came_of_is_a_duplicate_whenever_it_was_sent() -> None:
    """The job remembers for longer than it must, after a restart above all."""
    logs = copied()
    later_ms = logs[TOPICS.messages][-1].timestamp_ms + 2 * SETTINGS.limits.deduplication_ms
    append(logs, TOPICS.messages, read(logs[TOPICS.messages][0]), later_ms)
    report = report_on(logs)
    assert report.findings == ()
    assert (report.counts["workflows"], report.counts["duplicates_fenced"]) == (1, 1)


def test_a_forged_reply_that_the_job_refused_is_no_effect() -> None:
    logs = copied()
    _, replied = find(logs, TOPICS.messages, schemas.REPLIED, hop=1)
    append(logs, TOPICS.messages, replace(replied, workflow="nobody-knows-it"))
    assert report_on(logs).findings == ()


def test_since_leaves_out_workflows_without_a_newer_record() -> None:
    logs = copied()
    newest = max(record.timestamp_ms for log in logs.values() for record in log)
    assert report_on(logs, since_ms=newest).counts["workflows"] == 1
    assert report_on(logs, since_ms=newest + 1).counts["workflows"] == 0


def test_the_report_is_json() -> None:
    logs = {TOPICS.results: copied()[TOPICS.results]}
    shown = orjson.loads(orjson.dumps(report_on(logs).as_dict()))
    what = {"workflow": WORKFLOW, "invariant": "result-without-start", "what": "it has a result, and no start"}
    assert (shown["holds"], shown["broken"]) == (False, [what | {"records": [f"{TOPICS.results}-0-0"]}])
