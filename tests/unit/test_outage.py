"""A model or an agent that is down for a while, in simulated time, with the deciders and the circuit breakers of the job."""

import random
from collections import Counter
from typing import Any

import orjson
import pytest

from loopwright import schemas
from loopwright.circuit import Policy
from loopwright.edges.circuits import CircuitOpen, Circuits, agent_fault, model_fault
from loopwright.settings import Circuit, Settings
from loopwright.testing.simulation import Simulation
from tests.unit.sdr_team import LEAD, answering, model_says, sdr_team

SETTINGS = Settings(llm_base_url="http://model/v1")
TOPICS = SETTINGS.topics
COUNT = 40
MINUTES = 60_000
KINDS = {
    "refused": ("Unavailable", True, None),
    "503": ("Unavailable", True, 1000),
    "401": ("Unauthorized", False, None),
    "time-out": ("Timeout", True, None),
    "429": ("RateLimited", True, 5000),
}


class Outage:
    """The world of one test: the model is down as `kind` says until `until_ms`, and agents answer 503 while `agents_down`."""

    def __init__(self, settings: Settings, kind: str, minutes: float) -> None:
        self.settings, self.kind, self.asked = settings, kind, 0
        self.simulation = Simulation(settings, sdr_team(), answering, self.model)
        self.until_ms = self.simulation.now_ms + int(minutes * MINUTES)
        self.circuits = Circuits(Policy(), lambda: self.simulation.now_ms)

    def model(self, _payload: dict[str, Any]) -> dict[str, Any]:
        """What `RoutePerformer` makes of it."""
        kind, retryable, after_ms = KINDS[self.kind]
        try:
            with self.circuits.call("model") as attempt:
                self.asked += 1
                if self.simulation.now_ms >= self.until_ms:
                    return model_says("active-outreach")
                attempt.fault = model_fault(kind, "down", after_ms, self.settings.circuit)
        except CircuitOpen as answer:
            return failure("CircuitOpen", True, answer.refused.wait_ms, held=True)
        return failure(kind, retryable, attempt.wait_ms or after_ms, held=attempt.wait_ms > 0)

    def start(self) -> None:
        for number in range(COUNT):
            self.simulation.write(TOPICS.messages, orjson.dumps(LEAD | {"name": f"Lead {number}"}))

    def ended(self) -> Counter[str]:
        """Results by type, and parked workflows."""
        found = Counter(result.type for result in self.simulation.read(TOPICS.results))
        parked = [m for m in self.simulation.read(TOPICS.messages) if m.type == schemas.SETTLED]
        return found + Counter({"parked": len(parked)})


def failure(kind: str, retryable: bool, after_ms: int | None, held: bool) -> dict[str, Any]:
    error = {"class": kind, "message": "down", "retryable": retryable, "retry_after_ms": after_ms}
    return {"ok": False, "error": error | ({"held": True} if held else {})}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_model_that_is_down_for_ten_minutes_parks_nobody_and_is_hardly_asked(kind: str) -> None:
    outage, rng = Outage(SETTINGS, kind, 10), random.Random(1)
    outage.start()
    outage.simulation.run(rng, steps=100_000, within_ms=10 * MINUTES - 1)
    assert outage.ended() == Counter()
    assert outage.asked <= 5 + COUNT + 60, "calls under way at first, then a few a minute"
    outage.simulation.run(rng, steps=100_000, within_ms=10 * MINUTES)
    assert outage.ended() == {schemas.WORKFLOW_COMPLETED: COUNT}
    spent = [result.data["spend"]["calls"] for result in outage.simulation.read(TOPICS.results)]
    assert max(spent) <= SETTINGS.llm_attempts


@pytest.mark.timeout(180)
def test_a_model_that_stays_down_parks_everybody_once_their_patience_is_over() -> None:
    settings = SETTINGS.model_copy(update={"circuit": Circuit(patience_ms=120_000)})
    outage, rng = Outage(settings, "refused", 1000), random.Random(2)
    outage.start()
    outage.simulation.run(rng, steps=100_000, within_ms=2 * MINUTES - 5000)
    assert outage.ended() == Counter()
    outage.simulation.run(rng, steps=100_000, within_ms=10 * MINUTES)
    assert outage.ended() == {"parked": COUNT}
    reasons = {m.data["reason"] for m in outage.simulation.read(TOPICS.messages) if m.type == schemas.SETTLED}
    assert all("the model did not answer" in reason and "waited" in reason for reason in reasons)


@pytest.mark.timeout(180)
def test_an_agent_that_is_down_for_ten_minutes_loses_few_to_their_attempts_and_nobody_else() -> None:
    outage, rng = Outage(SETTINGS, "refused", 0), random.Random(3)
    circuits = Circuits(Policy(), lambda: outage.simulation.now_ms)
    up_ms = outage.simulation.now_ms + 10 * MINUTES

    def agent(payload: dict[str, Any]) -> dict[str, Any]:
        try:
            with circuits.call(payload["circuit"]) as attempt:
                down = payload["url"].endswith("scoring") and outage.simulation.now_ms < up_ms
                outcome = {"error": {"class": "ConnectionRefused", "message": "no"}} if down else answering(payload)
                attempt.fault = agent_fault(outcome, SETTINGS.circuit)
        except CircuitOpen as answer:
            return {"error": {"class": "CircuitOpen", "message": "down", "retry_after_ms": answer.refused.wait_ms}}
        return outcome

    outage.simulation.dispatch.perform = agent
    outage.start()
    outage.simulation.run(rng, steps=200_000, within_ms=25 * MINUTES)
    ended = outage.ended()
    assert ended.total() == COUNT
    assert ended[schemas.WORKFLOW_COMPLETED] >= COUNT - 10


def test_no_route_through_a_crash_loses_a_question_that_was_put_off() -> None:
    outage, rng = Outage(SETTINGS, "503", 2), random.Random(4)
    outage.start()
    outage.simulation.run(rng, crash_rate=0.01, steps=100_000, within_ms=20 * MINUTES)
    assert outage.ended()[schemas.WORKFLOW_COMPLETED] >= COUNT  # results may repeat round a crash
    assert len({result.workflow for result in outage.simulation.read(TOPICS.results)}) == COUNT
    assert outage.ended()["parked"] == 0


def test_a_question_from_before_questions_were_put_off_still_loads() -> None:
    outage, rng = Outage(SETTINGS, "refused", 1), random.Random(5)
    outage.start()
    outage.simulation.run(rng, within_ms=10_000)
    (key, state), *_ = outage.simulation.route.states.items()
    old = orjson.loads(state)
    del old["question"]["holds"], old["question"]["held_since_ms"]
    decider, now_ms = outage.simulation.route.decider, old["question"]["due_ms"]
    step = decider.on_wake(key, orjson.dumps(old), frozenset(), now_ms)
    (call,) = step.calls
    held = orjson.dumps(failure("CircuitOpen", True, 1000, held=True))
    assert decider.on_outcome(key, step.state, call.id, held, now_ms).held
