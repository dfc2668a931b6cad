"""The dispatcher as a state machine. The first decision logged for a (workflow, hop) is acted on, any later one is counted and dropped.

It decides nothing: it calls, tries again, waits for late replies, and writes what came of it to agent-messages.
"""

from dataclasses import replace
from typing import Any

import orjson

from loopwright import schemas
from loopwright.alarm import absurd
from loopwright.audit import refused
from loopwright.deadletter import dead_letter
from loopwright.dispatch import holding
from loopwright.dispatch.access import foreign_sender, foreign_tenant, refusal_of
from loopwright.dispatch.call import call_id, parts_of, request
from loopwright.dispatch.match import mismatch
from loopwright.dispatch.outcome import ACTIONS, Accepted, Failure, Replied, check_output, judge
from loopwright.dispatch.records import agent_failed, failure_letter, replied, settled
from loopwright.dispatch.state import BACKOFF, CALLBACK, CALLING, HELD, UNKNOWN, Branch, DispatchState, dump, load
from loopwright.masking import masked
from loopwright.message import Arrived, Message, Rejected, emitted
from loopwright.registry.catalogue import Agent, Catalogue
from loopwright.retry import backoff_ms
from loopwright.settings import Settings
from loopwright.step import Call, Emit, Record, Step

UNKNOWN_AGENT_MS = 60_000


class DispatchDecider:
    """Implements `loopwright.step.Decider` for the dispatcher."""

    def __init__(self, settings: Settings) -> None:
        """Dispatch with these limits, topics and gateway."""
        self._settings = settings
        self._topics = settings.topics
        self._catalogue = Catalogue()
        self._published: dict[str, int] = {}

    def on_definition(self, key: str, value: bytes | None) -> None:
        """Take note of an agent definition. One that is published again begins with a circuit of its own."""
        self._catalogue.apply(key, value)
        self._published[key] = self._published.get(key, 0) + 1

    def on_record(self, key: str, state: bytes | None, record: Arrived, now_ms: int) -> Step:
        """Take up a decision or a late reply."""
        raw, message = record
        present = load(state)
        if message.type == schemas.DECIDED:
            return self._decided(key, present, message, raw, now_ms)
        if message.type == schemas.CALLED_BACK:
            return self._called_back(key, present, message, now_ms)
        remedy = "write it to the topic it belongs to"
        rejected = Rejected(raw, "unexpected-type", f"{message.type} does not belong on this topic", remedy, key)
        return self._step(present, (dead_letter(rejected, self._topics.dead_letters, "dispatch", now_ms),), counts=("contradiction",))

    def on_outcome(self, key: str, state: bytes | None, call_id: str, outcome: bytes, now_ms: int) -> Step:
        """Go on with the outcome of a call."""
        present = load(state)
        hop, name, attempt = parts_of(call_id)
        branch = present.branches.get(name)
        under_way = branch is not None and (branch.status, branch.attempts) == (CALLING, attempt)
        if branch is None or present.hop != hop or not under_way:
            return self._step(present, counts=("late_outcome",))
        agent = self._catalogue.get(present.team, branch.agent, branch.version)
        if agent is None:
            return self._failed(key, present, name, Failure("UnknownAgent", "its definition was removed", False), now_ms)
        said = orjson.loads(outcome)
        put_off = holding.put_off(said, now_ms)
        if put_off is not None:
            step = self._held(key, present, name, agent, put_off, now_ms)
        else:
            verdict = mismatch(said, key, hop, bool(branch.key)) or judge(said, agent, now_ms)
            step = self._judged(key, present, name, agent, verdict, now_ms)
        return replace(step, counts=(*step.counts, "circuits_opened")) if said.get("circuit_opened") else step

    def on_wake(self, key: str, state: bytes | None, in_flight: frozenset[str], now_ms: int) -> Step:
        """Do what is due: call again, give up waiting, forget."""
        present = load(state)
        if not present.branches and present.forget_ms <= now_ms:
            return Step(None)
        step = self._step(present)
        for name in present.branches:
            current = load(step.state)
            one = self._wake_branch(key, current, name, in_flight, now_ms)
            step = _both(step, one)
        return step

    def _wake_branch(self, key: str, state: DispatchState, name: str, in_flight: frozenset[str], now_ms: int) -> Step:
        branch = state.branches[name]
        if branch.status == CALLING and call_id(state, name) in in_flight:
            return self._step(state)
        if branch.status in (CALLING, UNKNOWN):
            return self._call(key, state, name, now_ms)
        if branch.due_ms > now_ms and (branch.status == CALLBACK or not absurd(branch.due_ms, now_ms)):
            return self._step(state)
        if branch.status == HELD:
            late = state.deadline_ms and now_ms >= state.deadline_ms
            return self._failed(key, state, name, holding.too_late(), now_ms) if late else self._call(key, state, name, now_ms)
        if branch.status == BACKOFF:
            return self._call(key, self._with(state, name, branch.altered(attempts=branch.attempts + 1, status=CALLING)), name, now_ms)
        silent = Failure("CallbackTimeout", "it accepted the call but did not reply in time", True, 202)
        return self._failed(key, state, name, silent, now_ms)

    def _decided(self, key: str, state: DispatchState, message: Message, raw: Record, now_ms: int) -> Step:
        if message.hop <= state.hop:
            return self._step(state, counts=("second_decision",))
        data = message.data
        if data["outcome"] == "dispatch" and not data["targets"]:
            why = "data.targets: the outcome is dispatch, but there is no target"
            rejected = Rejected(raw, "wrong-type", why, "name a target, or decide for another outcome", key)
            return self._step(state, (dead_letter(rejected, self._topics.dead_letters, "dispatch", now_ms),), counts=("contradiction",))
        tokens = data.get("tokens", {})
        taken = DispatchState(
            hop=message.hop,
            team=data.get("team", self._settings.team),
            cause=message.id,
            traceparent=message.traceparent,
            forget_ms=now_ms + self._settings.limits.deduplication_ms,
            tenant=data.get("tenant", ""),
            pins=data["pins"],
            decision={"calls": data.get("calls", 0), "tokens": sum(_whole(n) for n in tokens.values()), "cost": data.get("cost", 0.0)},
        )
        if data["outcome"] != "dispatch":
            emits = () if data["strategy"] == "end" else (self._emit(settled(key, taken, data, now_ms)),)
            return self._step(taken, emits, counts=(f"settled_{data['outcome']}",))
        limits = self._settings.limits
        forget_ms = min(data.get("deadline_ms", 0), now_ms + limits.deadline_ms) + limits.deduplication_ms
        targets = {target["branch"]: _branch(target, now_ms) for target in data["targets"]}
        taken = taken.altered(forget_ms=forget_ms, deadline_ms=data.get("deadline_ms", 0), branches=targets)
        step: Step | None = None
        for name, branch in targets.items():
            current = load(step.state) if step else taken
            one = self._call(key, self._with(current, name, branch.altered(attempts=1)), name, now_ms)
            step = _both(step, one) if step else one
        return step or Step(dump(taken))

    def _held(self, key: str, state: DispatchState, name: str, agent: Agent, why: Failure, now_ms: int) -> Step:
        branch = state.branches[name]
        until_ms = (branch.held_since_ms or now_ms) + self._settings.circuit.patience_ms
        until_ms = min(until_ms, state.deadline_ms or until_ms)
        waiting = holding.held(branch, why, f"{key}/{state.hop}/{name}", agent.definition.retry, until_ms, now_ms)
        if waiting is None:
            return self._failed(key, state, name, holding.given_up(branch, why, now_ms), now_ms)
        return self._step(self._with(state, name, waiting), counts=("calls_put_off",))

    def _call(self, key: str, state: DispatchState, name: str, now_ms: int) -> Step:
        branch = state.branches[name]
        agent = self._catalogue.get(state.team, branch.agent, branch.version)
        if agent is None:
            if branch.status == UNKNOWN and branch.due_ms <= now_ms:
                why = f"no definition {state.team}/{branch.agent}@{branch.version}; publish it with `loopwright agents apply`"
                return self._failed(key, state, name, Failure("UnknownAgent", why, False), now_ms)
            due_ms = branch.due_ms if branch.status == UNKNOWN else now_ms + UNKNOWN_AGENT_MS
            return self._step(self._with(state, name, branch.altered(status=UNKNOWN, due_ms=due_ms)), waiting=True)
        foreign = foreign_tenant(state, agent)
        if foreign is not None:
            return self._audited(self._failed(key, state, name, foreign, now_ms), key, state, name, foreign, now_ms)
        sensitive = self._catalogue.sensitive(state.team, state.pins or None) | agent.sensitive  # another router may leave out the pins
        if not agent.input.accepts(branch.input):
            why = "; ".join(agent.input.errors(branch.input, sensitive)[:3])
            return self._failed(key, state, name, Failure("InputContractViolation", why, False), now_ms)
        if branch.status != CALLING:
            state = self._with(state, name, branch.altered(status=CALLING))
        circuit = f"{agent.ref}#{self._published.get(agent.ref, 0)}"
        call = request(key, state, name, agent, self._settings.gateway_url, circuit, sensitive)
        return self._step(state, calls=(call,), counts=("calls",))

    def _called_back(self, key: str, state: DispatchState, message: Message, now_ms: int) -> Step:
        name = str(message.data["branch"])
        branch = state.branches.get(name)
        if message.hop != state.hop or branch is None or branch.status not in (CALLING, CALLBACK, HELD):
            return self._step(state, counts=("late_callback",))
        foreign = foreign_sender(key, state, name, message)
        if foreign is not None:
            return self._step(state, (refused(foreign, self._topics.audit, now_ms, message.id),), counts=("foreign_callback",))
        agent = self._catalogue.get(state.team, branch.agent, branch.version)
        if agent is None or agent.definition.reply != "callback":
            return self._step(state, counts=("unexpected_callback",))
        if "output" not in message.data:
            error = message.data.get("error", {})
            why = str(error.get("message") or error.get("detail") or "the agent reported an error")[:500]
            failure = Failure(masked(str(error.get("class", "AgentError")))[:80], why, error.get("retryable") is True, 202)
            return self._failed(key, state, name, failure, now_ms)
        said = {
            "loopwright-next": str(message.data.get("next", "")),
            "loopwright-usage": orjson.dumps(message.data.get("usage", {})).decode(),
            ACTIONS: ",".join(message.data.get("actions", ())),
        }
        return self._judged(key, state, name, agent, check_output(message.data["output"], said, agent, 202), now_ms)

    def _judged(self, key: str, state: DispatchState, name: str, agent: Agent, verdict: Replied | Accepted | Failure, now_ms: int) -> Step:
        return self._audited(self._settled(key, state, name, agent, verdict, now_ms), key, state, name, verdict, now_ms)

    def _audited(self, step: Step, key: str, state: DispatchState, name: str, verdict: Replied | Accepted | Failure, now_ms: int) -> Step:
        refusal = refusal_of(key, state, name, verdict)
        if refusal is None:
            return step
        return replace(step, emits=(*step.emits, refused(refusal, self._topics.audit, now_ms, causation=state.cause)))

    def _settled(self, key: str, state: DispatchState, name: str, agent: Agent, verdict: Replied | Accepted | Failure, now_ms: int) -> Step:
        branch = state.branches[name]
        if isinstance(verdict, Failure):
            return self._failed(key, state, name, verdict, now_ms)
        if isinstance(verdict, Accepted):
            due_ms = now_ms + agent.definition.callback_timeout_ms
            return self._step(self._with(state, name, branch.altered(status=CALLBACK, due_ms=due_ms)), counts=("accepted",))
        emit = self._emit(replied(key, state, name, verdict, now_ms))
        return self._step(self._without(state, name), (emit,), counts=("replies",))

    def _failed(self, key: str, state: DispatchState, name: str, failure: Failure, now_ms: int) -> Step:
        branch = state.branches[name]
        agent = self._catalogue.get(state.team, branch.agent, branch.version)
        if failure.retryable and agent is not None and branch.attempts < agent.definition.retry.attempts:
            policy = agent.definition.retry
            pause = backoff_ms(
                branch.attempts,
                f"{key}/{state.hop}/{name}",
                initial_ms=policy.initial_ms,
                max_ms=policy.max_ms,
                multiplier=policy.multiplier,
                retry_after_ms=failure.retry_after_ms,
            )
            paused = branch.altered(status=BACKOFF, due_ms=now_ms + pause, held_since_ms=0, holds=0)
            return self._step(self._with(state, name, paused), counts=("retries",))
        failed = agent_failed(key, state, name, failure, now_ms)
        letter = failure_letter(key, state, name, failure, failed, self._topics.dead_letters)
        return self._step(self._without(state, name), (self._emit(failed), letter), counts=("agent_failures",))

    def _emit(self, message: Message) -> Emit:
        return emitted(self._topics.messages, message)

    def _with(self, state: DispatchState, name: str, branch: Branch) -> DispatchState:
        return state.altered(branches={**state.branches, name: branch})

    def _without(self, state: DispatchState, name: str) -> DispatchState:
        return state.altered(branches={other: branch for other, branch in state.branches.items() if other != name})

    def _step(
        self,
        state: DispatchState,
        emits: tuple[Emit, ...] = (),
        calls: tuple[Call, ...] = (),
        counts: tuple[str, ...] = (),
        waiting: bool = False,
    ) -> Step:
        if not state.branches:
            return Step(dump(state), emits, calls, state.forget_ms, counts, waiting)
        idle = [branch for branch in state.branches.values() if branch.status != CALLING]
        wake_at = min([branch.due_ms for branch in idle], default=None)
        held = HELD in [branch.status for branch in idle]
        return Step(dump(state), emits, calls, wake_at, counts, waiting, held)


def _both(step: Step, then: Step) -> Step:
    """Two steps in one. The state, the time and the counts are those of the later one."""
    return replace(then, emits=step.emits + then.emits, calls=step.calls + then.calls, waiting=step.waiting or then.waiting)


def _branch(target: dict[str, Any], now_ms: int) -> Branch:
    key = target.get("idempotency_key", "")
    return Branch(target["agent"], target["version"], target["input"], target.get("input_hash", ""), since_ms=now_ms, key=key)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
