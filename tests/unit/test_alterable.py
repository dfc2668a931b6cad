"""An altered copy is what dataclasses.replace gives, and a state is written with the fields that it has and no other."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.alterable import Alterable
from loopwright.dispatch.state import Branch, DispatchState, dump, load
from loopwright.routing.decider import Question
from loopwright.workflow.state import WorkflowState, from_json, to_json

BRANCH = Branch("a", 1, {"x": 1}, "h")
QUESTION = Question(1, "model", ({"ok": True},), 5, 4)
STATES = [BRANCH, QUESTION, DispatchState(branches={"0": BRANCH}), WorkflowState("w", "sdr")]


@dataclass(frozen=True)
class Point(Alterable):
    x: int
    y: int = 0


@given(st.integers(), st.integers(), st.fixed_dictionaries({}, optional={"x": st.integers(), "y": st.integers()}))
def test_an_altered_copy_is_what_replace_gives(x: int, y: int, values: dict[str, int]) -> None:
    point = Point(x, y)
    copy = point.altered(**values)
    assert (copy, hash(copy), repr(copy)) == (replace(point, **values), hash(replace(point, **values)), repr(replace(point, **values)))
    assert point == Point(x, y)


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_an_altered_state_is_as_frozen_and_as_ordered_as_the_first(state: Alterable) -> None:
    names = [one.name for one in fields(state)]  # type: ignore[arg-type]  # its subclasses are dataclasses
    altered = state.altered(**{name: getattr(state, name) for name in reversed(names)})
    assert (altered, list(vars(altered))) == (state, names)
    with pytest.raises(FrozenInstanceError):
        setattr(altered, names[0], "other")


def test_states_are_written_with_their_fields_in_order_and_read_back() -> None:
    workflow, dispatch = WorkflowState("w", "sdr"), DispatchState(branches={"0": BRANCH})
    assert list(to_json(workflow)) == ["v", *(one.name for one in fields(workflow))]
    assert list(orjson.loads(dump(dispatch))) == ["v", *(one.name for one in fields(dispatch))]
    assert from_json(orjson.loads(orjson.dumps(to_json(workflow)))) == workflow
    assert load(dump(dispatch)) == dispatch
    assert list(orjson.loads(orjson.dumps(QUESTION.altered(holds=1, number=2)))) == [one.name for one in fields(QUESTION)]
