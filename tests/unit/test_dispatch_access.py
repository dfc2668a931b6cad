"""What the dispatcher refuses: a reply of another agent than the one that was called."""

import orjson
import pytest

from tests.unit.sdr_team import OUTPUTS
from tests.unit.test_dispatch import NOW, callback, called, decider, said


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
