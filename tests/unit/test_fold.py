"""The fold: transitions as in the table, duplicates ignored, contradictions refused."""

import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopwright import schemas
from loopwright.message import Message
from loopwright.settings import Limits
from loopwright.workflow.document import fingerprint, merge_patch
from loopwright.workflow.fold import Applied, Contradiction, Folded, Ignored, fold
from loopwright.workflow.resumption import restored as restored_from
from loopwright.workflow.state import WorkflowState, from_json, remembered, to_json
from loopwright.workflow.transitions import ENDED, TRANSITIONS, Event, Phase, after

LIMITS = Limits()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=4)


def message(kind: str, hop: int = 0, **data: object) -> Message:
    return Message(f"{kind}-{hop}", kind, "/t", "w", data, hop, "0", 1000, 1000)


def started(**data: object) -> Message:
    return message(schemas.STARTED, document={"a": 1}, **data)


def reply(hop: int, agent: str = "x", **output: object) -> Message:
    common = {
        "agent": agent,
        "version": 1,
        "branch": "0",
        "attempts": 1,
        "pins": {"x": 1},
        "decision": {"calls": 1, "tokens": 5, "cost": 0.5},
    }
    return message(schemas.REPLIED, hop, output=output, next="continue", **common)


def step(state: WorkflowState | None, said: Message) -> Folded:
    return fold(state, said, LIMITS, "sdr")


def run(*said: Message) -> WorkflowState:
    state: WorkflowState | None = None
    for one in said:
        folded = step(state, one)
        assert isinstance(folded, Applied), folded
        state = folded.state
    assert state is not None
    return state


@given(OBJECTS, OBJECTS)
def test_merge_patch_keeps_rfc_7386(target: dict[str, object], patch: dict[str, object]) -> None:
    merged = merge_patch(target, patch)
    for name, value in patch.items():
        assert (name not in merged) if value is None else (isinstance(value, dict) or merged[name] == value)
    assert all(merged[name] == target[name] for name in target.keys() - patch.keys())
    assert merge_patch(merged, patch) == merged


def test_merge_patch_of_the_rfc_s_example() -> None:
    assert merge_patch({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}}


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_a_reply_is_merged_and_the_next_hop_is_due() -> None:
    state = run(started(), reply(1, b=2))
    assert (state.phase, state.hop, state.document, state.path) == (Phase.ROUTING, 2, {"a": 1, "b": 2}, ["x"])
    assert (state.pins, state.spend.calls, state.spend.tokens, state.spend.cost) == ({"x": 1}, 1, 5, 0.5)


def test_the_versions_of_the_first_reply_stay_pinned() -> None:
    later = reply(2)
    later.data["pins"] = {"x": 9}
    assert run(started(), reply(1), later).pins == {"x": 1}


@pytest.mark.parametrize(("hop", "count"), [(0, "duplicate_reply"), (2, "out_of_order")])
def test_a_reply_to_another_hop_changes_nothing(hop: int, count: str) -> None:
    assert step(run(started()), reply(hop)) == Ignored(count)


def test_the_same_reply_twice_is_accepted_once() -> None:
    assert step(run(started(), reply(1)), reply(1)) == Ignored("duplicate_reply")


def test_the_same_start_twice_is_ignored_and_another_one_refused() -> None:
    state = run(started())
    assert step(state, started()) == Ignored("duplicate_start")
    other = step(state, started(team="other"))
    assert isinstance(other, Contradiction)
    assert other.cause == "conflicting-start"


def test_a_reply_to_nothing_is_refused() -> None:
    assert isinstance(step(None, reply(1)), Contradiction)


def test_a_record_of_another_topic_is_refused() -> None:
    assert isinstance(step(run(started()), message(schemas.DECIDED, 1)), Contradiction)


def test_an_agent_that_failed_is_remembered_and_another_decision_is_due() -> None:
    failure = reply(1)
    failed = Message("f", schemas.FAILED, "/t", "w", {**failure.data, "error": {"class": "Timeout", "message": "slow"}}, 1)
    state = run(started(), failed)
    assert (state.hop, state.failed, state.phase) == (2, {"x": "Timeout: slow"}, Phase.ROUTING)


def test_a_parked_workflow_resumes_at_a_new_hop_with_all_agents() -> None:
    parked = run(started(), message(schemas.SETTLED, 1, outcome="park", reason="unsure"))
    assert (parked.phase, parked.reason) == (Phase.PARKED, "unsure")
    resumed = run(started(), message(schemas.SETTLED, 1, outcome="park", reason="unsure"), message(schemas.RESUMED))
    assert (resumed.phase, resumed.hop, resumed.failed) == (Phase.ROUTING, 2, {})


@pytest.mark.parametrize("verdict", ["approve", "edit", "reject"])
def test_a_person_decides_over_a_parked_workflow(verdict: str) -> None:
    park = message(schemas.SETTLED, 1, outcome="park", reason="unsure")
    state = run(started(), park, message(schemas.HUMAN_DECIDED, verdict=verdict, edit={"b": 3} if verdict == "edit" else {}))
    assert state.phase is (Phase.FAILED if verdict == "reject" else Phase.ROUTING)
    assert ("b" in state.document) == (verdict == "edit")


def test_a_start_cannot_widen_the_limits() -> None:
    state = run(started(deadline_ms=10**15, hop_limit=10**6))
    assert (state.deadline_ms, state.hop_limit) == (1000 + LIMITS.deadline_ms, LIMITS.hops)


EVENTS = [
    reply(1),
    reply(2),
    message(schemas.SETTLED, 1, outcome="complete", reason="r"),
    message(schemas.SETTLED, 2, outcome="park", reason="r"),
    message(schemas.SETTLED, 1, outcome="unroutable", reason="r"),
    message(schemas.CANCELLED),
    message(schemas.RESUMED),
    message(schemas.HUMAN_DECIDED, verdict="reject"),
    message(schemas.HUMAN_DECIDED, verdict="approve"),
    message(schemas.DEADLINE_PASSED, deadline_ms=10**15),
    started(),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_any_order_of_records_moves_only_along_the_table_and_an_end_is_final(said: list[Message]) -> None:
    state = run(started())
    for one in said:
        folded = step(state, one)
        if isinstance(folded, Applied):
            assert any(after(state.phase, event) is folded.state.phase for event in Event)
            assert state.phase not in ENDED
            assert folded.state.hop >= state.hop
            state = folded.state
        assert from_json(to_json(state)) == state


def restored(hop: int, start_hash: str) -> Message:
    first = run(started())
    return message(schemas.RESUMED, hop, restored={**restored_from(first, first, first, hop, {}), "start_hash": start_hash})


@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.sampled_from([started(), started(team="other"), *EVENTS]), st.integers(1, 30))
def test_what_is_remembered_of_an_end_gives_whatever_comes_the_same_answer(said: list[Message], late: Message, hop: int) -> None:
    state = run(started())
    for one in said:
        folded = step(state, one)
        state = folded.state if isinstance(folded, Applied) else state
    assume(state.phase in ENDED)
    kept = from_json(remembered(state))
    assert len(str(remembered(state))) < 300
    for one in (late, restored(hop, state.start_hash), restored(hop, "another")):
        assert step(kept, one) == step(state, one)


def test_a_state_of_an_older_version_gets_defaults_for_what_it_lacks() -> None:
    old = {"v": 1, "workflow": "w", "team": "sdr", "phase": "routing", "hop": 3, "document": {"a": 1}, "a_field_since_removed": 7}
    assert from_json(old) == WorkflowState("w", "sdr", Phase.ROUTING, 3, {"a": 1})


def test_the_table_in_the_docs_is_the_table_in_the_code() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "workflow.md").read_text()
    rows = set(re.findall(r"^\| (\w+) \| ([\w: ]+) \| (\w+) \|$", text, re.MULTILINE))
    assert rows == {(phase.value, event.value, to.value) for (phase, event), to in TRANSITIONS.items()}
