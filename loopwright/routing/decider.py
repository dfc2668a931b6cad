"""The router as a state machine: fold a message, ask what has to be asked, write the decision. It calls no agent.

Its state is a function of agent-messages. A question that is under way is kept beside it, and is asked again after a restore; the decision
that reached the log first is the one that counts (see `loopwright.dispatch`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from loopwright import schemas
from loopwright.alarm import absurd
from loopwright.alterable import Alterable
from loopwright.audit import refused
from loopwright.deadletter import dead_letter
from loopwright.message import Arrived, Message, Rejected, emitted, record_id
from loopwright.registry.catalogue import Agent, Catalogue
from loopwright.retry import spread_ms
from loopwright.routing.access import refusals
from loopwright.routing.chain import decide, steps_for
from loopwright.routing.elsewhere import SILENCE, posed
from loopwright.routing.record import decided
from loopwright.routing.request import ELSEWHERE, Ask, Decision, Prices, RouteRequest, RoutingStep
from loopwright.sealing import is_sealed
from loopwright.settings import Settings
from loopwright.step import Call, Emit, Step
from loopwright.workflow.fold import EARLY, Applied, Contradiction, fold
from loopwright.workflow.record import SOURCE, record_of
from loopwright.workflow.result import result_of
from loopwright.workflow.state import WorkflowState, from_json, remembered, to_json
from loopwright.workflow.transitions import ENDED, OPEN, Event, Phase, after

REPEAT_DEADLINE_MS = 30_000
FAR_OFF_MS = 24 * 3_600_000  # a record from further in the future was stamped by a producer, at will; a clock that is set wrong is no such


@dataclass(frozen=True)
class Question(Alterable):
    """A question under way: its number within the hop, whom it is for, the outcomes so far; when it is due and since when (ms).

    `holds` counts how often it was put off since `held_since_ms` because the model is not asked for a while; that uses up no attempt.
    """

    number: int
    kind: str
    answers: tuple[dict[str, Any], ...]
    due_ms: int
    since_ms: int
    held_since_ms: int = 0
    holds: int = 0

    def held(self, now_ms: int) -> bool:
        """Whether it waits for a model that is down."""
        return self.holds > 0 and self.due_ms > now_ms

    def put_off(self, wait_ms: int, key: str, now_ms: int) -> "Question":
        """The same question, later. `key` is what the jitter depends on."""
        due_ms = now_ms + spread_ms(wait_ms, f"{key}/{self.holds + 1}")
        return self.altered(due_ms=due_ms, held_since_ms=self.held_since_ms or now_ms, holds=self.holds + 1)

    def call_id(self, hop: int) -> str:
        """The id of its call."""
        return f"{hop}.{self.number}"


class RouteDecider:
    """Implements `loopwright.step.Decider` for the router."""

    def __init__(self, settings: Settings, steps: Sequence[RoutingStep] | None = None, catalogue: Catalogue | None = None) -> None:
        """Route with `steps`, or with the chain that the settings ask for; among the agents of `catalogue`, or those it is told of."""
        self._settings = settings
        self._topics = settings.topics
        self._steps = steps or steps_for(bool(settings.llm_base_url))
        self._prices = Prices(settings.llm_price_prompt, settings.llm_price_completion)
        self._catalogue = Catalogue() if catalogue is None else catalogue

    def on_definition(self, key: str, value: bytes | None) -> None:
        """Take note of an agent definition."""
        self._catalogue.apply(key, value)

    def on_record(self, key: str, state: bytes | None, record: Arrived, now_ms: int) -> Step:
        """Fold one record of agent-messages."""
        raw, message = record
        if message.logged_ms > now_ms + FAR_OFF_MS:
            message = replace(message, logged_ms=now_ms)
        present, question = _load(state)
        folded = fold(present, message, self._settings.limits, self._settings.team)
        if isinstance(folded, Applied):
            return self._go_on(folded.state, now_ms)
        if isinstance(folded, Contradiction):
            rejected = Rejected(raw, folded.cause, folded.why, folded.remedy, key)
            letter = dead_letter(rejected, self._topics.dead_letters, "route", now_ms)
            return replace(self._waiting(present, question, now_ms, ("contradiction",)), emits=(letter,))
        step = self._waiting(present, question, now_ms, (folded.count,))
        if folded.count == EARLY and present is not None:  # our clock is ahead of Kafka's: what is left by Kafka's is left by ours too
            left_ms = max(present.deadline_ms - message.logged_ms, REPEAT_DEADLINE_MS)
            step = replace(step, wake_at_ms=now_ms + left_ms)
        return step

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:  # noqa: ARG002  # the interface
        """Go on with the answer to a question."""
        present, question = _load(state)
        if present is None or question is None or question.call_id(present.hop) != call_id or present.phase is not Phase.ROUTING:
            return self._waiting(present, question, now_ms, ("late_answer",))
        answer = {**_trimmed(orjson.loads(outcome)), "kind": question.kind}
        opened = answer.pop("circuit_opened", False)
        step = self._answered(present, question, answer, now_ms)
        return replace(step, counts=(*step.counts, "circuits_opened")) if opened else step

    def _answered(self, state: WorkflowState, question: Question, answer: dict[str, Any], now_ms: int) -> Step:
        error = answer.get("error", {})
        if error.get("held"):
            waited_ms = now_ms - (question.held_since_ms or now_ms)
            if waited_ms < self._settings.circuit.patience_ms:
                key = f"{state.workflow}/{state.hop}/held"
                later = question.put_off(int(error.get("retry_after_ms") or 0), key, now_ms)
                return self._waiting(state, later, now_ms, counts=("questions_put_off",))
            message = f"{error['message']}; waited {waited_ms / 1000:.0f} s for it"
            answer = {**answer, "error": {**error, "message": message, "retryable": False}}
        return self._route(state, question.altered(answers=(*question.answers, answer)), now_ms)

    def _waiting(self, state: WorkflowState | None, question: Question | None, now_ms: int, counts: tuple[str, ...] = ()) -> Step:
        """Nothing to do now."""
        stored = None if state is None else _dump(state, question)
        held = question is not None and question.held(now_ms)
        return Step(stored, wake_at_ms=self._wake_at(state, question, now_ms), counts=counts, held=held)

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:  # noqa: ARG002  # the interface
        """Do what is due: forget, let the deadline pass, ask again, or route what waited for its team."""
        present, question = _load(state)
        if present is None:
            return Step(None)
        if present.phase in ENDED:
            forget_ms = self._forget_ms(present)
            return Step(None) if now_ms >= forget_ms else Step(state, wake_at_ms=forget_ms)
        emits = (self._deadline_record(present, now_ms),) if now_ms >= present.deadline_ms else ()
        step = self._waiting(present, question, now_ms)
        if present.phase is Phase.ROUTING and not emits:
            later = question is not None and question.due_ms > now_ms and not absurd(question.due_ms, now_ms)
            under_way = question is not None and (question.call_id(present.hop) in in_flight or later)
            step = step if under_way else self._route(present, question.altered(due_ms=now_ms) if question else None, now_ms)
        wake_at = now_ms + REPEAT_DEADLINE_MS if emits else step.wake_at_ms
        return replace(step, emits=(*step.emits, *emits), wake_at_ms=wake_at)

    def _go_on(self, state: WorkflowState, now_ms: int) -> Step:
        if state.phase is Phase.ROUTING:
            return self._route(state, None, now_ms)
        emits = (self._result(state, now_ms),) if state.phase in ENDED else ()
        return Step(_dump(state, None), emits, wake_at_ms=self._wake_at(state))

    def _agents(self, state: WorkflowState) -> Mapping[str, Agent]:
        return self._catalogue.pinned(state.team, state.pins or self._catalogue.roster(state.team))

    def _route(self, state: WorkflowState, question: Question | None, now_ms: int) -> Step:
        agents = self._agents(state)
        if not agents:
            return Step(_dump(state, None), wake_at_ms=state.deadline_ms, counts=("waiting_for_team",), waiting=True)
        answers = question.answers if question else ()
        settings = self._settings
        request = RouteRequest(
            state, agents, settings.routing, settings.limits, settings.llm_attempts, answers, self._prices, settings.access.actions
        )
        chosen = decide(request, self._steps)
        since_ms = question.since_ms if question else now_ms
        if isinstance(chosen, Decision):
            return self._decided(request, chosen, now_ms - since_ms, now_ms)
        return self._left(request, now_ms) if chosen.payload["kind"] == ELSEWHERE else self._ask(state, chosen, question, now_ms)

    def _left(self, request: RouteRequest, now_ms: int) -> Step:
        """Write down the question for those whom the choice is left to. What they decided is told by what came of it, as ever.

        What holds once they have been silent for so long is noted at once, as the outcome of a question that is due then.
        """
        state = request.state
        due_ms = min(now_ms + request.routing.elsewhere_ms, state.deadline_ms)
        record = posed(request, due_ms, now_ms)
        emits = (emitted(self._topics.questions, record), *self._refused(request, record.id, now_ms))
        waiting = Question(1, ELSEWHERE, (SILENCE,), due_ms, now_ms)
        return Step(_dump(state, waiting), emits, wake_at_ms=due_ms, counts=("left_elsewhere", *_alarming(request)))

    def _ask(self, state: WorkflowState, ask: Ask, question: Question | None, now_ms: int) -> Step:
        answers = question.answers if question else ()
        since_ms = question.since_ms if question else now_ms
        waited = question is not None and question.number == len(answers) + 1 and question.due_ms <= now_ms
        due_ms = now_ms if waited else now_ms + ask.delay_ms
        asked = Question(len(answers) + 1, ask.payload["kind"], answers, due_ms, since_ms)
        if question is not None and question.number == asked.number:  # the same again: what it waited for counts on
            asked = asked.altered(held_since_ms=question.held_since_ms, holds=question.holds)
        wake_at = min(due_ms, state.deadline_ms) if due_ms > now_ms else state.deadline_ms
        calls = () if due_ms > now_ms else (Call(asked.call_id(state.hop), orjson.dumps(ask.payload)),)
        return Step(_dump(state, asked), calls=calls, wake_at_ms=wake_at, counts=("questions",))

    def _decided(self, request: RouteRequest, decision: Decision, duration_ms: int, now_ms: int) -> Step:
        record = decided(request, decision, duration_ms, now_ms)
        emits = [emitted(self._topics.decisions, record)]
        state = request.state
        if decision.strategy == "end":
            state = self._ended(state, decision, record.id, now_ms)
            if state.phase in ENDED:
                emits.append(self._result(state, now_ms))
        else:
            state = state.altered(phase=after(state.phase, Event.DISPATCHED) or state.phase)
            emits += self._refused(request, record.id, now_ms)
        counts = (f"decided_{decision.strategy}", *_alarming(request))
        return Step(_dump(state, None), tuple(emits), wake_at_ms=self._wake_at(state), counts=counts)

    def _refused(self, request: RouteRequest, cause: str, now_ms: int) -> list[Emit]:
        """The audit entries of agents that were kept out."""
        found = refusals(request.state, request.refused) if request.denied else []
        return [refused(one, self._topics.audit, now_ms, causation=cause) for one in found]

    def _ended(self, state: WorkflowState, decision: Decision, cause: str, now_ms: int) -> WorkflowState:
        """An end that follows from the log alone is applied at once: made again after a crash, it is the same."""
        data = {"outcome": decision.outcome, "reason": decision.reason}
        settled = Message(cause, schemas.SETTLED, SOURCE, state.workflow, data, state.hop, time_ms=now_ms, logged_ms=now_ms)
        folded = fold(state, settled, self._settings.limits, self._settings.team)
        return folded.state if isinstance(folded, Applied) else state

    def _result(self, state: WorkflowState, now_ms: int) -> Emit:
        return emitted(self._topics.results, result_of(state, now_ms))

    def _deadline_record(self, state: WorkflowState, now_ms: int) -> Emit:
        id_ = record_id(state.workflow, state.hop, str(state.deadline_ms), schemas.DEADLINE_PASSED)
        passed = record_of(state, schemas.DEADLINE_PASSED, id_, {"deadline_ms": state.deadline_ms}, now_ms)
        return emitted(self._topics.messages, passed)

    def _wake_at(self, state: WorkflowState | None, question: Question | None = None, now_ms: int = 0) -> int | None:
        if state is None:
            return None
        if state.phase not in OPEN:
            return self._forget_ms(state)
        asked_later = question is not None and question.due_ms > now_ms
        return min(state.deadline_ms, question.due_ms) if question and asked_later else state.deadline_ms

    def _forget_ms(self, state: WorkflowState) -> int:
        """When an ended workflow is forgotten: not before the dispatcher forgets it, which is not told of a cancellation."""
        since_ms = state.deadline_ms if state.phase is Phase.CANCELLED else state.ended_ms
        return since_ms + self._settings.limits.deduplication_ms


def _alarming(request: RouteRequest) -> tuple[str, ...]:
    """Counts a workflow that begins with a sensitive field in clear: somebody wrote its start to Kafka past Loopwright's entries."""
    document = request.state.document
    clear = request.state.hop == 1 and any(document.get(name) is not None and not is_sealed(document[name]) for name in request.sensitive)
    return ("sensitive_in_clear",) if clear else ()


def _trimmed(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome as it is kept in state: an over-long answer cannot be valid, and is cut."""
    return {**outcome, "content": str(outcome["content"])[:4000]} if "content" in outcome else outcome


def _load(state: bytes | None) -> tuple[WorkflowState | None, Question | None]:
    if state is None:
        return None, None
    body = orjson.loads(state)
    asked = body.pop("question", None)
    if not asked:
        return from_json(body), None
    asked["answers"] = tuple(asked["answers"])
    return from_json(body), Question(**asked)


def _dump(state: WorkflowState, question: Question | None) -> bytes:
    if state.phase in ENDED:
        return orjson.dumps(remembered(state))
    return orjson.dumps({**to_json(state), "question": question} if question else to_json(state))
