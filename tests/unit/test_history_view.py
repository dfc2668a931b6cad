"""What a person is told of a workflow."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.history.view import Status
from loopwright.step import Record
from tests.unit.history_log import START_MS, TOPICS, Log, timeline_of, worked_lead


def test_a_new_workflow_waits_for_its_first_decision():
    log = Log()
    log.started()
    view = log.view()
    assert (view.status, view.hop, view.agent, view.path, view.open) == (Status.NEW, 0, "", (), True)


def test_after_a_decision_the_agent_is_being_called_and_the_trace_says_that_it_has_not_answered():
    log = Log()
    log.started()
    log.decided(1, "lead-ingestion")
    view = log.view()
    assert (view.status, view.hop, view.agent, view.activity) == (Status.CALLING, 1, "lead-ingestion", "calling lead-ingestion")
    assert view.steps[-1].kind == "waiting"
    assert view.steps[-1].at is None


def test_after_a_reply_it_is_routing_again():
    log = Log()
    log.started()
    log.decided(1, "lead-ingestion")
    log.replied(1, "lead-ingestion")
    view = log.view()
    assert (view.status, view.path, view.agent) == (Status.ROUTING, ("lead-ingestion",), "")


def test_a_completed_workflow_shows_path_strategies_calls_tokens_cost_and_score():
    view = worked_lead().view()
    assert (view.status, view.ended, view.open) == (Status.COMPLETED, True, False)
    assert view.path == ("lead-ingestion", "lead-scoring")
    assert view.strategies == ((1, "only-candidate"), (2, "llm"), (3, "end"))
    assert (view.model_calls, view.tokens, view.agent_calls, view.agent_tokens, view.cost) == (1, 120, 1, 15, 0.75)
    assert (view.score, view.reason, view.team) == (81.0, "done", "sdr")
    assert (view.started_ms, view.duration_ms) == (START_MS + 10, 70)
    assert view.age_ms(view.started_ms + 10_000) == 70


def test_an_open_workflow_grows_older():
    log = Log()
    log.started()
    view = log.view()
    assert view.age_ms(view.started_ms + 10_000) == 10_000


def test_only_the_first_decision_for_a_hop_counts_and_the_later_one_is_shown_as_ignored():
    log = Log()
    log.started()
    log.decided(1, "first")
    log.decided(1, "second", "embedding")
    view = log.view()
    assert view.agent == "first"
    assert view.strategies == ((1, "llm"),)
    assert (view.model_calls, view.tokens) == (1, 120)
    assert [step.ignored for step in view.steps if step.kind == "decision"] == ["", "a decision for this hop was already logged"]


def test_a_second_reply_for_a_hop_is_shown_as_a_duplicate_and_changes_nothing():
    log = worked_lead()
    before = log.view()
    log.replied(2, "lead-scoring", {"score": 1}, usage={"calls": 9})
    after = log.view()
    assert after.steps[-1].ignored == "a duplicate: this hop was already answered"
    assert (after.path, after.score, after.agent_calls, after.ignored) == (before.path, before.score, before.agent_calls, 1)


def test_a_failed_agent_and_a_parked_workflow_say_why():
    log = Log()
    log.started()
    log.decided(1, "a")
    log.failed(1, "a")
    log.settled(2, "park", "no candidate is left")
    view = log.view()
    assert (view.status, view.reason, view.open, view.ended) == (Status.PARKED, "no candidate is left", False, False)
    assert "5 attempts, HTTP 503" in view.steps[2].summary


def test_a_parked_workflow_that_is_resumed_is_open_again():
    log = Log()
    log.started()
    log.settled(1, "park", "unsure")
    log.say(TOPICS.messages, "loopwright.workflow.resumed", {"by": "Ada"})
    view = log.view()
    assert (view.status, view.reason) == (Status.NEW, "")
    assert view.steps[-1].summary == "workflow resumed by Ada"


@pytest.mark.parametrize(("kind", "status"), [("failed", Status.FAILED), ("cancelled", Status.CANCELLED), ("completed", Status.COMPLETED)])
def test_a_result_says_how_it_ended(kind, status):
    log = Log()
    log.started()
    log.say(TOPICS.results, f"loopwright.workflow.{kind}", {"hops": 1, "reason": "so it is", "document": {"score": 3}})
    view = log.view()
    assert (view.status, view.reason, view.score) == (status, "so it is", 3.0)


def test_a_start_that_cannot_be_read_is_a_rejected_workflow_with_its_position():
    log = Log()
    record = log.put(TOPICS.messages, b"[1]", b"w1")
    log.dead_letter(record, "w1", "not-an-object")
    view = log.view()
    assert (view.status, view.dead_letters) == (Status.REJECTED, 1)
    assert view.reason.startswith("not-an-object")
    assert [(step.kind.value, str(step.at)) for step in view.steps] == [
        ("rejected", "agent-messages-0@0"),
        ("dead-letter", "agent-dead-letters-0@0"),
    ]
    assert view.steps[1].detail["of"] == {"topic": "agent-messages", "partition": 0, "offset": 0}


def test_a_rejected_bare_record_belongs_to_no_workflow_but_is_counted():
    log = Log()
    log.dead_letter(log.put(TOPICS.messages, b"\xff"))
    timeline = log.timeline()
    assert list(timeline) == []
    assert timeline.views() == []
    assert timeline.dead_letters == 1
    assert [step.kind.value for step in timeline.orphans()] == ["rejected", "dead-letter"]
    with pytest.raises(KeyError):
        timeline.view("agent-messages-0-0")


def test_a_bare_object_is_a_workflow_that_is_named_by_its_position():
    log = Log()
    log.put(TOPICS.messages, b'{"name": "Ada"}')
    assert log.view("agent-messages-0-0").status is Status.NEW


def test_a_tombstone_is_nothing():
    log = Log()
    assert log.timeline().add(log.put(TOPICS.messages, None, b"w1")) is None


def test_two_workflows_do_not_touch_each_other():
    log = worked_lead()
    alone = log.view()
    log.started("w2")
    log.decided(1, "a", workflow="w2")
    log.replied(1, "a", workflow="w2")
    assert log.view() == alone
    assert [view.workflow for view in log.timeline().views()] == ["w2", "w1"]


def test_the_view_is_json():
    body = orjson.loads(orjson.dumps(worked_lead().view().as_dict(steps=True)))
    assert body["status"] == "completed"
    decision = next(step for step in body["steps"] if step["kind"] == "decision" and step["hop"] == 2)
    detail = decision["detail"]
    assert (detail["strategy"], detail["candidates"], detail["reason"]) == ("llm", ["lead-scoring", "other"], "it fits")
    assert (detail["confidence"], detail["model"], detail["tokens"]) == (0.9, "m", {"prompt": 100, "completion": 20})
    reply = next(step for step in body["steps"] if step["kind"] == "reply")
    assert (reply["detail"]["attempts"], reply["detail"]["status"], reply["detail"]["duration_ms"]) == (2, 200, 33)


NAMES = [*TOPICS.model_dump().values(), "unknown"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TYPES = ["workflow.started", "route.decided", "agent.replied", "agent.failed", "workflow.completed", "message.rejected", "agent.progress"]
FIELDS = [
    "document",
    "targets",
    "outcome",
    "decision",
    "usage",
    "error",
    "topic",
    "partition",
    "offset",
    "tokens",
    "calls",
    "agent",
    "score",
]


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    """Envelopes whose data may hold anything under the names that are read."""
    data = draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
    kind = f"loopwright.{draw(st.sampled_from(TYPES))}"
    body = {"specversion": "1.0", "id": "i", "type": kind, "source": "s", "workflowid": "w1", "hop": draw(st.integers(0, 3)), "data": data}
    return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS) if _fits(body) else b"{}"


def _fits(body: object) -> bool:
    try:
        orjson.dumps(body)
    except TypeError:
        return False
    return True


def bad_decisions() -> st.SearchStrategy[bytes]:
    """Replies that pass their schema while the parts that it leaves open hold anything."""
    call = {"agent": "a", "version": 1, "branch": "main", "attempts": 1, "pins": {}, "output": {}, "next": "continue"}
    envelope = {"specversion": "1.0", "id": "i", "type": "loopwright.agent.replied", "source": "s", "workflowid": "w1", "hop": 1}
    bodies = st.builds(lambda d, u: envelope | {"data": call | {"decision": {"calls": d, "tokens": u}, "usage": {"cost": u}}}, JSON, JSON)
    return bodies.map(lambda body: orjson.dumps(body) if _fits(body) else b"{}")


RECORDS = st.builds(
    Record,
    st.sampled_from(NAMES),
    st.integers(0, 1),
    st.integers(0, 50),
    st.integers(-1, 2**63 - 1),
    st.none() | st.just(b"w1") | st.binary(max_size=6),
    st.none() | st.binary(max_size=60) | envelopes() | bad_decisions() | JSON.map(lambda v: orjson.dumps(v) if _fits(v) else b"x"),
)


@given(st.lists(RECORDS, max_size=12))
def test_no_bytes_whatever_make_it_raise(records):
    log = Log()
    log.started()
    timeline = timeline_of([*log.records, *records])
    for view in timeline.views():
        orjson.dumps(view.as_dict(steps=True), default=str)
        assert view.status in Status
    assert timeline.dead_letters >= 0
    assert len(timeline.orphans()) <= timeline.records
