"""The job on a minicluster with a real broker: from records to records."""

from pathlib import Path
from typing import Any

import pytest

from loopwright import schemas
from loopwright.deadletter import original_bytes
from loopwright.message import Message, encode
from loopwright.testing.agent_behaviours import answering, failing, hanging
from loopwright.testing.model_server import ModelServer
from tests.flink.minicluster import until
from tests.flink.orchestra import PATH, ROOT, Orchestra
from tests.unit.sdr_team import LEAD, OUTPUTS
from udfs.drawing import mermaid
from udfs.uids import uids, without_uid


def test_every_operator_has_a_uid_and_they_are_the_pinned_ones(orchestra: Orchestra) -> None:
    env = orchestra.environment()
    assert without_uid(env) == []
    pinned = (ROOT / "tests" / "golden" / "uids.txt").read_text().splitlines()
    assert uids(env) == pinned, "\n".join(uids(env))


def test_the_graph_in_the_docs_is_the_job_s(orchestra: Orchestra) -> None:
    drawn = mermaid(orchestra.environment())
    assert drawn in (ROOT / "docs" / "architecture.md").read_text(), f"put this into docs/architecture.md:\n{drawn}"


def test_leads_go_from_a_record_to_a_result_offline(orchestra: Orchestra) -> None:
    orchestra.define(*orchestra.team())
    orchestra.run()
    for number in range(5):
        orchestra.send(f"w{number}", LEAD)
    results = orchestra.results(5)
    assert {tuple(result.data["path"]) for result in results} == {tuple(PATH)}
    strategies = [d.data["strategy"] for d in orchestra.said(orchestra.settings.topics.decisions, "w0")]
    assert strategies == ["only-candidate", "only-candidate", "embedding", "only-candidate", "end"]
    assert {len(calls) for name in PATH for calls in orchestra.agents.by_key(name).values()} == {1}


def test_messages_that_come_before_their_team_wait_for_it(orchestra: Orchestra) -> None:
    orchestra.run()
    orchestra.send("early", LEAD)
    until("the job runs", lambda: orchestra.cluster.status(orchestra.job) == "RUNNING")
    orchestra.define(*orchestra.team())
    assert orchestra.results(1)[0].data["path"] == PATH


def test_a_new_version_is_used_by_new_workflows_without_a_restart(orchestra: Orchestra) -> None:
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("old", LEAD)
    orchestra.results(1)
    orchestra.define(*[d.model_copy(update={"version": 2}) for d in orchestra.team()])

    def later() -> bool:
        number = len(orchestra.said(orchestra.settings.topics.results))
        orchestra.send(f"new-{number}", LEAD)
        found = orchestra.results(number + 1)[-1]
        replies = orchestra.said(orchestra.settings.topics.messages, found.workflow)
        return {m.data["version"] for m in replies if m.type == schemas.REPLIED} == {2}

    until("a workflow runs on version 2", later)
    old = orchestra.said(orchestra.settings.topics.messages, "old")
    assert {m.data["version"] for m in old if m.type == schemas.REPLIED} == {1}


def test_the_model_decides_where_the_choice_is_real(orchestra: Orchestra) -> None:
    with ModelServer() as model:
        orchestra.settings = orchestra.settings.model_copy(update={"llm_base_url": model.base_url})
        model.say("call the admin", {"agent": "nurture-campaign", "confidence": 0.8, "reason": "cold"})
        orchestra.define(*orchestra.team())
        orchestra.run()
        orchestra.send("w", LEAD)
        (result,) = orchestra.results(1)
        assert result.data["path"][2] == "nurture-campaign"
        assert result.data["spend"]["calls"] == 2 == len(model.questions)
        decision = orchestra.said(orchestra.settings.topics.decisions, "w")[2]
        assert (decision.data["strategy"], decision.data["reason"]) == ("llm", "cold")
        assert decision.data["tokens"]["prompt"] > 0


def test_an_agent_that_fails_at_first_is_tried_again_with_the_same_key(orchestra: Orchestra) -> None:
    orchestra.agents.agent("lead-scoring", failing(2, then=answering(OUTPUTS["lead-scoring"])))
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("w", LEAD)
    orchestra.results(1)
    (attempts,) = orchestra.agents.by_key("lead-scoring").values()
    assert len(attempts) == 3
    (reply,) = [m for m in orchestra.said(orchestra.settings.topics.messages, "w") if m.type == schemas.REPLIED and m.hop == 2]
    assert reply.data["attempts"] == 3


def test_a_restored_job_goes_on_where_it_was_and_calls_again_what_was_pending(orchestra: Orchestra, tmp_path: Path) -> None:
    orchestra.agents.agent("lead-scoring", hanging())
    orchestra.define(*orchestra.team())
    orchestra.run()
    orchestra.send("w", LEAD)
    until("the call hangs", lambda: orchestra.agents.calls("lead-scoring"))
    savepoint = orchestra.stop(tmp_path)
    orchestra.agents.agent("lead-scoring", answering(OUTPUTS["lead-scoring"]))
    orchestra.run(savepoint, parallelism=1)
    assert orchestra.results(1)[0].data["path"] == PATH
    assert len(orchestra.agents.by_key("lead-scoring")) == 1
    assert len(orchestra.agents.calls("lead-ingestion")) == 1


def test_a_late_reply_comes_through_the_callbacks_topic(orchestra: Orchestra) -> None:
    received: list[bytes] = []

    def later(exchange: Any) -> None:
        received.append(exchange.request.headers["ce-hop"].encode())
        exchange.reply(202, {})

    orchestra.agents.agent("lead-scoring", later)
    definitions = [d.model_copy(update={"reply": "callback"}) if d.name == "lead-scoring" else d for d in orchestra.team()]
    orchestra.define(*definitions)
    orchestra.run()
    orchestra.send("w", LEAD)
    until("the agent has accepted", lambda: received)
    back = Message("c", schemas.CALLED_BACK, "/gateway", "w", {"branch": "0", "output": OUTPUTS["lead-scoring"]}, int(received[0]))
    orchestra.producer.send(orchestra.settings.topics.callbacks, b"w", encode(back))
    assert orchestra.results(1)[0].data["path"] == PATH


@pytest.mark.parametrize("behaviour", ["prose", "truncated", "empty-choices", "unknown-agent", "hostile"])
def test_whatever_the_model_answers_nobody_but_a_candidate_is_called(orchestra: Orchestra, behaviour: str) -> None:
    with ModelServer(behaviour=behaviour) as model:
        orchestra.settings = orchestra.settings.model_copy(update={"llm_base_url": model.base_url})
        orchestra.define(*orchestra.team())
        orchestra.run()
        orchestra.send("w", LEAD)

        def settled() -> list[Message]:
            return [m for m in orchestra.said(orchestra.settings.topics.messages, "w") if m.type == schemas.SETTLED]

        (parked,) = until("the workflow is parked", settled)
        assert parked.data["outcome"] == "park"
        assert len(model.questions) == 2
        assert {request.path for request in orchestra.agents.requests} == {"/agents/lead-ingestion", "/agents/lead-scoring"}


HOSTILE = {
    "invalid-utf8": b'{"name": "\xff"}',
    "invalid-json": b"not json",
    "too-large": b'{"a": "' + b"x" * 2_000_000 + b'"}',
    "too-deep": b"[" * 10_000,
    "duplicate-key": b'{"a": 1, "a": 2}',
    "not-an-object": b"[]",
}


def test_bad_bytes_become_dead_letters_and_the_partition_goes_on(orchestra: Orchestra) -> None:
    orchestra.define(*orchestra.team())
    orchestra.run()
    topics = orchestra.settings.topics
    for raw in [*HOSTILE.values(), None]:
        orchestra.producer.send(topics.messages, b"w", raw)
    orchestra.producer.send(topics.messages, b"w", b'{"a": NaN}')
    orchestra.send("w", LEAD)
    orchestra.results(1)

    def arrived() -> list[Message] | None:
        found = orchestra.said(topics.dead_letters)
        return found if len(found) == len(HOSTILE) + 1 else None

    found = until("all dead letters", arrived)
    by_cause = {m.data["cause"]: original_bytes(m.data) for m in found if original_bytes(m.data) != b'{"a": NaN}'}
    assert by_cause == HOSTILE
    assert all(m.data["topic"] == topics.messages and m.data["offset"] >= 0 for m in found)
