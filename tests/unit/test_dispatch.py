"""The dispatcher: the first decision wins, outcomes are judged, late answers are fenced."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.dispatch.decider import DispatchDecider
from loopwright.dispatch.outcome import Accepted, Failure, Replied, judge, usage_of
from loopwright.dispatch.state import STATE_VERSION, DispatchState, dump
from loopwright.message import Arrived, Message, arrived, encode
from loopwright.registry.catalogue import Agent
from loopwright.settings import Settings
from loopwright.step import Record, Step
from tests.unit.sdr_team import OUTPUTS, ok, sdr_team

SETTINGS = Settings(gateway_url="http://gateway")
AGENTS = {definition.name: Agent.of(definition) for definition in sdr_team()}
SCORING = AGENTS["lead-scoring"]
INPUT = OUTPUTS["lead-ingestion"] | {"lead_source": "webinar"}
NOW = 1_700_000_000_000


def decider(**changes: Any) -> DispatchDecider:
    made = DispatchDecider(SETTINGS)
    for definition in sdr_team():
        changed = definition.model_copy(update=changes)
        made.on_definition(changed.ref, changed.to_json())
    return made


def decision(hop: int = 1, outcome: str = "dispatch", strategy: str = "llm", **target: Any) -> Arrived:
    targets = (
        [{"branch": "0", "agent": "lead-scoring", "version": 1, "input": INPUT, "input_hash": "h"} | target]
        if outcome == "dispatch"
        else []
    )
    data = {
        "outcome": outcome,
        "strategy": strategy,
        "reason": "r",
        "targets": targets,
        "candidates": [],
        "pins": {"lead-scoring": 1},
        "team": "sdr",
        "calls": 1,
        "tokens": {"prompt": 5, "completion": 2},
    }
    return carried(Message(f"d{hop}", schemas.DECIDED, "/r", "w", data | {"deadline_ms": NOW + 60_000}, hop))


def carried(message: Message) -> Arrived:
    return arrived(Record("routing-decisions", 0, 7, NOW, None, encode(message)))


def said(step: Step) -> list[Message]:
    from loopwright.message import read

    return [read(Record(emit.topic, 0, 0, NOW, emit.key, emit.value)) for emit in step.emits]


def called(made: DispatchDecider, state: bytes | None = None, hop: int = 1) -> tuple[Step, dict[str, Any]]:
    step = made.on_record("w", state, decision(hop), NOW)
    return step, orjson.loads(step.calls[0].payload)


def test_a_decision_becomes_one_call_with_a_stable_key() -> None:
    step, payload = called(decider())
    assert payload["url"].endswith("/agents/lead-scoring")
    assert orjson.loads(payload["body"]) == INPUT
    headers = payload["headers"]
    assert (headers["ce-workflowid"], headers["ce-hop"], headers["loopwright-agent"]) == ("w", "1", "lead-scoring@1")
    assert headers["loopwright-callback"] == "http://gateway/callbacks/w/1/0"
    assert headers["idempotency-key"] == called(decider())[1]["headers"]["idempotency-key"]
    assert headers["idempotency-key"] != called(decider(), step.state, 2)[1]["headers"]["idempotency-key"]


def test_what_a_definition_allows_goes_with_its_calls() -> None:
    assert orjson.loads(decider().on_record("w", None, decision(), NOW).calls[0].payload)["allow"] == []
    opened = decider(allow_addresses=("169.254.10.0/24",)).on_record("w", None, decision(), NOW)
    assert orjson.loads(opened.calls[0].payload)["allow"] == ["169.254.10.0/24"]


def test_the_second_decision_for_a_hop_is_ignored() -> None:
    made = decider()
    first, _ = called(made)
    second = made.on_record("w", first.state, decision(1, agent="send-email"), NOW)
    assert (second.calls, second.emits, second.counts, second.state) == ((), (), ("second_decision",), first.state)


def test_a_reply_carries_what_the_decision_said() -> None:
    made = decider()
    first, _ = called(made)
    step = made.on_outcome("w", first.state, "1/0/1", orjson.dumps(ok(OUTPUTS["lead-scoring"])), NOW + 40)
    (reply,) = said(step)
    assert (reply.type, reply.hop, reply.causation) == (schemas.REPLIED, 1, "d1")
    assert reply.data["output"] == OUTPUTS["lead-scoring"]
    assert reply.data["decision"] == {"calls": 1, "tokens": 7, "cost": 0.0}
    assert (reply.data["pins"], reply.data["duration_ms"], reply.data["next"]) == ({"lead-scoring": 1}, 40, "continue")


@pytest.mark.parametrize("branch", ["0", "a/b", "ü\r\nx: y", " "])
def test_a_branch_may_have_any_name(branch: str) -> None:
    made = decider()
    first = made.on_record("w", None, decision(branch=branch), NOW)
    payload = orjson.loads(first.calls[0].payload)
    assert all(value.isascii() and value.isprintable() for value in payload["headers"].values())
    step = made.on_outcome("w", first.state, first.calls[0].id, orjson.dumps(ok(OUTPUTS["lead-scoring"])), NOW)
    assert [reply.branch for reply in said(step)] == [branch]


def test_an_outcome_that_comes_twice_is_taken_once() -> None:
    made = decider()
    first, _ = called(made)
    outcome = orjson.dumps(ok(OUTPUTS["lead-scoring"]))
    replied = made.on_outcome("w", first.state, "1/0/1", outcome, NOW)
    assert made.on_outcome("w", replied.state, "1/0/1", outcome, NOW).emits == ()


def test_a_terminal_agent_s_reply_ends_the_workflow() -> None:
    verdict = judge(ok(OUTPUTS["send-email"]), AGENTS["send-email"], NOW)
    assert isinstance(verdict, Replied)
    assert verdict.next == "complete"
    said_so = judge(ok(OUTPUTS["lead-scoring"], loopwright_next="complete"), SCORING, NOW)
    assert isinstance(said_so, Replied)
    assert said_so.next == "complete"


def test_a_failed_call_is_tried_again_after_a_pause_with_the_same_key() -> None:
    made = decider()
    first, payload = called(made)
    paused = made.on_outcome("w", first.state, "1/0/1", orjson.dumps({"status": 503, "headers": {"retry-after": "2"}, "body": ""}), NOW)
    assert paused.emits == ()
    assert paused.wake_at_ms is not None
    assert paused.wake_at_ms >= NOW + 2000
    again = made.on_wake("w", paused.state, frozenset(), paused.wake_at_ms)
    retried = orjson.loads(again.calls[0].payload)
    assert (again.calls[0].id, retried["headers"]["loopwright-attempt"]) == ("1/0/2", "2")
    assert retried["headers"]["idempotency-key"] == payload["headers"]["idempotency-key"]


def test_a_call_that_is_in_flight_is_not_made_again_and_one_that_is_not_is() -> None:
    made = decider()
    first, _ = called(made)
    assert made.on_wake("w", first.state, frozenset({"1/0/1"}), NOW).calls == ()
    assert [call.id for call in made.on_wake("w", first.state, frozenset(), NOW).calls] == ["1/0/1"]


def test_when_the_attempts_are_used_up_the_failure_and_a_dead_letter_are_written() -> None:
    made, state, now = decider(), called(decider())[0].state, NOW
    for attempt in range(1, SCORING.definition.retry.attempts + 1):
        step = made.on_outcome("w", state, f"1/0/{attempt}", orjson.dumps({"error": {"class": "ConnectionRefused", "message": "no"}}), now)
        if step.emits:
            break
        now = step.wake_at_ms or now
        state = made.on_wake("w", step.state, frozenset(), now).state
    failed, letter = said(step)
    assert (failed.type, failed.data["attempts"], failed.data["error"]["class"]) == (schemas.FAILED, 5, "ConnectionRefused")
    assert letter.data["original"]["value"] == orjson.dumps(INPUT).decode()
    assert step.emits[1].topic == "agent-dead-letters"


@pytest.mark.parametrize(
    ("outcome", "kind", "retryable"),
    [
        ({"status": 400, "headers": {}, "body": '{"title": "bad", "detail": "no key"}'}, "Status400", False),
        ({"status": 404, "headers": {}, "body": ""}, "Status404", False),
        ({"status": 409, "headers": {}, "body": ""}, "Status409", True),
        ({"status": 422, "headers": {}, "body": ""}, "Status422", False),
        ({"status": 429, "headers": {}, "body": ""}, "Status429", True),
        ({"status": 500, "headers": {}, "body": ""}, "Status500", True),
        ({"status": 302, "headers": {"location": "http://169.254.169.254/"}, "body": ""}, "RedirectRefused", False),
        ({"status": 200, "headers": {}, "body": "thank you"}, "InvalidReply", False),
        ({"status": 200, "headers": {}, "body": "[1]"}, "InvalidReply", False),
        ({"status": 200, "headers": {}, "body": '{"score": 200}'}, "ContractViolation", False),
        ({"status": 202, "headers": {}, "body": ""}, "UnexpectedAccepted", False),
        ({"error": {"class": "Timeout", "message": "slow"}}, "Timeout", True),
        ({"error": {"class": "TlsError", "message": "self-signed"}}, "TlsError", False),
        ({"error": {"class": "AddressRefused", "message": "169.254.169.254"}}, "AddressRefused", False),
    ],
)
def test_each_kind_of_failure_is_told_apart(outcome: dict[str, Any], kind: str, retryable: bool) -> None:
    verdict = judge(outcome, SCORING, NOW)
    assert isinstance(verdict, Failure)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)


def test_fields_that_the_output_contract_does_not_declare_are_not_taken_over() -> None:
    open_contract = {**SCORING.definition.output, "additionalProperties": True}
    agent = Agent.of(SCORING.definition.model_copy(update={"output": open_contract}))
    verdict = judge(ok(OUTPUTS["lead-scoring"] | {"admin": True}), agent, NOW)
    assert isinstance(verdict, Replied)
    assert "admin" not in verdict.output


def test_an_input_that_breaks_the_contract_calls_nobody() -> None:
    step = decider().on_record("w", None, decision(input={"lead_source": 7}), NOW)
    assert step.calls == ()
    assert said(step)[0].data["error"]["class"] == "InputContractViolation"


def test_an_agent_without_a_definition_is_waited_for_and_then_given_up() -> None:
    made = decider()
    step = made.on_record("w", None, decision(agent="stranger"), NOW)
    assert (step.waiting, step.calls, step.emits) == (True, (), ())
    assert step.wake_at_ms is not None
    given_up = made.on_wake("w", step.state, frozenset(), step.wake_at_ms)
    assert said(given_up)[0].data["error"]["class"] == "UnknownAgent"


def test_a_decision_that_calls_nobody_is_settled_in_the_messages() -> None:
    (settled,) = said(decider().on_record("w", None, decision(outcome="park"), NOW))
    assert (settled.type, settled.data["outcome"]) == (schemas.SETTLED, "park")
    assert said(decider().on_record("w", None, decision(outcome="complete", strategy="end"), NOW)) == []


def test_a_record_of_another_topic_becomes_a_dead_letter() -> None:
    started = Message("s", schemas.STARTED, "/t", "w", {"document": {}})
    (letter,) = said(decider().on_record("w", None, carried(started), NOW))
    assert (letter.data["cause"], letter.data["offset"]) == ("unexpected-type", 7)


def callback(hop: int = 1, **data: Any) -> Arrived:
    return carried(Message("c", schemas.CALLED_BACK, "/gateway", "w", {"branch": "0"} | data, hop))


def accepted(made: DispatchDecider) -> bytes | None:
    return made.on_outcome("w", called(made)[0].state, "1/0/1", orjson.dumps({"status": 202, "headers": {}, "body": ""}), NOW).state


def test_a_late_reply_through_the_callback_is_taken_once_and_checked() -> None:
    made = decider(reply="callback")
    state = accepted(made)
    broken = made.on_record("w", state, callback(output={"score": "high"}), NOW)
    assert said(broken)[0].data["error"]["class"] == "ContractViolation"
    good = made.on_record("w", state, callback(output=OUTPUTS["lead-scoring"]), NOW)
    assert said(good)[0].type == schemas.REPLIED
    assert made.on_record("w", good.state, callback(output=OUTPUTS["lead-scoring"]), NOW).counts == ("late_callback",)
    assert made.on_record("w", state, callback(hop=2, output=OUTPUTS["lead-scoring"]), NOW).counts == ("late_callback",)


def test_a_late_reply_may_end_the_workflow_and_say_what_it_used() -> None:
    made = decider(reply="callback")
    late = callback(output=OUTPUTS["lead-scoring"], next="complete", usage={"prompt_tokens": 7})
    (reply,) = said(made.on_record("w", accepted(made), late, NOW))
    assert (reply.data["next"], reply.data["usage"]["prompt_tokens"]) == ("complete", 7)


def test_a_callback_that_never_comes_is_asked_for_again() -> None:
    made = decider(reply="callback")
    due = NOW + SCORING.definition.callback_timeout_ms
    step = made.on_wake("w", accepted(made), frozenset(), due)
    assert (step.counts or step.emits) is not None
    assert step.wake_at_ms is not None
    assert [call.id for call in made.on_wake("w", step.state, frozenset(), step.wake_at_ms).calls] == ["1/0/2"]


def test_an_agent_that_answers_at_once_takes_no_callback() -> None:
    made = decider()
    state = called(made)[0].state
    assert made.on_record("w", state, callback(output=OUTPUTS["lead-scoring"]), NOW).counts == ("unexpected_callback",)
    assert isinstance(judge({"status": 202, "headers": {}, "body": ""}, _callback_agent(), NOW), Accepted)


def _callback_agent() -> Agent:
    return Agent.of(SCORING.definition.model_copy(update={"reply": "callback"}))


def test_a_finished_workflow_is_forgotten_after_its_window() -> None:
    made = decider()
    state = made.on_record("w", None, decision(outcome="complete", strategy="end"), NOW)
    assert state.wake_at_ms == NOW + SETTINGS.limits.deduplication_ms
    assert made.on_wake("w", state.state, frozenset(), NOW + 1).state is not None
    assert made.on_wake("w", state.state, frozenset(), state.wake_at_ms).state is None


@given(st.text(max_size=80))
def test_usage_is_taken_only_where_it_makes_sense(header: str) -> None:
    assert all(value >= 0 for value in usage_of(header).values())


def test_usage_with_nonsense_in_it_keeps_the_rest() -> None:
    assert usage_of('{"prompt_tokens": 5, "cost": -1, "completion_tokens": "many", "other": 1}') == {"prompt_tokens": 5}


@given(st.integers(0, 4), st.integers(0, 4), st.integers(-1, 1))
def test_what_is_kept_between_decisions_gives_whatever_comes_the_same_answer(hop: int, later: int, due: int) -> None:
    rest = DispatchState(hop, "sdr", "cause", "trace", NOW + 5, NOW + 60_000, "acme", {"lead-scoring": 1}, {"calls": 1})
    whole, kept = orjson.dumps({"v": STATE_VERSION, **rest.__dict__}), dump(rest)
    assert len(kept) < len(whole) / 2
    made = decider()
    for record in (decision(later), decision(later, "complete"), callback(later, output={})):
        assert made.on_record("w", kept, record, NOW) == made.on_record("w", whole, record, NOW)
    outcome = orjson.dumps({"status": 200})
    assert made.on_outcome("w", kept, f"{hop}/0/1", outcome, NOW) == made.on_outcome("w", whole, f"{hop}/0/1", outcome, NOW)
    at = NOW + 5 + due
    assert made.on_wake("w", kept, frozenset(), at) == made.on_wake("w", whole, frozenset(), at)
