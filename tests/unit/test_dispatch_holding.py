"""Calls that are put off: no attempt is used up, the patience and the deadline end the wait."""

from typing import Any

import orjson
import pytest

from loopwright.dispatch.decider import DispatchDecider
from loopwright.dispatch.match import mismatch
from loopwright.dispatch.state import load
from loopwright.settings import Circuit, Settings
from loopwright.step import Step
from tests.unit.sdr_team import OUTPUTS, ok, sdr_team
from tests.unit.test_dispatch import NOW, called, decider, decision, said

OPEN = {"error": {"class": "CircuitOpen", "message": "it is not called for a while: ConnectionRefused", "retry_after_ms": 4000}}
BUSY = {"status": 409, "headers": {"retry-after": "3"}, "body": ""}


def outcome(made: DispatchDecider, step: Step, what: dict[str, Any], now_ms: int, attempt: int = 1) -> Step:
    return made.on_outcome("w", step.state, f"1/0/{attempt}", orjson.dumps(what), now_ms)


@pytest.mark.parametrize(("what", "asked_ms"), [(OPEN, 4000), (BUSY, 3000)])
def test_a_call_that_is_put_off_uses_up_no_attempt_and_is_made_when_it_may_be(what: dict[str, Any], asked_ms: int) -> None:
    made, now = decider(), NOW
    step, _ = called(made)
    for _ in range(10):
        step = outcome(made, step, what, now)
        assert (step.emits, step.calls, step.held) == ((), (), True)
        assert step.wake_at_ms is not None
        assert step.wake_at_ms >= now + asked_ms
        now = step.wake_at_ms
        assert made.on_wake("w", step.state, frozenset(), now - 1).calls == ()
        step = made.on_wake("w", step.state, frozenset(), now)
        assert [call.id for call in step.calls] == ["1/0/1"]
        assert not step.held
        if now > NOW + 45_000:
            break
    (reply,) = said(outcome(made, step, ok(OUTPUTS["lead-scoring"]), now))
    assert reply.data["attempts"] == 1


@pytest.mark.parametrize(("what", "kind"), [(OPEN, "CircuitOpen"), (BUSY, "Status409")])
def test_when_the_patience_is_over_the_call_has_failed_for_good(what: dict[str, Any], kind: str) -> None:
    made, now = DispatchDecider(Settings(circuit=Circuit(patience_ms=20_000))), NOW
    for definition in sdr_team():
        made.on_definition(definition.ref, definition.to_json())
    step, _ = called(made)
    while not (step := outcome(made, step, what, now)).emits:
        assert step.wake_at_ms is not None
        now = step.wake_at_ms
        step = made.on_wake("w", step.state, frozenset(), now)
    failed, letter = said(step)
    assert (failed.data["error"]["class"], failed.data["attempts"]) == (kind, 1)
    assert "waited 20 s" in letter.data["why"]
    assert now <= NOW + 20_000


def test_nothing_is_put_off_past_the_workflow_s_deadline() -> None:
    made = decider()
    step, _ = called(made)  # its deadline is a minute away
    step = outcome(made, step, {"error": {**OPEN["error"], "retry_after_ms": 3_600_000}}, NOW)
    assert step.wake_at_ms == NOW + 60_000
    step = made.on_wake("w", step.state, frozenset(), NOW + 60_000)
    assert step.calls == ()
    assert said(step)[0].data["error"]["class"] == "CircuitOpen"


def test_a_failed_attempt_begins_the_patience_anew() -> None:
    made = decider()
    step = outcome(made, called(made)[0], OPEN, NOW)
    step = made.on_wake("w", step.state, frozenset(), step.wake_at_ms or 0)
    step = outcome(made, step, {"status": 503, "headers": {}, "body": ""}, NOW + 5000)
    branch = load(step.state).branches["0"]
    assert (branch.holds, branch.held_since_ms, step.held) == (0, 0, False)


def test_a_state_from_before_calls_were_put_off_still_loads() -> None:
    made = decider()
    old = orjson.loads(called(made)[0].state or b"")
    del old["deadline_ms"], old["branches"]["0"]["holds"], old["branches"]["0"]["held_since_ms"]
    step = made.on_outcome("w", orjson.dumps(old), "1/0/1", orjson.dumps(OPEN), NOW)
    assert step.held


def test_an_agent_that_is_gone_fails_for_good_without_being_called() -> None:
    gone = {"error": {"class": "AgentGone", "message": "it is not called for a while: it answered 410 Gone", "retry_after_ms": 9}}
    made = decider()
    failed, _letter = said(outcome(made, called(made)[0], gone, NOW))
    assert failed.data["error"]["class"] == "AgentGone"
    assert "410" in failed.data["error"]["message"]


def test_a_definition_that_is_published_again_gets_a_circuit_of_its_own() -> None:
    made = decider()
    first = called(made)[1]["circuit"]
    assert called(made)[1]["circuit"] == first
    for definition in sdr_team():
        made.on_definition(definition.ref, definition.to_json())
    assert called(made)[1]["circuit"] != first


def test_what_opened_a_circuit_is_counted() -> None:
    made = decider()
    down = {"status": 503, "headers": {}, "body": "", "circuit_opened": True}
    assert outcome(made, called(made)[0], down, NOW).counts == ("retries", "circuits_opened")


@pytest.mark.parametrize(
    ("headers", "right"),
    [
        ({}, True),
        ({"ce-workflowid": "w", "ce-hop": "1"}, True),
        ({"ce-workflowid": "w"}, True),
        ({"ce-workflowid": "v"}, False),
        ({"ce-workflowid": ""}, False),
        ({"ce-hop": "2"}, False),
        ({"ce-workflowid": "w", "ce-hop": "0"}, False),
    ],
)
def test_a_reply_that_names_another_workflow_or_hop_is_refused_for_good(headers: dict[str, str], right: bool) -> None:
    made = decider()
    reply = ok(OUTPUTS["lead-scoring"])
    first, *letters = said(outcome(made, called(made)[0], {**reply, "headers": {**reply["headers"], **headers}}, NOW))
    if right:
        assert first.data["output"] == OUTPUTS["lead-scoring"]
    else:
        assert (first.data["error"]["class"], first.data["attempts"], len(letters)) == ("MismatchedReply", 1, 1)


@pytest.mark.parametrize("workflow", ["w", "a b/ü", "100%", "%41"])
def test_a_workflow_id_may_be_sent_back_as_it_came_or_decoded(workflow: str) -> None:
    made = decider()
    step = made.on_record(workflow, None, decision(), NOW)
    sent = orjson.loads(step.calls[0].payload)["headers"]["ce-workflowid"]
    for named in (sent, workflow):
        assert mismatch({"status": 200, "headers": {"ce-workflowid": named}}, workflow, 1) is None


def test_a_stored_response_may_name_the_earlier_hop_whose_call_is_repeated() -> None:
    stored = {"status": 200, "headers": {"ce-workflowid": "w", "ce-hop": "2"}}
    assert mismatch(stored, "w", 5, repeats=True) is None
    assert mismatch(stored, "w", 5) is not None
    assert mismatch(stored, "w", 1, repeats=True) is not None
    assert mismatch(stored, "v", 5, repeats=True) is not None
    assert mismatch({**stored, "headers": {"ce-hop": "1" * 9999}}, "w", 5, repeats=True) is not None
