"""What the dispatcher refuses: replies of other agents, actions and fields beyond a definition, agents of other tenants."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from loopwright import schemas
from loopwright.message import Message
from loopwright.registry.definition import Auth
from loopwright.step import Step
from tests.unit.sdr_team import OUTPUTS, ok
from tests.unit.test_dispatch import NOW, SCORING, callback, called, carried, decider, decision, said


@pytest.mark.parametrize("sender", ["sdr/send-email", "other/lead-scoring", "lead-scoring"])
def test_a_late_reply_that_another_agent_signed_is_refused_and_changes_nothing(sender: str) -> None:
    made = decider(reply="callback")
    state = called(made)[0].state
    step = made.on_record("w", state, callback(output=OUTPUTS["lead-scoring"], sender=sender), NOW)
    assert (step.state, step.counts) == (state, ("foreign_callback",))
    (audit,) = said(step)
    assert step.emits[0].topic == "agent-audit"
    assert (audit.type, audit.workflow, audit.hop, audit.branch) == ("loopwright.access.refused", "w", 1, "0")
    assert (audit.data["cause"], audit.data["who"]) == ("foreign-agent", {"agent": sender})
    assert orjson.dumps(OUTPUTS["lead-scoring"]) not in step.emits[0].value, "a refusal does not repeat what was sent"


@pytest.mark.parametrize("sender", [{"sender": "sdr/lead-scoring"}, {}], ids=["signed", "from before signatures"])
def test_a_late_reply_of_the_agent_that_was_called_is_taken(sender: dict[str, str]) -> None:
    made = decider(reply="callback")
    step = made.on_record("w", called(made)[0].state, callback(output=OUTPUTS["lead-scoring"], **sender), NOW)
    assert step.counts == ("replies",)


def judged(outcome: dict[str, Any], **changes: Any) -> Step:
    made = decider(**changes)
    return made.on_outcome("w", called(made)[0].state, "1/0/1", orjson.dumps(outcome), NOW)


def audit_of(step: Step) -> Message:
    (entry,) = [message for message in said(step) if message.type == schemas.ACCESS_REFUSED]
    assert [emit.topic for emit in step.emits][-1] == "agent-audit"
    assert (entry.data["where"], entry.data["who"]) == ("dispatch", {"agent": "sdr/lead-scoring"})
    return entry


def test_an_action_that_the_definition_lists_is_in_the_reply_s_record() -> None:
    step = judged(ok(OUTPUTS["lead-scoring"], loopwright_actions="crm.write, email.send,crm.write"), actions=("email.send", "crm.write"))
    (reply,) = said(step)
    assert reply.data["actions"] == ["crm.write", "email.send"]


@pytest.mark.parametrize("reported", ["email.send", "crm.write, email.send", "crm.write;email.send", "\u200bcrm.write"])
def test_an_action_beyond_the_definition_refuses_the_reply_for_good(reported: str) -> None:
    step = judged(ok(OUTPUTS["lead-scoring"], loopwright_actions=reported), actions=("crm.write",))
    failed, letter, _ = said(step)
    assert (failed.type, failed.data["error"]["class"], letter.data["cause"]) == (schemas.FAILED, "ActionNotAllowed", "ActionNotAllowed")
    assert audit_of(step).data["cause"] == "action-not-allowed"


def test_an_action_reported_with_a_late_reply_is_held_to_the_definition_too() -> None:
    made = decider(reply="callback", actions=("crm.write",))
    state = called(made)[0].state
    fine = made.on_record("w", state, callback(output=OUTPUTS["lead-scoring"], actions=["crm.write"]), NOW)
    assert said(fine)[0].data["actions"] == ["crm.write"]
    beyond = made.on_record("w", state, callback(output=OUTPUTS["lead-scoring"], actions=["email.send"]), NOW)
    assert said(beyond)[0].data["error"]["class"] == "ActionNotAllowed"
    assert audit_of(beyond).data["cause"] == "action-not-allowed"


def test_fields_beyond_the_output_contract_are_not_taken_over_and_on_record() -> None:
    more = OUTPUTS["lead-scoring"] | {"admin": "s3cret-value"}
    stripped = judged(ok(more), output={**SCORING.definition.output, "additionalProperties": True})
    assert said(stripped)[0].data["output"] == OUTPUTS["lead-scoring"]
    refused = judged(ok(more), output={**SCORING.definition.output, "additionalProperties": False})
    assert said(refused)[0].type == schemas.FAILED
    for step in (stripped, refused):
        entry = audit_of(step)
        assert (entry.data["cause"], "admin" in entry.data["why"]) == ("undeclared-fields", True)
        assert b"s3cret-value" not in step.emits[-1].value


@pytest.mark.parametrize("kind", ["MissingSecret", "InvalidSecret"])
def test_a_call_that_cannot_prove_who_makes_it_fails_for_good_and_is_on_record(kind: str) -> None:
    step = judged({"error": {"class": kind, "message": "there is no secret agent/sdr/x"}})
    assert said(step)[0].data["error"]["class"] == kind
    assert audit_of(step).data["cause"] == "no-identity"


def test_a_decision_for_an_agent_of_another_tenant_calls_nobody_whoever_made_it() -> None:
    made = decider(tenants=("acme",))
    for tenant, calls in [({"tenant": "acme"}, 1), ({"tenant": "globex"}, 0), ({}, 0)]:
        message = decision().message
        step = made.on_record("w", None, carried(replace(message, data=message.data | tenant)), NOW)
        assert len(step.calls) == calls
        if not calls:
            assert said(step)[0].data["error"]["class"] == "TenantNotAllowed"
            assert said(step)[-1].data["cause"] == "foreign-tenant"


def test_the_secret_of_a_call_is_named_in_its_payload_and_nothing_more() -> None:
    assert "auth" not in called(decider())[1]
    payload = called(decider(auth=Auth(type="bearer")))[1]
    assert payload["auth"] == {"type": "bearer", "secret": "agent/sdr/lead-scoring"}
    assert called(decider(auth=Auth(type="mtls", secret="partner"), endpoint="https://a.example/x"))[1]["auth"]["secret"] == "partner"
