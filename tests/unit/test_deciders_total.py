"""The deciders are total: whatever passes the intake is folded, refused or ignored, and never fails the job."""

import copy
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.dispatch.decider import DispatchDecider
from loopwright.intake import intake
from loopwright.registry.roster import records_of
from loopwright.routing.decider import RouteDecider
from loopwright.settings import Settings
from loopwright.step import Decider, Emit, Record, Step
from tests.unit.sdr_team import LEAD, sdr_team

GOLDEN = [orjson.loads(path.read_bytes()) for path in sorted((Path(__file__).resolve().parents[1] / "golden" / "v1").glob("*.json"))]
SETTINGS = Settings(llm_base_url="http://model/v1")
NOW = 1_700_000_000_000
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["lead-scoring", "send-email", "sdr", "0", "complete", "dispatch", "park", "end", "llm", 1, 1.0, 2]),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["calls", "tokens", "cost", "agent", "x"]), st.integers(-1, 3) | st.text(max_size=2), max_size=2),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for name, item in inner for path in paths(item, (*at, name)))]


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    """A golden record in which some values were replaced or removed."""
    body = copy.deepcopy(draw(st.sampled_from(GOLDEN)))
    body["workflowid"], body["hop"] = "w", draw(st.integers(0, 4))
    for _ in range(draw(st.integers(0, 3))):
        *above, last = draw(st.sampled_from([path for path in paths(body) if path]))
        place = body
        for name in above:
            place = place[name]
        if draw(st.booleans()) or isinstance(place, list):
            place[last] = draw(LEAVES)
        else:
            del place[last]
    return orjson.dumps(body)


def made(kind: type) -> Decider:
    decider = kind(SETTINGS)
    for key, value in records_of(sdr_team()):
        decider.on_definition(key, value)
    return decider  # type: ignore[no-any-return]


OUTCOMES = st.sampled_from(
    [
        {"ok": True, "content": '{"agent": "active-outreach"}', "tokens": {"prompt": 1}},
        {"ok": True, "content": "", "tokens": None},
        {"ok": False, "error": {"class": "Timeout", "message": "", "retryable": True, "retry_after_ms": None}},
        {"status": 200, "headers": {"loopwright-usage": "[]"}, "body": '{"score": 1}'},
        {"status": 200, "headers": {}, "body": ""},
        {"status": 202, "headers": {}, "body": ""},
        {"error": {"class": "Timeout", "message": "slow"}},
    ]
)


@given(st.lists(envelopes() | st.just(orjson.dumps(LEAD)), max_size=6), st.lists(OUTCOMES, min_size=3, max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_record_that_passes_the_intake_makes_a_decider_raise(said: list[bytes], outcomes: list[dict[str, Any]]) -> None:
    for decider in (made(RouteDecider), made(DispatchDecider)):
        state: bytes | None = None
        for offset, raw in enumerate(said):
            taken = intake(Record("agent-messages", 0, offset, NOW, b"w", raw), SETTINGS.limits, "dead")
            if taken is None or isinstance(taken, Emit):
                continue
            step = decider.on_record("w", state, taken[1], NOW)
            step = follow(decider, step, outcomes)
            state = decider.on_wake("w", step.state, frozenset(), NOW + 10**9).state


def follow(decider: Decider, step: Step, outcomes: list[dict[str, Any]]) -> Step:
    """Answer the calls that a step asks for, and those that come of the answers."""
    for outcome in outcomes:
        if not step.calls:
            break
        step = decider.on_outcome("w", step.state, step.calls[0].id, orjson.dumps({"kind": "model", **outcome}), NOW)
    return step
